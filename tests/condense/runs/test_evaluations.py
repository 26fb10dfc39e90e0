"""One distilled dataset judged with several student networks, and the table that is left behind."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import MemoryImages, RealDataset
from condense.engine.components import EvaluationRequest, Evaluator, StudentResult
from condense.engine.evaluate import StudentEvaluator
from condense.errors import CondenseError, InputChangedError, ModelError, OptionError, StorageError
from condense.recipe.registry import Registry
from condense.recipe.specs import EvaluatorSpec, ModelSpec
from condense.runs.evaluations import render_markdown
from condense.runs.result import EvaluationResult, RunResult
from condense.storage import artifact
from condense.storage.encoding import PngFiles
from condense.storage.locks import held

NARROW, WIDE = "convnet(width=4,depth=1)", "convnet(width=16,depth=2)"


def refuses(options: Any, request: Any) -> Any:
    raise ModelError("this network takes no such images")


class OwnLoop(Evaluator):
    """An evaluator of a plugin, with the loop of docs/plugins.md: it learns the images in one batch."""

    def __init__(self, options: Any) -> None:
        pass

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        draws = torch.Generator().manual_seed(request.seed + request.student)
        model = request.build_student(draws).model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        images, labels, _ = map(torch.stack, zip(*request.distilled, strict=True))
        options, what = request.protocol, f"student {request.student}"
        kept = request.unfinished.training(model) if request.unfinished else None
        done = kept.resume(optimizer, draws, options, steps=1, what=what) if kept else 0
        for epoch in range(done, options.epochs):
            noise = torch.randn(images.shape, generator=draws)
            loss = torch.nn.functional.cross_entropy(model(images + 0.1 * noise), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if kept:
                kept.keep(epoch + 1, optimizer, draws, options, steps=1)
            request.runtime.reporter.advance(1, {"loss": loss.item()})
        reached = sum(weight.double().sum().item() for weight in model.parameters()) % 1
        return StudentResult(student=request.student, accuracy=reached, seconds=0.0, steps=options.epochs)


class Careless(OwnLoop):
    """Changes in place what it is given; `of` returns the tensor."""

    of: Callable[[EvaluationRequest], torch.Tensor]

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        type(self).of(request).zero_()
        return StudentResult(student=request.student, accuracy=0.5, seconds=0.0, steps=1)


class ChangesDistilled(Careless):
    of = staticmethod(lambda request: request.distilled.images)


class ChangesTestLabels(Careless):
    of = staticmethod(lambda request: request.dataset.test.labels)


class ChangesTestImages(Careless):
    of = staticmethod(lambda request: request.dataset.test.images.pixels)


@pytest.mark.parametrize(
    ("build", "tensor"),
    [
        (ChangesDistilled, "distilled.images"),
        (ChangesTestLabels, "dataset.test.labels"),
        (ChangesTestImages, "dataset.test.images"),
    ],
)
def test_an_evaluator_that_changes_what_it_is_given_is_refused(
    build: type, tensor: str, make_dataset: Any, make_registry: Any, tmp_path: Path
) -> None:
    registry = make_registry(
        make_dataset(), evaluators=[EvaluatorSpec(name="careless", summary="x", build=build)]
    )
    with pytest.raises(
        InputChangedError, match=f"evaluator 'careless' changed {tensor} in place in evaluate"
    ):
        condense.run(
            method="random",
            dataset="tiny",
            ipc=2,
            students=2,
            reference=False,
            device="cpu",
            settings={"evaluator": "careless", "protocol.labels": "hard"},
            out=tmp_path,
            registry=registry,
        )


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(
        make_dataset(),
        models=[ModelSpec(name="picky", summary="refuses everything", build=refuses)],
        evaluators=[EvaluatorSpec(name="own-loop", summary="x", build=OwnLoop)],
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> RunResult:
    return condense.run(
        method="random",
        dataset="tiny",
        ipc=2,
        students=0,
        device="cpu",
        settings={"protocol.labels": "hard", "protocol.epochs": 1, "protocol.batch_size": 4},
        out=tmp_path_factory.mktemp("runs"),
        name="one",
        registry=registry,
    )


def evaluate(path: Path, registry: Registry, **options: Any) -> EvaluationResult:
    return condense.evaluate(path, **{"students": 2, "device": "cpu", "registry": registry, **options})


def accuracies(found: EvaluationResult, network: str) -> list[float]:
    return [student.accuracy for student in found.scores[network].students]


def test_every_network_is_judged_as_if_it_were_alone(run: RunResult, registry: Registry) -> None:
    both = evaluate(run.path, registry, student=f"{NARROW},{WIDE}")
    assert list(both.scores) == [NARROW, WIDE]
    for network in (NARROW, WIDE):
        alone = evaluate(run.path, registry, student=network)
        assert accuracies(alone, network) == accuracies(both, network)
    assert both.score is both.scores[NARROW]


def test_students_of_every_network_are_trained_together_if_that_is_asked_for(
    run: RunResult, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: list[int] = []

    def noted(self: StudentEvaluator, requests: list[EvaluationRequest]) -> list[StudentResult]:
        stacks.append(len(requests))
        return [self.evaluate(request) for request in requests]

    monkeypatch.setattr(StudentEvaluator, "evaluate_together", noted)
    evaluate(run.path, registry, student=[NARROW, WIDE], settings={"student.together": 2})
    assert stacks == [2, 2]


def test_the_table_lies_in_the_run_as_json_and_markdown(run: RunResult, registry: Registry) -> None:
    found = evaluate(run.path / "distilled", registry, student=[NARROW, WIDE])
    assert found.table is not None
    assert found.table.parent == run.path / "evaluations"
    data = json.loads(found.table.with_suffix(".json").read_text())
    assert data == json.loads(json.dumps(found.to_dict()))
    assert [row["student"] for row in data["rows"]] == [NARROW, WIDE]
    assert all(row["accuracy_mean"] == statistics.fmean(row["accuracies"]) for row in data["rows"])
    assert found.table.read_text() == render_markdown(data)
    before = sorted(found.table.parent.iterdir())
    again = evaluate(run.path, registry, student=[NARROW, WIDE])
    assert again.table is not None and again.table.name == found.table.name
    assert sorted(found.table.parent.iterdir()) == before
    other = evaluate(run.path, registry, student=[NARROW])
    assert other.table != again.table


def test_the_markdown_has_a_line_for_each_network() -> None:
    """Mean 0.5 of 0.4 and 0.6: s = 0.1 √2, so the half interval is 12.7062 * 0.1 = 1.27."""
    row = {
        "student": "resnet18",
        "accuracy_mean": 0.5,
        "accuracy_interval": (-0.77062, 1.77062),
        "students": 2,
    }
    lone = {"student": "convnet", "accuracy_mean": 0.25, "accuracy_interval": None, "students": 1}
    protocol = {"name": "fkd", "epochs": 3, "labels": "online"}
    data = {"method": "dm", "dataset": "folder:/home/me/pets", "ipc": 1, "seed": 0, "protocol": protocol}
    lines = render_markdown({**data, "rows": [row, lone]}).splitlines()
    assert lines[0] == "# dm on folder:pets, 1 image per class"
    assert lines[-2:] == ["| resnet18 | 50.0 | -77.1 to 177.1 | 2 |", "| convnet | 25.0 | – | 1 |"]


def test_an_artifact_alone_gets_no_files_unless_a_folder_is_named(
    run: RunResult, registry: Registry, tmp_path: Path
) -> None:
    shutil.copytree(run.path / "distilled", tmp_path / "alone")
    found = evaluate(tmp_path / "alone", registry, students=1, student=NARROW)
    assert found.table is None and found.to_dict()["table"] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["alone"]
    found = evaluate(tmp_path / "alone", registry, students=1, student=NARROW, out=tmp_path / "tables")
    assert found.table is not None and found.table.parent == tmp_path / "tables"
    assert len(list((tmp_path / "tables").iterdir())) == 2


def test_a_place_that_cannot_be_written_is_an_error_only_if_it_was_chosen(
    run: RunResult, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        evaluate(run.path, registry, students=1, student=NARROW, out=tmp_path / "file")
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    shutil.rmtree(copy / "evaluations", ignore_errors=True)
    (copy / "evaluations").write_text("")
    found = evaluate(copy, registry, students=1, student=NARROW)
    assert found.table is None
    assert len(found.score.students) == 1


def test_what_is_finished_is_kept_when_a_later_network_fails(
    run: RunResult, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, seen = StudentEvaluator.evaluate, []

    def fails_late(self: StudentEvaluator, request: Any) -> Any:
        seen.append(request.student)
        if len(seen) == 2:
            raise ModelError("out of memory")
        return judge(self, request)

    monkeypatch.setattr(StudentEvaluator, "evaluate", fails_late)
    with pytest.raises(ModelError, match="out of memory"):
        evaluate(run.path, registry, students=1, student=[NARROW, WIDE], out=tmp_path)
    [table] = tmp_path.glob("*.json")
    assert [row["student"] for row in json.loads(table.read_text())["rows"]] == [NARROW]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"student": [NARROW, NARROW]}, "stands twice; name each network once"),
        ({"student": ["teacher", "protocol"]}, "stands twice"),
        ({"student": f"{NARROW},picky"}, "this network takes no such images"),
        ({"student": f"{NARROW},convnett"}, "Did you mean 'convnet'?"),
        ({"student": "convnet", "settings": {"student.model": "convnet"}}, "say the same thing"),
        (
            {"student": "convnet,resnet18", "settings": {"student.model.width": 4}},
            "write it with its network",
        ),
    ],
)
def test_students_that_cannot_be_are_refused_before_any_training(
    options: dict[str, Any], says: str, run: RunResult, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudentEvaluator, "evaluate", lambda *_: pytest.fail("a student was trained"))
    with pytest.raises(CondenseError) as caught:
        evaluate(run.path, registry, **options)
    assert says in str(caught.value)
    assert isinstance(caught.value, (OptionError, ModelError)) or "unknown model" in says + str(caught.value)


def attempts(
    path: Path, registry: Registry, impatient: Any, **options: Any
) -> tuple[EvaluationResult, list[str]]:
    """The result of an evaluation after as many attempts as it takes, and what all of them said."""
    told: list[str] = []
    while True:
        reporter = impatient()
        try:
            found = evaluate(path, registry, reporter=reporter, keep_minutes=0, **options)
            return found, told + reporter.notes
        except impatient.Stopped:
            told += reporter.notes


def untimed(found: EvaluationResult) -> dict[str, Any]:
    data = found.to_dict()
    for row in data["rows"]:
        del row["seconds"]
    return {**data, "table": ""}


def test_an_evaluation_that_ends_in_every_epoch_goes_on_to_the_same_numbers(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "student": f"{NARROW},{WIDE}",
        "settings": {"protocol.epochs": 3, "protocol.optimizer": "adamw"},
    }
    whole = evaluate(run.path, registry, out=tmp_path / "whole", **options)
    found, told = attempts(run.path, registry, impatient, out=tmp_path / "cut", **options)
    assert untimed(found) == untimed(whole)
    going_on = [note for note in told if "goes on after epoch" in note]
    each = [f"student {number} goes on after epoch {done} of 3" for number in (0, 1) for done in (1, 2)]
    assert going_on == [*each, *each]
    assert {"the evaluation goes on with 3 finished students of an earlier attempt"} <= set(told)
    assert [file.suffix for file in sorted((tmp_path / "cut").iterdir())] == [".json", ".md"]


def test_an_evaluator_of_a_plugin_goes_on_too(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"settings": {"evaluator": "own-loop", "protocol.epochs": 3}, "students": 1}
    whole = evaluate(run.path, registry, **options)
    found, told = attempts(run.path, registry, impatient, out=tmp_path, **options)
    assert untimed(found) == untimed(whole)
    # It was stopped where it reported its second epoch, which was kept by then.
    assert [note for note in told if "goes on after" in note] == ["student 0 goes on after epoch 2 of 3"]


def test_a_finished_student_is_not_trained_again(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    class Counting(impatient):  # type: ignore[misc]
        trained = 0

        def advance(self, count: int, values: Any = None) -> None:
            self.trained += bool(count and values)
            super().advance(count, values)

    options: dict[str, Any] = {"out": tmp_path, "settings": {"protocol.epochs": 2}}
    with pytest.raises(impatient.Stopped):
        evaluate(run.path, registry, reporter=impatient(2), **options)
    [kept] = (tmp_path / "unfinished").rglob("*.json")
    other = Counting(9)
    evaluate(run.path, registry, reporter=other, seed=5, **options)  # another evaluation has its own folder
    assert (other.trained, kept.exists()) == (4, True)
    rest = Counting(9)
    evaluate(run.path, registry, reporter=rest, **options)
    assert rest.trained == 2
    assert not (tmp_path / "unfinished").exists()


def test_a_damaged_result_is_told_and_trained_again(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    whole = evaluate(run.path, registry)
    with pytest.raises(impatient.Stopped):
        evaluate(run.path, registry, reporter=impatient(1), out=tmp_path)
    [kept] = (tmp_path / "unfinished").rglob("*.json")
    kept.write_bytes(kept.read_bytes()[:-2] + b"9}")
    reporter = impatient(9)
    found = evaluate(run.path, registry, reporter=reporter, out=tmp_path)
    assert untimed(found) == untimed(whole)
    assert any("Student 0 is trained again" in note for note in reporter.notes)


def test_results_of_other_images_are_not_taken(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path / "distilled", copy)
    with pytest.raises(impatient.Stopped):
        evaluate(copy, registry, reporter=impatient(1), out=tmp_path / "tables", dataset="tiny")
    distilled = artifact.load(copy, registry)
    other = replace(distilled, images=distilled.images.flip(3), files=PngFiles())
    artifact.save(other, copy, overwrite=True)
    reporter = impatient(9)
    evaluate(copy, registry, reporter=reporter, out=tmp_path / "tables", dataset="tiny")
    assert not any("goes on with" in note for note in reporter.notes)
    assert not (tmp_path / "tables" / "unfinished").exists()


@pytest.mark.parametrize("part", ["train", "test"])
def test_results_on_another_dataset_of_the_same_name_are_not_taken(
    part: str,
    run: RunResult,
    registry: Registry,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    impatient: Any,
    tmp_path: Path,
) -> None:
    with pytest.raises(impatient.Stopped):
        evaluate(run.path, registry, reporter=impatient(1), out=tmp_path)
    dataset = make_dataset()
    before = getattr(dataset, part)
    pixels = before.images.pixels.clone()
    pixels[-1, 0, 0, 0] ^= 1
    changed = replace(dataset, **{part: replace(before, images=MemoryImages(pixels))})
    reporter = impatient(9)
    evaluate(run.path, make_registry(changed), reporter=reporter, out=tmp_path)
    assert not any("goes on with" in note for note in reporter.notes)
    assert reporter.left == 7  # both students were trained


def test_without_a_table_nothing_is_kept(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    shutil.copytree(run.path / "distilled", tmp_path / "alone")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(impatient.Stopped):
        evaluate(tmp_path / "alone", registry, reporter=impatient(1), keep_minutes=0)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_evaluation_twice_at_a_time_is_kept_once(
    run: RunResult, registry: Registry, impatient: Any, tmp_path: Path
) -> None:
    with pytest.raises(impatient.Stopped):
        evaluate(run.path, registry, reporter=impatient(1), out=tmp_path)
    [folder] = [one for one in (tmp_path / "unfinished").iterdir() if one.is_dir()]
    reporter = impatient(9)
    with held(folder):
        evaluate(run.path, registry, reporter=reporter, out=tmp_path)
    assert any("nothing is kept of this evaluation" in note for note in reporter.notes)
    assert list(folder.glob("*.json"))
