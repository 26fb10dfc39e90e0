"""The Python interface: names of runs, and evaluating artifacts far from where they were made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.errors import CondenseError, DataError, ModelError, OptionError, StorageError
from condense.recipe.config import RunConfig
from condense.recipe.method import Method, Recover, Use
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure, run_path
from condense.recipe.specs import ModelSpec
from condense.runs.result import EvaluationResult, RunResult

SETTINGS: dict[str, Any] = {"iterations": 2, "protocol.epochs": 2, "protocol.batch_size": 4}


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(
        make_dataset(),
        make_dataset(counts=(5, 5), name="fewer"),
        make_dataset(channels=3, name="colour"),
        make_dataset(seed=9, name="moved"),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> RunResult:
    return condense.run(
        method="wmdd",
        dataset="tiny",
        ipc=2,
        students=2,
        device="cpu",
        settings=SETTINGS,
        out=tmp_path_factory.mktemp("runs"),
        name="one",
        registry=registry,
    )


@pytest.fixture
def alone(finished: RunResult, tmp_path: Path) -> Path:
    """The artifact, copied away from its run."""
    shutil.copytree(finished.path / "distilled", tmp_path / "copy")
    return tmp_path / "copy"


def evaluate(path: Path, registry: Registry, **options: Any) -> EvaluationResult:
    return condense.evaluate(
        path, **{"students": 2, "device": "cpu", "registry": registry, "settings": [], **options}
    )


def accuracies(found: Any) -> list[float]:
    return [student.accuracy for student in found.students]


# Evaluating.


@pytest.mark.parametrize("inside", [".", "distilled"])
def test_an_artifact_in_its_run_gives_what_the_run_gave(
    inside: str, finished: RunResult, registry: Registry
) -> None:
    found = evaluate(finished.path / inside, registry)
    assert found.score.label == "wmdd"
    assert accuracies(found.score) == accuracies(finished.scores[0])
    assert found.to_dict()["rows"][0]["accuracies"] == accuracies(finished.scores[0])


def test_an_artifact_alone_can_be_trained_on_with_hard_labels(alone: Path, registry: Registry) -> None:
    found = evaluate(alone, registry, settings=[("protocol.labels", "hard")])
    assert len(found.score.students) == 2
    short = [("protocol.epochs", 1)]
    found = evaluate(alone, registry, protocol="dc", students=1, settings=short)
    protocol = found.config.evaluation.protocol
    assert (protocol.name, protocol.epochs) == ("dc", 1)


def test_another_protocol_has_the_settings_of_the_dataset_for_it(
    alone: Path, make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    spec, _ = make_registry(make_dataset()).dataset("tiny")
    of_dataset = {"protocol.epochs": 1, "protocol.model.width": 4}
    registry = make_registry(
        make_dataset(), datasets=[replace(spec, settings_by_protocol={"dc": of_dataset})]
    )
    protocol = evaluate(alone, registry, protocol="dc", students=1).config.evaluation.protocol
    assert (protocol.epochs, protocol.model.options["width"]) == (1, 4)
    own = evaluate(alone, registry, settings=[("protocol.labels", "hard")]).config.evaluation.protocol
    assert (own.name, own.epochs) == ("fkd", SETTINGS["protocol.epochs"])


def test_an_artifact_alone_has_no_teacher_for_online_labels(alone: Path, registry: Registry) -> None:
    with pytest.raises(ModelError) as caught:
        evaluate(alone, registry)
    assert str(caught.value) == (
        "protocol 'fkd' has online labels, which come from the teacher, and no teacher lies beside "
        f"{alone}; name its weights with --teacher FILE, or use --set protocol.labels=hard"
    )


def test_a_teacher_can_be_named(alone: Path, finished: RunResult, registry: Registry) -> None:
    found = evaluate(alone, registry, teacher=finished.path / "teacher.safetensors")
    assert accuracies(found.score) == accuracies(finished.scores[0])
    soft = evaluate(
        alone,
        registry,
        teacher=finished.path / "teacher.safetensors",
        settings=[("protocol.labels", "soft")],
        students=1,
    )
    assert soft.distilled.soft_labels is not None
    with pytest.raises(ModelError, match=r"there is no checkpoint gone\.pt"):
        evaluate(alone, registry, teacher="gone.pt")


def test_a_teacher_beside_an_artifact_that_is_not_its_own_is_not_asked(
    alone: Path, finished: RunResult, registry: Registry
) -> None:
    beside = alone / "teacher.safetensors"
    shutil.copy(finished.path / "teacher.safetensors", beside)
    assert accuracies(evaluate(alone, registry).score) == accuracies(finished.scores[0])
    beside.write_bytes(b"another")
    with pytest.raises(ModelError, match="no teacher lies beside"):
        evaluate(alone, registry)


def test_a_seed_and_other_students(finished: RunResult, registry: Registry) -> None:
    other = evaluate(finished.path, registry, seed=1, students=1)
    assert other.config.recipe.seed == 1
    wide = [("student.model", "convnet"), ("student.model.width", 4), ("student.model.depth", 1)]
    found = evaluate(finished.path, registry, settings=wide, students=1)
    assert found.config.evaluation.student.model.options["width"] == 4


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            "fewer",
            r"the artifact has 3 classes \(class 0, class 1, class 2, \.\.\.\) and fewer 2 .*not the same",
        ),
        ("colour", "the artifact's images are 1x8x8, and colour is looked at as 3x8x8"),
    ],
)
def test_another_dataset(dataset: str, message: str, alone: Path, registry: Registry) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(alone, registry, dataset=dataset, settings=[("protocol.labels", "hard")])


def test_the_dataset_under_another_name(alone: Path, registry: Registry) -> None:
    hard = [("protocol.labels", "hard")]
    found = evaluate(alone, registry, dataset="moved", settings=hard)
    assert found.config.recipe.dataset.name == "moved"


def test_an_artifact_outlives_the_plugin_whose_network_made_it(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    """Components, and the network that they looked through, have no say in how students do."""

    def build(options: Any, request: Any) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(request.channels * request.size**2, request.classes)
        )

    dataset = make_dataset()
    looked = Recover(iterations=0, network=Use(name="flat"))
    method = Method(name="theirs", summary="x", initializer=Use(name="real"), recover=looked)
    theirs = make_registry(
        dataset, models=[ModelSpec(name="flat", summary="x", build=build)], methods=[method]
    )
    result = condense.run(
        method="theirs",
        dataset="tiny",
        ipc=1,
        students=0,
        settings={"protocol.labels": "hard"},
        out=tmp_path,
        device="cpu",
        registry=theirs,
    )
    assert result.distilled.settings["recipe"]["recover"]["network"]["name"] == "flat"
    short = [("protocol.epochs", 1)]
    found = evaluate(result.path / "distilled", make_registry(dataset), students=1, settings=short)
    assert len(found.score.students) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: {},
        lambda settings: {"evaluation": settings["evaluation"]},
        lambda settings: {"recipe": settings["recipe"]},
        lambda settings: {**settings, "recipe": "wmdd"},
        lambda settings: {**settings, "evaluation": {}},
    ],
)
def test_an_artifact_that_does_not_say_how_it_was_made(
    change: Callable[[Any], Any], finished: RunResult, registry: Registry, tmp_path: Path
) -> None:
    changed = replace(finished.distilled, settings=change(finished.distilled.settings))
    condense.save(changed, tmp_path / "alone")
    with pytest.raises(
        CondenseError,
        match=r"does not say how it was made|these are not the settings of a run|must be a group of values",
    ):
        evaluate(tmp_path / "alone", registry)


def test_settings_without_effect_are_refused(alone: Path, registry: Registry) -> None:
    with pytest.raises(OptionError, match="'iterations' has no effect on an evaluation"):
        evaluate(alone, registry, settings=[("iterations", 5)])


@pytest.mark.parametrize("students", [0, -1])
def test_an_evaluation_needs_a_student(students: int, alone: Path, registry: Registry) -> None:
    with pytest.raises(CondenseError, match="at least 1"):
        evaluate(alone, registry, students=students, settings=[("protocol.labels", "hard")])


def test_an_evaluation_in_a_precision_that_does_not_exist(alone: Path, registry: Registry) -> None:
    with pytest.raises(CondenseError, match="precision=half: must be one of auto, bf16, fp32"):
        evaluate(alone, registry, precision="half", settings=[("protocol.labels", "hard")])


def test_what_is_no_artifact(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        evaluate(tmp_path / "gone", registry)
    with pytest.raises(StorageError, match="is not a distilled dataset"):
        evaluate(tmp_path, registry)


def test_an_artifact_does_not_say_where_its_maker_keeps_files(
    make_dataset: Callable[..., RealDataset], tmp_path: Path, registry: Registry
) -> None:
    result = condense.run(
        method="random",
        dataset="tiny",
        ipc=1,
        students=0,
        data_dir=tmp_path / "private",
        out=tmp_path / "runs",
        registry=registry,
    )
    for file in (result.path / "distilled").rglob("*"):
        assert not file.is_file() or b"private" not in file.read_bytes()
    assert "private" in (result.path / "run.json").read_text()


# Names and settings.


@pytest.fixture
def config(registry: Registry) -> RunConfig:
    return configure(registry, method="random", dataset="tiny", ipc=5, seed=7)


def test_made_up_names_avoid_those_taken(config: RunConfig, tmp_path: Path) -> None:
    stem = tmp_path / "random-tiny-ipc5-seed7"
    assert run_path(config.recipe, tmp_path, None, resume=False) == stem
    stem.mkdir()
    assert run_path(config.recipe, tmp_path, None, resume=False) == tmp_path / "random-tiny-ipc5-seed7-2"
    (tmp_path / "random-tiny-ipc5-seed7-2").mkdir()
    assert run_path(config.recipe, tmp_path, None, resume=False) == tmp_path / "random-tiny-ipc5-seed7-3"
    assert run_path(config.recipe, tmp_path, None, resume=True) == stem


def test_a_folder_as_dataset_makes_one_file_name(registry: Registry, tmp_path: Path) -> None:
    config = configure(registry, method="random", dataset="folder:/some where/pets")
    path = run_path(config.recipe, tmp_path, None, resume=False)
    assert path.parent == tmp_path
    assert path.name == "random-folder--some-where-pets-ipc10-seed0"


@pytest.mark.parametrize("name", ["a/b", "..", "../a", "a/", "."])
def test_names_that_are_no_folder_names(name: str, config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="must be one folder name; choose the folder above it with --out"):
        run_path(config.recipe, tmp_path, name, resume=False)
    assert run_path(config.recipe, tmp_path, "mine", resume=False) == tmp_path / "mine"


def test_settings_may_be_a_mapping_or_pairs(registry: Registry, tmp_path: Path) -> None:
    for settings in ({"recover.batch": 7}, [("batch", "7")]):
        result = condense.run(
            method="random",
            dataset="tiny",
            ipc=1,
            students=0,
            settings=settings,
            out=tmp_path,
            registry=registry,
        )
        assert result.config.recipe.recover.batch == 7
