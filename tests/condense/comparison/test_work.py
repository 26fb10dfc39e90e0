"""Whole comparisons on a tiny dataset: what is shared, kept, done again, and what a failure does to the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import condense
from condense.api import design_compare
from condense.comparison import work
from condense.comparison.saved import read_outcome, to_dict
from condense.comparison.work import ComparisonResult, look_ahead
from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.engine.components import EvaluationRequest, FeatureTarget, Measurement
from condense.engine.evaluate import StudentEvaluator
from condense.errors import DataError, NumericalError, StorageError
from condense.models.catalog import ConvNetOptions
from condense.models.convnet import ConvNet
from condense.models.observation import Observation
from condense.recipe.method import Method, Recover, Use
from condense.recipe.registry import KINDS, PluginStatus, Registry
from condense.recipe.specs import EvaluatorSpec, FeatureTargetSpec, ModelSpec, NoOptions
from condense.runtime import SilentReporter
from condense.storage.files import write_json


class Failing(FeatureTarget):
    """Measures nothing and has no loss."""

    measures = False

    def __init__(self, options: NoOptions) -> None:
        pass

    def loss(self, synthetic: Observation, real: Observation | None) -> torch.Tensor:
        raise NumericalError("the loss is of no use")


class Broken(Failing):
    def loss(self, synthetic: Observation, real: Observation | None) -> torch.Tensor:
        raise KeyError("a plugin's own mistake")


TARGETS = [
    FeatureTargetSpec(name="failing", summary="raises CondenseError", build=Failing),
    FeatureTargetSpec(name="broken", summary="raises something else", build=Broken),
]
METHODS = [
    Method(
        name=name,
        summary=f"its target is {name}",
        targets=(Use(name=name),),
        recover=Recover(iterations=2),
    )
    for name in ("failing", "broken")
]


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset(), methods=METHODS, feature_targets=TARGETS)


class Site:
    """A folder in which comparisons are made."""

    def __init__(self, out: Path, registry: Registry) -> None:
        self.out, self.registry = out, registry

    def terms(self, *methods: str, **terms: Any) -> dict[str, Any]:
        usual = {"dataset": "tiny", "ipc": 1, "seeds": 1, "epochs": 1, "scores": False, "device": "cpu"}
        steps = {"wmdd:iterations": 2} if "wmdd" in methods else {}
        settings = {"protocol.batch_size": 4, **steps, **terms.pop("settings", {})}
        return {**usual, "settings": settings, **terms}

    def compare(self, *methods: str, reporter: Any = None, **terms: Any) -> ComparisonResult:
        named = methods or ("wmdd",)
        return condense.compare(
            named, out=self.out, registry=self.registry, reporter=reporter, **self.terms(*named, **terms)
        )


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing has tests of its own, and takes a second."""
    monkeypatch.setattr(
        work, "write_all", lambda outcome, folder: write_json(folder / "compare.json", to_dict(outcome))
    )


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    return Site(tmp_path / "runs", registry)


