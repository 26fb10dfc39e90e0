"""Processes that help: they do what nobody else does, and the table is the same."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.api import design_compare
from condense.comparison.design import Design
from condense.comparison.processes import Order, _help, check_jobs, helpers
from condense.comparison.work import look_ahead
from condense.comparison.workspace import Shelf
from condense.data.load import load_dataset
from condense.engine.squeeze import fresh_teacher
from condense.errors import OptionError
from condense.recipe.registry import Registry, default_registry, load_registry
from condense.runs.teachers import Taught
from condense.runtime import SilentReporter, make_runtime
from condense.storage import locks
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
class Bench:
    """A comparison of random images of three seeds, with its teacher, before any cell."""

    design: Design
    out: Path
    taught: Taught

    def done(self) -> int:
        return look_ahead(self.design, self.out, default_registry()).cells_done


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    registry = default_registry()
    design = design_compare(registry, "random", seeds=3, **SMALL)
    runtime = make_runtime("cpu", "auto")
    shelf = Shelf(tmp_path, registry, runtime)
    config = shelf.run_config(design.shared)
    dataset = load_dataset(config, registry)
    network = fresh_teacher(config, dataset, registry, runtime)
    return Bench(design, tmp_path, shelf.teachers.teach(network, config, dataset, runtime))


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_helper_leaves_alone_what_another_process_works_on(bench: Bench) -> None:
    order = Order(
        design=bench.design, out=bench.out, taught=bench.taught, without=(), threads=torch.get_num_threads()
    )
    registry = default_registry()
    shelf = Shelf(bench.out, registry, make_runtime("cpu", "auto"))
    place = next(bench.design.places())
    with held(shelf.cell(shelf.run_config(bench.design.runs[place])).path):
        _help(order)
    assert bench.done() == 2
    _help(order)
    assert bench.done() == 3


@pytest.mark.slow
def test_a_process_does_all_of_it_while_nobody_else_does(bench: Bench) -> None:
    threads = torch.get_num_threads()
    notes = Notes()
    with helpers(1, bench.design, bench.out, bench.taught, default_registry(), notes):
        assert torch.get_num_threads() == max(1, threads // 2)
        until = time.monotonic() + 120
        while bench.done() < 3 and time.monotonic() < until:
            time.sleep(0.2)
        assert bench.done() == 3
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
def test_a_helper_that_dies_is_told_of(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    notes = Notes()
    lost = replace(bench.design, shared=replace(bench.design.shared, device="cuda:99"))
    with helpers(1, lost, bench.out, bench.taught, default_registry(), notes) as processes:
        for process in processes:
            process.join()
    assert notes.notes == ["a helping process ended with status 1; its work was done here"]
    assert "device 'cuda:99' cannot be used" in capfd.readouterr().err


def test_without_helpers_nothing_is_started(bench: Bench) -> None:
    threads = torch.get_num_threads()
    with helpers(0, bench.design, bench.out, bench.taught, default_registry(), SilentReporter()):
        assert torch.get_num_threads() == threads
    assert bench.done() == 0


def test_where_several_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand = Registry({}, (), {})
    check_jobs(1, by_hand)
    check_jobs(2, default_registry())
    with pytest.raises(OptionError, match="jobs must be at least 1, not 0"):
        check_jobs(0, default_registry())
    with pytest.raises(OptionError, match="with a registry of your own"):
        check_jobs(2, by_hand)
    monkeypatch.setattr(locks, "POSSIBLE", False)
    with pytest.raises(OptionError, match="no locks"):
        check_jobs(2, default_registry())


def test_a_loaded_registry_says_what_it_was_loaded_without() -> None:
    assert load_registry(["wmdd"], {"CONDENSE_DISABLE_PLUGINS": "baselines"}).disabled == (
        "baselines",
        "wmdd",
    )
    assert load_registry((), {}).disabled == ()
