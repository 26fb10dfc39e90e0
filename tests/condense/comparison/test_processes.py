"""Processes that help: they do what nobody else does, and the table is the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.comparison.design import Design, design_comparison
from condense.comparison.processes import Order, _help, check_jobs, helpers
from condense.comparison.workspace import Workspace, look_ahead
from condense.data.load import load_dataset
from condense.engine.squeeze import fresh_teacher
from condense.errors import OptionError
from condense.recipe.config import Machine
from condense.recipe.registry import Chosen, Registry, default_registry, load_registry
from condense.runs.teachers import Taught, Teachers
from condense.runtime import SilentReporter, make_runtime
from condense.storage.locks import held

# Students see the pixels and hard labels; the teacher is as it was drawn.
SMALL: dict[str, Any] = {
    "ipc": 1,
    "epochs": 1,
    "scores": False,
    "device": "cpu",
    "protocol": "dc",
    "name": "small",
    "settings": {"teacher.epochs": 0, "teacher.model.width": 8, "protocol.model.width": 8},
}


@dataclass
class Begun:
    """A comparison of random images of three seeds, with its teacher, before any cell."""

    design: Design
    space: Workspace
    taught: Taught

    @property
    def out(self) -> Path:
        return self.space.out

    def done(self) -> int:
        return look_ahead(self.design, self.out, default_registry()).cells_done


@pytest.fixture
def begun(tmp_path: Path) -> Begun:
    registry = default_registry()
    design = design_comparison("compare", "random", registry, seeds=3, **SMALL)
    runtime = make_runtime("cpu", "auto")
    space = Workspace(tmp_path, registry, Machine(device="cpu", precision=runtime.precision))
    dataset = load_dataset(design.recipe, design.machine, registry)
    network = fresh_teacher(design.recipe, dataset, registry, runtime)
    taught = Teachers(space.teachers, registry).teach(network, design.recipe, dataset, runtime)
    return Begun(design, space, taught)


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_helper_leaves_alone_what_another_process_works_on(begun: Begun) -> None:
    order = Order(
        design=begun.design,
        out=begun.out,
        taught=begun.taught,
        plugins=Chosen(),
        threads=torch.get_num_threads(),
    )
    place = next(begun.design.places())
    with held(begun.space.cell(begun.design.runs[place].recipe).path):
        _help(order)
    assert begun.done() == 2
    _help(order)
    assert begun.done() == 3


def test_a_helper_loads_the_same_plugins(begun: Begun, tmp_path: Path) -> None:
    """The evaluator is in a file that this process does not know."""
    file = tmp_path / "measured.py"
    file.write_text(
        "from condense import Evaluator, EvaluatorSpec, StudentResult, hookimpl\n"
        "class Same(Evaluator):\n"
        "    def __init__(self, options): pass\n"
        "    def evaluate(self, request):\n"
        "        return StudentResult(student=request.student, accuracy=0.5, seconds=0.0, steps=1)\n"
        "@hookimpl\n"
        "def condense_evaluators():\n"
        "    return [EvaluatorSpec(name='same', summary='one half', build=Same)]\n"
    )
    registry = load_registry(files=[file])
    settings = {**SMALL["settings"], "evaluator": "same"}
    design = design_comparison("compare", "random", registry, seeds=2, **{**SMALL, "settings": settings})
    assert registry.chosen is not None
    order = Order(
        design=design,
        out=begun.out,
        taught=begun.taught,
        plugins=registry.chosen,
        threads=torch.get_num_threads(),
    )
    _help(order)
    outlook = look_ahead(design, begun.out, registry)
    assert (outlook.cells_done, outlook.students_done) == (outlook.cells, outlook.students)
    assert "--plugin measured.py" in design.command


@pytest.mark.slow
def test_a_process_does_all_of_it_while_nobody_else_does(begun: Begun) -> None:
    threads = torch.get_num_threads()
    notes = Notes()
    with helpers(1, begun.design, begun.out, begun.taught, default_registry(), notes):
        assert torch.get_num_threads() == max(1, threads // 2)
        until = time.monotonic() + 120
        while begun.done() < 3 and time.monotonic() < until:
            time.sleep(0.2)
        assert begun.done() == 3
    assert (notes.notes, torch.get_num_threads()) == ([], threads)


@pytest.mark.slow
def test_the_table_is_the_same_however_many_work_on_it(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of several threads differ in their last bits from those of one
    try:
        one, two = (
            condense.compare("random", seeds=4, out=tmp_path / str(jobs), jobs=jobs, **SMALL)
            for jobs in (1, 2)
        )
    finally:
        torch.set_num_threads(threads)
    assert [cell.accuracies for cell in one.outcome.cells] == [cell.accuracies for cell in two.outcome.cells]
    assert len(two.outcome.cells) == 4


@pytest.mark.slow
def test_a_helper_that_dies_is_told_of(begun: Begun, capfd: pytest.CaptureFixture[str]) -> None:
    notes = Notes()
    lost = replace(begun.design, machine=replace(begun.design.machine, device="cuda:99"))
    with helpers(1, lost, begun.out, begun.taught, default_registry(), notes) as processes:
        for process in processes:
            process.join()
    assert notes.notes == ["a helping process ended with status 1; its work was done here"]
    assert "device 'cuda:99' cannot be used" in capfd.readouterr().err


def test_without_helpers_nothing_is_started(begun: Begun) -> None:
    threads = torch.get_num_threads()
    with helpers(0, begun.design, begun.out, begun.taught, default_registry(), SilentReporter()):
        assert torch.get_num_threads() == threads
    assert begun.done() == 0


def test_where_several_cannot_work() -> None:
    by_hand = Registry({}, (), {})
    check_jobs(1, by_hand)
    check_jobs(2, default_registry())
    with pytest.raises(OptionError, match="jobs must be at least 1, not 0"):
        check_jobs(0, default_registry())
    with pytest.raises(OptionError, match="with a registry of your own"):
        check_jobs(2, by_hand)


def test_a_loaded_registry_says_what_it_was_loaded_without() -> None:
    loaded = load_registry(["wmdd"], {"CONDENSE_DISABLE_PLUGINS": "baselines"})
    assert loaded.chosen == Chosen(disabled=("baselines", "wmdd"))
    assert load_registry((), {}).chosen == Chosen()