class Spy:
    """Counts what is computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.students: list[tuple[str, int, int, bytes]] = []
        self.runs: list[str] = []
        self.teachers = 0
        self.loaded = 0
        self._patch(monkeypatch)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import condense.comparison.cells as cells
        from condense.runs import teachers

        evaluate, run = StudentEvaluator.evaluate, cells.run
        squeeze, load = teachers.squeeze, work.load_dataset

        def evaluated(evaluator: StudentEvaluator, request: EvaluationRequest) -> Measurement:
            def build(generator: torch.Generator) -> Any:
                network = request.build_student(generator)
                first = next(network.model.parameters()).detach().numpy().tobytes()
                self.students.append((request.distilled.method, request.seed, request.student, first))
                return network

            return evaluate(evaluator, replace(request, build_student=build))

        def ran(config: Any, *arguments: Any, **options: Any) -> Any:
            self.runs.append(config.method)
            return run(config, *arguments, **options)

        def taught(*arguments: Any) -> Any:
            self.teachers += 1
            return squeeze(*arguments)

        def loaded(*arguments: Any) -> Any:
            self.loaded += 1
            return load(*arguments)

        monkeypatch.setattr(StudentEvaluator, "evaluate", evaluated)
        monkeypatch.setattr(cells, "run", ran)
        monkeypatch.setattr(teachers, "squeeze", taught)
        monkeypatch.setattr(work, "load_dataset", loaded)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def without_seconds(value: Any) -> Any:
    """Plain data without anything that a clock has said."""
    if isinstance(value, Mapping):
        return {key: without_seconds(item) for key, item in value.items() if "seconds" not in key}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def saved(result: ComparisonResult) -> Any:
    return without_seconds(json.loads((result.path / "compare.json").read_text()))


@pytest.mark.slow
def test_all_rows_share_dataset_teacher_and_initial_weights(site: Site, spy: Spy) -> None:
    result = site.compare("wmdd", "random", seeds=2, students=2, settings={"student.model": "convnet"})
    assert (spy.teachers, spy.loaded, len(spy.runs)) == (1, 1, 4)
    weights: dict[tuple[int, int], set[bytes]] = {}
    for _, seed, student, first in spy.students:
        weights.setdefault((seed, student), set()).add(first)
    assert {place: len(found) for place, found in weights.items()} == {
        (0, 0): 1,
        (0, 1): 1,
        (1, 0): 1,
        (1, 1): 1,
    }
    assert len(set.union(*weights.values())) == 4
    outcome = result.outcome
    assert [len(cell.accuracies) for cell in outcome.cells] == [2] * 4
    assert {found.settings["teacher"]["seed"] for found in outcome.distilled} == {0}
    assert outcome.teacher is not None and outcome.teacher.model == "convnet"
    assert len(list((site.out / "teachers").glob("*.safetensors"))) == 1
    # Nothing is computed twice, and more students are added to those there are.
    site.compare("wmdd", "random", seeds=2, students=3, settings={"student.model": "convnet"})
    assert (spy.teachers, len(spy.runs), len(spy.students)) == (1, 4, 12)


def test_a_comparison_in_full(site: Site) -> None:
    result = site.compare("wmdd", scores=True)
    outcome = read_outcome(result.path)
    assert outcome == read_outcome(result.path / "compare.json")
    assert (outcome.kind, outcome.dataset, outcome.finished) == ("compare", "tiny", True)
    assert (outcome.classes, outcome.images, outcome.bytes) == (3, 21, 21 * 64)
    assert [row.label for row in outcome.rows] == ["wmdd", "random"] and outcome.floor == "random"
    assert [cell.column for cell in outcome.cells] == ["fkd@1", "fkd@1/hard", "fkd@1/plain"] * 2
    for found in outcome.distilled:
        assert (result.path / found.path / "run.json").is_file()
        assert (result.path / found.grid).resolve().is_relative_to(result.path.resolve())
        assert (result.path / found.grid).read_bytes() == (result.path / found.path / "grid.png").read_bytes()
        assert set(found.seconds) == {"measure", "recover"}
    teacher = outcome.teacher
    assert teacher is not None
    for cell in outcome.cells:
        assert (
            cell.bytes["teacher"] == (0 if cell.column.endswith("hard") else teacher.bytes)
            and cell.steps == 1
        )
        assert cell.bytes["labels"] == 3
    assert result.summary.ceiling == teacher.accuracy
    assert result.summary.line("wmdd", 1, "fkd@1").lrs is not None
    assert result.to_dict()["table"] and not result.failures


def test_soft_labels_are_the_teachers_and_counted(site: Site) -> None:
    (cell,) = site.compare("random").outcome.cells
    soft = site.compare("random", protocol="fkd", settings={"protocol.labels": "soft"}, name="soft")
    (other,) = soft.outcome.cells
    assert soft.outcome.columns[0].labels == "soft"
    assert other.bytes["labels"] > cell.bytes["labels"] and other.bytes["teacher"] == 0


def test_the_same_comparison_again_computes_nothing(site: Site, spy: Spy) -> None:
    first = saved(site.compare("wmdd"))
    before = (spy.teachers, len(spy.runs), len(spy.students))
    assert saved(site.compare("wmdd")) == first
    assert (spy.teachers, len(spy.runs), len(spy.students)) == before == (1, 2, 2)


def test_a_sweep_and_an_ablation_take_what_a_comparison_made(site: Site, spy: Spy) -> None:
    site.compare("wmdd")
    terms = site.terms("wmdd", settings={"regularizers.class-batchnorm": [10.0, 3.0]})
    swept = condense.sweep("wmdd", out=site.out, registry=site.registry, **terms)
    assert [row.label for row in swept.outcome.rows] == [
        "wmdd class-batchnorm=10",
        "wmdd class-batchnorm=3",
        "random",
    ]
    assert spy.runs == ["wmdd", "random", "wmdd"]
    ablated = condense.ablate("wmdd", out=site.out, registry=site.registry, floor=False, **site.terms("wmdd"))
    assert spy.runs == ["wmdd", "random", "wmdd", *["wmdd"] * (len(ablated.outcome.rows) - 1)]
    assert ablated.outcome.kind == "ablate" and not ablated.failures


class StopAt(SilentReporter):
    """Ctrl-C in the middle of a piece of the comparison."""

    def __init__(self, piece: int, stage: str) -> None:
        self._piece, self._stage, self._now = piece, stage, 0

    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        self._now = number

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        if self._now == self._piece and self._doing == self._stage:
            raise KeyboardInterrupt

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._doing = stage


@pytest.mark.slow
@pytest.mark.parametrize(("piece", "stage"), [(1, "measure"), (3, "recover"), (4, "evaluate")])
def test_interrupted_and_repeated_it_gives_the_same(
    site: Site, tmp_path: Path, registry: Registry, piece: int, stage: str, spy: Spy
) -> None:
    whole = saved(Site(tmp_path / "other", registry).compare("wmdd", seeds=2))
    assert len(spy.runs) == 4
    with pytest.raises(KeyboardInterrupt):
        site.compare("wmdd", seeds=2, reporter=StopAt(piece, stage))
    files = list(site.out.glob("compare-*/compare.json"))
    assert len(files) == (piece > 1)
    for file in files:
        unfinished = read_outcome(file)
        assert not unfinished.finished and len(unfinished.cells) == piece - 1
    started = len(spy.runs)
    assert saved(site.compare("wmdd", seeds=2)) == whole
    assert len(spy.runs) == started + 4 - piece + (stage != "evaluate")
    assert len(spy.students) == 8 + (stage == "evaluate")  # the student under way begins again


def test_a_row_that_fails_leaves_the_others(site: Site, spy: Spy) -> None:
    result = site.compare("failing", "broken", "random", seeds=2)
    by_row = {found.row: found.failure for found in result.outcome.distilled}
    assert by_row["failing"] == "the loss is of no use"
    assert by_row["broken"].startswith(
        'KeyError: "a plugin\'s own mistake" (traceback in failures/broken-tiny-'
    )
    assert by_row["random"] == ""
    log = result.path / by_row["broken"].partition("traceback in ")[2].rstrip(")")
    assert "Traceback (most recent call last)" in log.read_text() and "in loss" in log.read_text()
    assert [(cell.row, cell.seed) for cell in result.outcome.cells] == [("random", 0), ("random", 1)]
    assert len(result.failures) == 4 and result.outcome.finished
    # It is tried again, what worked is not.
    again = site.compare("failing", "broken", "random", seeds=2)
    assert spy.runs.count("random") == 2 and spy.runs.count("failing") == 4
    assert saved(again) == saved(result)


def test_students_that_fail_leave_the_other_columns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object, request: EvaluationRequest) -> Measurement:
        if request.protocol.labels == "hard":
            raise NumericalError("it diverged")
        return Measurement(student=request.student, accuracy=0.5, seconds=1.0, steps=2)

    monkeypatch.setattr(StudentEvaluator, "evaluate", fail)
    result = site.compare("random", protocol=("dc", "fkd"))
    assert [(cell.column, cell.failure, cell.accuracies) for cell in result.outcome.cells] == [
        ("dc@1", "it diverged", ()),
        ("fkd@1", "", (0.5,)),
    ]


def test_too_many_images_per_class_are_refused_before_any_work(site: Site, spy: Spy) -> None:
    with pytest.raises(DataError, match="has only 6"):
        site.compare("random", ipc=(1, 7))
    assert (spy.teachers, spy.runs) == (0, [])


def test_other_images_under_the_same_name_are_refused(
    site: Site, make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    site.compare("random")
    site.registry = make_registry(make_dataset(seed=9), methods=METHODS, feature_targets=TARGETS)
    with pytest.raises(StorageError, match="other images that were called 'tiny'"):
        site.compare("random")


def test_a_folder_of_something_else_is_left_alone(site: Site) -> None:
    folder = site.out / "mine"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    with pytest.raises(StorageError, match="no comparison"):
        site.compare("random", name="mine")
    assert [file.name for file in folder.iterdir()] == ["run.json"]


def test_every_seed_is_tested_on_the_same_images_held_out(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = []

    def look(_: object, request: EvaluationRequest) -> Measurement:
        split: Split = request.dataset.test
        assert isinstance(split.images, MemoryImages)
        tested.append((request.seed, split.images.pixels.numpy().tobytes()))
        return Measurement(student=request.student, accuracy=0.5, seconds=1.0, steps=2)

    monkeypatch.setattr(StudentEvaluator, "evaluate", look)
    result = site.compare("random", seeds=2, validation=0.5)
    assert [seed for seed, _ in tested] == [0, 1] and len({images for _, images in tested}) == 1
    assert result.outcome.validation == 0.5 and result.outcome.images == 10
    assert any("held out" in note or "stand in" in note for note in result.outcome.notes)
    # The run of the second seed can be repeated by itself, with the same images held out.
    second = next(found for found in result.outcome.distilled if found.seed == 1)
    alone = condense.repeat(result.path / second.path, out=site.out, name="alone", registry=site.registry)
    assert torch.equal(alone.distilled.images, condense.load(result.path / second.path).images)


def test_looking_ahead_counts_and_writes_nothing(site: Site) -> None:
    def outlook() -> tuple[int, int, int, int]:
        design = design_compare(site.registry, ["wmdd"], **site.terms("wmdd", scores=True, seeds=2))
        found = look_ahead(design, site.out, site.registry)
        return found.cells, found.cells_done, found.students, found.students_done

    assert outlook() == (4, 0, 12, 0)
    assert not site.out.exists()
    site.compare("random", seeds=1)
    before = sorted(site.out.rglob("*"))
    assert outlook() == (4, 1, 12, 1)
    assert sorted(site.out.rglob("*")) == before


def test_a_checkpoint_is_the_teacher_of_all_and_known_by_its_content(site: Site, spy: Spy) -> None:
    made = site.compare("random")
    teacher = next((site.out / "teachers").glob("*.safetensors"))
    copy = site.out / "teacher.safetensors"
    copy.write_bytes(teacher.read_bytes())
    settings = {"teacher.checkpoint": str(copy)}
    loaded = site.compare("random", settings=settings)
    assert made.outcome.teacher is not None and loaded.outcome.teacher is not None
    assert loaded.outcome.teacher.accuracy == made.outcome.teacher.accuracy
    assert [cell.accuracies for cell in loaded.outcome.cells] == [
        cell.accuracies for cell in made.outcome.cells
    ]
    assert spy.runs == ["random"] * 2
    site.compare("random", settings=settings)
    assert spy.runs == ["random"] * 2


def test_what_is_passed_on_does_not_say_where_files_lie(site: Site, tmp_path: Path) -> None:
    for split, label in product(("train", "val"), ("cat", "dog")):
        (tmp_path / "pets" / split / label).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (8, 8), 40 * number).save(tmp_path / "pets" / split / label / f"{number}.png")
    (tmp_path / "pets" / "test").mkdir()  # a note says that it is not used
    teacher = {"teacher.model": "convnet", "teacher.model.width": 8, "teacher.model.depth": 2}
    pets = f"folder:{tmp_path / 'pets'}"
    made = site.compare("random", dataset=pets, settings={**teacher, "teacher.epochs": 0, "dataset.size": 8})
    (weights,) = (site.out / "teachers").glob("*.safetensors")
    settings = {**teacher, "teacher.checkpoint": str(weights), "dataset.size": 8}
    taught = site.compare("random", dataset=pets, settings=settings)
    for result in (made, taught):
        assert str(tmp_path) not in json.dumps(result.to_dict())
        assert (result.outcome.dataset, len(result.outcome.notes)) == ("folder:pets", len(made.outcome.notes))
    assert f"teacher.checkpoint={weights.name}" in taught.outcome.command
    assert "test/ is not used: val/ is the test split" in made.outcome.notes


@pytest.mark.parametrize("part", ["evaluator", "model"])
def test_students_of_another_version_of_a_plugin_are_trained_again(
    tmp_path: Path,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    part: str,
) -> None:
    evaluators = [EvaluatorSpec(name="mine", summary="a plugin's", build=StudentEvaluator)]
    models = [ModelSpec(name="mine", summary="a plugin's", options=ConvNetOptions, build=ConvNet)]
    installed = make_registry(make_dataset(), evaluators=evaluators, models=models)
    key = {"evaluator": "evaluator", "model": "student.model"}[part]
    spied = []
    for version in ("1", "1", "2"):
        plugin = PluginStatus(name="test", version=version, module="test")
        offers = {
            kind: {offer.spec.name: offer for offer in installed.offers(kind)} for kind, _ in KINDS.values()
        }
        registry = Registry(offers, (*installed.plugins, plugin), {})
        result = Site(tmp_path, registry).compare("random", settings={key: "mine"})
        spied.append(len(list(tmp_path.glob("cells/*/students/*.json"))))
        assert not result.failures
    assert spied == [1, 1, 2]
