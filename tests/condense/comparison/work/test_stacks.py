"""Stacks that span the seeds of a comparison: each student learns what it learns alone, whatever comes between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.comparison import cells
from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, Evaluator, StudentResult
from condense.engine.evaluate import StudentEvaluator
from condense.errors import NumericalError
from condense.models.network import Network
from condense.recipe.registry import Registry
from condense.recipe.specs import EvaluatorSpec, NoOptions
from condense.runs.pipeline import RunDriver
from condense.runtime import SilentReporter

Site = Any  # this is in conftest.py, which tests cannot import
# The seed of a student, and its number.
Who = tuple[int, int]


class Watch:
    """What is trained: the stacks, the students alone, and the weights of each in the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stacks: list[list[Who]] = []
        self.alone: list[Who] = []
        self.weights: dict[Who, dict[str, Tensor]] = {}
        at_once, one, tested = (
            StudentEvaluator.evaluate_together,
            StudentEvaluator.evaluate,
            StudentEvaluator._test,
        )

        def together(own: StudentEvaluator, requests: Sequence[EvaluationRequest]) -> list[StudentResult]:
            self.stacks.append([(request.seed, request.student) for request in requests])
            return at_once(own, requests)

        def alone(own: StudentEvaluator, request: EvaluationRequest) -> StudentResult:
            self.alone.append((request.seed, request.student))
            return one(own, request)

        def test(own: StudentEvaluator, student: Network, request: EvaluationRequest) -> float:
            state = {name: value.clone() for name, value in student.model.state_dict().items()}
            self.weights[request.seed, request.student] = state
            return tested(own, student, request)

        monkeypatch.setattr(StudentEvaluator, "evaluate_together", together)
        monkeypatch.setattr(StudentEvaluator, "evaluate", alone)
        monkeypatch.setattr(StudentEvaluator, "_test", test)

    def forget(self) -> None:
        self.stacks, self.alone, self.weights = [], [], {}


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def compare(site: Site, together: int, **terms: Any) -> Any:
    settings = {"student.together": together, **terms.pop("settings", {})}
    usual = {"epochs": 3, "seeds": 3, "reference": False, "name": f"together-{together}"}
    return site.compare("random", settings=settings, **{**usual, **terms})


def files_of(site: Site) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(site.out).glob("cells/*/students/*.json")}


@pytest.mark.parametrize(
    ("students", "together", "stacks"),
    [
        (1, 3, [[(0, 0), (1, 0), (2, 0)]]),
        (2, 4, [[(0, 0), (0, 1), (1, 0), (1, 1)], [(2, 0), (2, 1)]]),
        (2, 3, [[(0, 0), (0, 1), (1, 0)], [(1, 1), (2, 0), (2, 1)]]),
        (2, 2, [[(0, 0), (0, 1)], [(1, 0), (1, 1)], [(2, 0), (2, 1)]]),
    ],
)
def test_students_of_a_stack_learn_what_they_learn_alone(
    site: Site, watch: Watch, students: int, together: int, stacks: list[list[Who]]
) -> None:
    """Weights and running statistics after training with the teacher's answers, and what the table says."""
    single = compare(site, 1, students=students)
    alone = watch.weights
    watch.forget()
    stacked = compare(site, together, students=students)
    assert watch.stacks == stacks and not watch.alone
    assert watch.weights.keys() == alone.keys() and len(alone) == 3 * students
    assert not torch.equal(*(next(iter(alone[who].values())) for who in ((0, 0), (1, 0))))
    for who, weights in alone.items():
        for name, value in weights.items():
            torch.testing.assert_close(watch.weights[who][name], value, rtol=1e-3, atol=1e-4)
    for one, other in zip(stacked.outcome.cells, single.outcome.cells, strict=True):
        assert (one.row, one.seed, one.column) == (other.row, other.seed, other.column)
        assert (one.steps, one.bytes) == (other.steps, other.bytes)
        assert len(one.accuracies) == students and not one.failure
    assert not list(Path(site.out).rglob("unfinished"))
    # All of it is found again.
    watch.forget()
    again = compare(site, together, students=students)
    assert not (watch.stacks or watch.alone)
    assert again.outcome.cells == stacked.outcome.cells


def test_the_columns_of_a_comparison_have_stacks_of_their_own(site: Site, watch: Watch) -> None:
    result = compare(site, 3, protocol=("dc", "fkd"), epochs=1)
    assert watch.stacks == [[(0, 0), (1, 0), (2, 0)]] * 2
    assert [(cell.seed, cell.column) for cell in result.outcome.cells] == [
        (seed, column) for seed in range(3) for column in ("dc@1", "fkd@1")
    ]


def test_a_stack_goes_on_in_the_middle_to_the_same_numbers(
    site: Site, saved: Callable[[Any], Any], tmp_path: Path, impatient: Any
) -> None:
    terms: dict[str, Any] = {"epochs": 2, "seeds": 2, "settings": {"teacher.epochs": 0}}
    whole = saved(compare(site, 2, name="whole", **terms))
    accuracies = [cell["accuracies"] for cell in whole["cells"]]
    for folder in (site.out / "cells", site.out / "teachers"):
        folder.rename(tmp_path / folder.name)
    told: list[str] = []
    for _ in range(5):
        reporter = impatient()
        try:
            result = saved(compare(site, 2, name="whole", reporter=reporter, keep_minutes=0, **terms))
            break
        except impatient.Stopped:
            told += reporter.notes
            (kept,) = Path(site.out).rglob("unfinished/*.training")
            assert "seed0" in kept.parts[-3]  # where the training of the first would be
    assert [cell["accuracies"] for cell in result["cells"]] == accuracies
    assert {**result, "command": ""} == {**whole, "command": ""}
    going_on = [note for note in told + reporter.notes if "goes on" in note]
    assert going_on == ["the stack of student 0 of seed 0 and student 0 of seed 1 goes on after epoch 1 of 2"]
    assert not list(Path(site.out).rglob("unfinished"))


