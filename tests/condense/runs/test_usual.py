"""Who does the work if nobody says it: processes where they pay, this process everywhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from condense.engine.plan import make_plan
from condense.engine.select import long_choice_note
from condense.engine.work import Counts
from condense.executors.local import Local
from condense.executors.processes import Processes
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.runs import usual
from condense.runs.usual import divided_backward, usual_executor
from condense.runtime import Runtime, SilentReporter

SMALL = Counts(classes=10, train=5000, test=1000, side=28, channels=1, in_memory=True)
CPU = Runtime(device=torch.device("cpu"), bf16=False, reporter=SilentReporter())
MUCH = 10**6


@pytest.fixture(scope="module")
def installed() -> Registry:
    return load_registry()


@pytest.fixture(autouse=True)
def computer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the cores, the threads of torch and the memory in GiB that the computer is taken to have."""

    def has(cores: int = 8, threads: int = 8, memory: float = 16) -> None:
        monkeypatch.setattr(usual, "available_cores", lambda: cores)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(usual, "physical_memory", lambda: int(memory * 2**30))

    has()
    return has


def test_many_students_on_a_cpu_have_processes(installed: Registry, computer: Any) -> None:
    chosen = usual_executor(MUCH, SMALL, CPU, installed)
    assert isinstance(chosen, Processes)
    assert chosen.options.workers == 4
    computer(cores=2, threads=2)
    chosen = usual_executor(MUCH, SMALL, CPU, installed)
    assert isinstance(chosen, Processes) and chosen.options.workers == 2


def test_one_core_or_one_thread_or_little_memory_has_this_process(installed: Registry, computer: Any) -> None:
    for less in ({"cores": 1}, {"threads": 1}, {"memory": 0.05}):
        computer(**less)
        assert isinstance(usual_executor(MUCH, SMALL, CPU, installed), Local)


def test_little_work_images_in_files_and_other_devices_have_this_process(installed: Registry) -> None:
    assert isinstance(usual_executor(1000, SMALL, CPU, installed), Local)
    assert isinstance(usual_executor(MUCH, replace(SMALL, in_memory=False), CPU, installed), Local)
    for device in ("cuda", "mps"):
        other = replace(CPU, device=torch.device(device))
        assert isinstance(usual_executor(MUCH, SMALL, other, installed), Local)


def test_a_registry_that_other_processes_cannot_load_has_this_process(
    make_registry: Any, make_dataset: Any
) -> None:
    assert isinstance(usual_executor(MUCH, SMALL, CPU, make_registry(make_dataset((10, 11, 12)))), Local)


def test_the_work_of_students_by_hand(installed: Registry) -> None:
    """Ten images of each of ten classes: 3 students of 100 epochs on them and on as many random ones; and judges."""
    config = configure(
        installed,
        method="wmdd",
        dataset="fashion-mini",
        ipc=10,
        protocol="fkd",
        settings={"select.students": 0},
    )
    assert divided_backward(make_plan(config, installed), SMALL) == 2 * 3 * 100 * 100
    judged = configure(
        installed,
        method="wmdd",
        dataset="fashion-mini",
        ipc=10,
        protocol="fkd",
        settings={"preset": "small-grey"},
    )
    candidates, judges, epochs = 4, 2, 100
    more = candidates * judges * epochs * 100
    assert divided_backward(make_plan(judged, installed), SMALL) == 2 * 3 * 100 * 100 + more


def test_chunks_are_divided_where_there_are_several(installed: Registry) -> None:
    """7 steps on 100 images, through the teacher: in one chunk, or in 5 of two classes each."""

    def work(batch: int) -> int:
        settings = {"recover.batch": batch, "select.students": 0, "recover.iterations": 7}
        config = configure(
            installed, method="wmdd", dataset="fashion-mini", ipc=10, students=0, settings=settings
        )
        return divided_backward(make_plan(config, installed), SMALL)

    assert (work(100), work(20)) == (0, 7 * 100)


@pytest.mark.parametrize(("epochs", "told"), [(300, 0), (20, 1)])
def test_students_that_choose_are_named_where_they_take_most_of_the_time(
    installed: Registry, epochs: int, told: int
) -> None:
    """4 candidates, 2 judges of 100 epochs: 80,000 images. Testing: 2 rows of 3 students, 180,000 or 12,000."""
    settings = {"preset": "small-grey", "protocol.epochs": epochs}
    config = configure(
        installed, method="wmdd", dataset="fashion-mini", ipc=10, protocol="fkd", settings=settings
    )
    notes = long_choice_note(make_plan(config, installed), SMALL)
    assert len(notes) == told
    for note in notes:
        assert "learn 7 times as long" in note and "--set select.students=0" in note
