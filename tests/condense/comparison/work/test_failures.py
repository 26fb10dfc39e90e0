"""What an interruption or a failure does to the rest of a comparison, and what is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from condense.comparison.outcome import Outcome
from condense.comparison.work import ComparisonResult
from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, StudentResult
from condense.engine.evaluate import StudentEvaluator
from condense.errors import DataError, ModelError, NumericalError, StorageError
from condense.recipe.registry import Registry
from condense.runtime import SilentReporter


def read_outcome(path: Path) -> Outcome:
    """The comparison in a compare.json, or in the folder of one."""
    file = path if path.is_file() else path / "compare.json"
    return msgspec.convert(json.loads(file.read_text(encoding="utf-8")), Outcome)


Site = Any  # these are in conftest.py, which tests cannot import
Spy = Any
Saved = Callable[[ComparisonResult], Any]


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
    site: Site,
    tmp_path: Path,
    registry: Registry,
    piece: int,
    stage: str,
    spy: Spy,
    saved: Saved,
    make_site: Callable[[Path, Registry], Site],
) -> None:
    whole = saved(make_site(tmp_path / "other", registry).compare("wmdd", seeds=2))
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


def test_an_interrupted_cell_goes_on_on_another_device_of_its_kind(site: Site, spy: Spy) -> None:
    with pytest.raises(KeyboardInterrupt):
        site.compare("wmdd", reporter=StopAt(1, "recover"), reference=False)
    assert not site.compare("wmdd", reference=False, device="cpu:0").failures
    assert len(list((site.out / "cells").glob("wmdd-*"))) == 1
    assert (spy.teachers, spy.runs) == (1, ["wmdd"] * 2)


def test_an_interrupted_cell_goes_on_with_its_teacher_in_another_file(site: Site) -> None:
    site.compare("random")
    (weights,) = (site.out / "teachers").glob("*.safetensors")
    first, second = (site.out / f"{name}.safetensors" for name in ("here", "there"))
    for file in (first, second):
        file.write_bytes(weights.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        site.compare("wmdd", reporter=StopAt(1, "recover"), settings={"teacher.checkpoint": str(first)})
    # The content of the file is the same, and so is the cell.
    assert not site.compare("wmdd", settings={"teacher.checkpoint": str(second)}).failures
    assert len(list((site.out / "cells").glob("wmdd-*"))) == 1


def test_a_row_that_fails_leaves_the_others(site: Site, spy: Spy, saved: Saved) -> None:
    result = site.compare("failing", "broken", "random", seeds=2)
    by_row = {found.row: found.failure for found in result.outcome.distilled}
    assert by_row["failing"] == "the loss is of no use"
    assert by_row["broken"].startswith(
        "feature target 'broken' of plugin 'test' failed in loss (conftest.py, line "
    )
    assert 'KeyError: "a plugin\'s own mistake" (traceback in failures/broken-tiny-' in by_row["broken"]
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
    def fail(_: object, request: EvaluationRequest) -> StudentResult:
        if request.protocol.labels == "hard":
            raise NumericalError("it diverged")
        return StudentResult(student=request.student, accuracy=0.5, seconds=1.0, steps=2)

    monkeypatch.setattr(StudentEvaluator, "evaluate", fail)
    result = site.compare("random", protocol=("dc", "fkd"))
    assert [(cell.column, cell.failure, cell.accuracies) for cell in result.outcome.cells] == [
        ("dc@1", "it diverged", ()),
        ("fkd@1", "", (0.5,)),
    ]


def test_too_many_images_per_class_are_refused_before_any_work(site: Site, spy: Spy) -> None:
    with pytest.raises(DataError, match="has only 6"):
        site.compare("random", ipc=(7, 8))
    assert (spy.teachers, spy.runs) == (0, [])


def test_what_cannot_work_is_a_row_that_failed_and_the_others_go_on(site: Site, spy: Spy) -> None:
    settings = {"random:initializer": "medoids"}
    result = site.compare("random", "k-center", ipc=(1, 7), reference=False, settings=settings)
    failures = {(found.row, found.ipc): found.failure for found in result.outcome.distilled}
    assert set(failures) == {(row, ipc) for row in ("random", "k-center") for ipc in (1, 7)}
    assert "needs a target that says which feature" in failures["random", 1]
    assert "smallest class of 'tiny', 'class 0', has only 6" in failures["random", 7]
    assert "smallest class of 'tiny', 'class 0', has only 6" in failures["k-center", 7]
    assert failures["k-center", 1] == ""
    assert [(cell.row, cell.ipc) for cell in result.outcome.cells] == [("k-center", 1)]
    assert spy.runs == ["k-center"]
    assert result.outcome.finished


def test_other_images_under_the_same_name_are_refused(
    site: Site,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    offers: Mapping[str, list[Any]],
) -> None:
    site.compare("random")
    site.registry = make_registry(make_dataset(seed=9), **offers)
    with pytest.raises(StorageError, match="other images that were called 'tiny'"):
        site.compare("random")


def test_a_folder_of_something_else_is_left_alone(site: Site) -> None:
    folder = site.out / "mine"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    with pytest.raises(StorageError, match="is not a comparison"):
        site.compare("random", name="mine")
    assert [file.name for file in folder.iterdir()] == ["run.json"]


def test_a_network_that_does_not_take_the_images_is_found_before_any_work(site: Site, spy: Spy) -> None:
    with pytest.raises(ModelError, match=r"the student 'timm:test_convnext' cannot look at images of 8x8"):
        site.compare("wmdd", student="timm:test_convnext")
    with pytest.raises(ModelError, match=r"a ConvNet of depth 4 halves the image 4 times"):
        site.compare("dm", settings={"dm:recover.network": "convnet", "dm:recover.network.depth": 4})
    assert (spy.teachers, spy.runs, spy.students) == (0, [], [])