def test_what_is_there_stays_and_the_others_of_its_stack_are_trained(site: Site, watch: Watch) -> None:
    compare(site, 3, seeds=1)
    before = files_of(site)
    assert watch.alone == [(0, 0)] and len(before) == 1
    watch.forget()
    # What a process leaves that is killed after it wrote the first result of the stack.
    (cell,) = Path(site.out).glob("cells/random-*seed0*")
    (cell / "unfinished").mkdir()
    (cell / "unfinished" / f"{Path(*before).stem}.training").write_bytes(b"kept")
    result = compare(site, 3)
    assert watch.stacks == [[(1, 0), (2, 0)]] and not watch.alone
    (first,) = Path(site.out).glob("cells/*seed0*/students/*.json")
    assert first.read_bytes() == before[first.name]
    assert not (cell / "unfinished").exists()
    assert [len(cell.accuracies) for cell in result.outcome.cells] == [1, 1, 1]


def test_a_cell_without_images_drops_out_of_its_stack(
    site: Site, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(RunDriver):
        def steps(self, **options: Any) -> Any:
            if self.job.config.recipe.seed == 1:
                raise NumericalError("the images became nan")
            return super().steps(**options)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "RunDriver", Failing)
        result = compare(site, 3)
    assert [found.failure for found in result.outcome.distilled] == ["", "the images became nan", ""]
    assert [(cell.seed, cell.failure) for cell in result.outcome.cells] == [(0, ""), (2, "")]
    assert watch.stacks == [[(0, 0), (2, 0)]]
    watch.forget()
    assert not compare(site, 3).failures
    assert (watch.stacks, watch.alone) == ([], [(1, 0)])


def test_a_stack_that_fails_is_the_failure_of_its_cells(
    site: Site, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> list[StudentResult]:
        raise NumericalError("it diverged")

    with monkeypatch.context() as patch:
        patch.setattr(StudentEvaluator, "evaluate_together", fail)
        result = compare(site, 2)
    assert [cell.failure for cell in result.outcome.cells] == ["it diverged", "it diverged", ""]
    assert [len(cell.accuracies) for cell in result.outcome.cells] == [0, 0, 1]
    watch.forget()
    assert not compare(site, 2).failures
    assert (watch.stacks, watch.alone) == ([[(0, 0), (1, 0)]], [])


def test_damaged_images_of_one_cell_are_made_again(site: Site, watch: Watch) -> None:
    first = compare(site, 3)
    for student in Path(site.out).glob("cells/*/students/*.json"):
        student.unlink()
    file = sorted(Path(site.out).glob("cells/*seed1*/distilled/images/*/000.png"))[0]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    notes = Notes()
    again = compare(site, 3, reporter=notes)
    assert [cell.accuracies for cell in again.outcome.cells] == [
        cell.accuracies for cell in first.outcome.cells
    ]
    assert file.read_bytes() == whole
    told = [note for note in notes.said if note.endswith("It is made again")]
    assert len(told) == 1 and "seed1" in told[0]


class Notes(SilentReporter):
    """Keeps notes, and the pieces of the comparison that began."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.pieces: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        self.pieces.append(f"{number}/{total} {what}")


def test_images_and_students_are_told_in_the_order_of_work(site: Site) -> None:
    reporter = Notes()
    compare(site, 2, seeds=2, epochs=1, ipc=(1, 2), reporter=reporter)
    assert reporter.pieces == [
        "1/6 random, 1 image per class, seed 0",
        "2/6 random, 1 image per class, seed 1",
        "3/6 random, 1 image per class, students of 2 seeds",
        "4/6 random, 2 images per class, seed 0",
        "5/6 random, 2 images per class, seed 1",
        "6/6 random, 2 images per class, students of 2 seeds",
    ]


class Plugin(Evaluator):
    """An evaluator of a plugin, which trains nothing."""

    def __init__(self, options: NoOptions) -> None:
        pass

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        return StudentResult(student=request.student, accuracy=(1 + request.seed) / 10, seconds=1.0, steps=2)


def test_what_a_plugin_evaluates_is_not_stacked_and_a_note_says_so(
    tmp_path: Path,
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    make_site: Callable[[Path, Registry], Site],
) -> None:
    spec = EvaluatorSpec(name="mine", summary="a plugin's", build=Plugin)
    registry, notes = make_registry(make_dataset(), evaluators=[spec]), Notes()
    site = make_site(tmp_path, registry)
    result = compare(site, 3, reporter=notes, settings={"evaluator": "mine"})
    assert [cell.accuracies for cell in result.outcome.cells] == [(0.1,), (0.2,), (0.3,)]
    assert "students are trained one by one: their evaluator trains one at a time" in notes.said
