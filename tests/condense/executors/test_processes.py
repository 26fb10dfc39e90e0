"""Several processes: they leave the same bytes as one, also if one of them is killed."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import condense
from condense.runtime import SilentReporter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]
RESULTS = ("teacher.safetensors", "measurements.safetensors", "metrics.jsonl", "chunks", "distilled", "pool")
SETTINGS: dict[str, Any] = {
    "dataset.size": 8,
    "teacher.model": "convnet",
    "teacher.model.width": 4,
    "teacher.epochs": 0,
    "protocol.epochs": 2,
    "protocol.labels": "soft",
    "recover.iterations": 6,
    "recover.batch": 1,
    "log_every": 2,
    "select.students": 0,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of several threads differ in their last bits from those of one
    yield
    torch.set_num_threads(threads)


class Killer(SilentReporter):
    """Kills one of the workers at the first unit of a stage."""

    def __init__(self, stage: str) -> None:
        self._stage, self._now, self.notes, self.killed = stage, "", list[str](), 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._now = stage

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        if self._now == self._stage and not self.killed:
            self.killed = multiprocessing.active_children()[0].pid or 0
            os.kill(self.killed, signal.SIGKILL)

    def note(self, text: str) -> None:
        self.notes.append(text)


def results(path: Path) -> dict[str, Any]:
    """What a run left, without what a clock has said. Metrics are in the order in which pieces ended."""
    files = [file for name in RESULTS for file in [path / name, *(path / name).rglob("*")] if file.is_file()]
    found: dict[str, Any] = {str(file.relative_to(path)): file.read_bytes() for file in files}
    return {**found, "metrics.jsonl": sorted(found.get("metrics.jsonl", b"").splitlines())}


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """A folder of 3 classes of 6 grey images of 8x8 pixels, which every process finds by its name."""
    draws = torch.Generator().manual_seed(0)
    for split, label, number in itertools.product(("train", "val"), "abc", range(6)):
        folder = tmp_path / "images" / split / label
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (8, 8), generator=draws, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{number}.png")
    return f"folder:{tmp_path / 'images'}"


@pytest.mark.thorough
def test_a_run_of_two_processes_of_which_one_is_killed_leaves_the_bytes_of_one(
    tmp_path: Path, dataset: str
) -> None:
    def run(executor: str, reporter: Any = None) -> Any:
        return condense.run(
            method="wmdd",
            dataset=dataset,
            ipc=1,
            students=2,
            device="cpu",
            out=tmp_path,
            name=executor[:5],
            executor=executor,
            settings=SETTINGS,
            reporter=reporter,
        )

    one = run("local")
    killer = Killer("recover")
    two = run("processes(workers=2,threads=1)", killer)
    assert results(two.path) == results(one.path)
    assert [score.to_dict()["accuracies"] for score in two.scores] == [
        score.to_dict()["accuracies"] for score in one.scores
    ]
    told = [note for note in killer.notes if "done again" in note]
    assert told and all("a worker process ended with status -9 while it did chunk" in note for note in told)
    assert not multiprocessing.active_children()
    assert not (two.path / "metrics").exists()


@pytest.mark.parametrize("together", [pytest.param(1, marks=pytest.mark.thorough), 2])
def test_the_table_is_the_same_however_many_work_on_it(tmp_path: Path, dataset: str, together: int) -> None:
    def compare(jobs: int, reporter: Any = None) -> Any:
        small = {"ipc": 1, "epochs": 1, "scores": False, "device": "cpu", "protocol": "dc", "name": "small"}
        settings = {
            "teacher.epochs": 0,
            "teacher.model": "convnet",
            "protocol.model.width": 4,
            "dataset.size": 8,
            "student.together": together,  # two of the three seeds in a stack, or none
        }
        small["dataset"] = dataset
        return condense.compare(
            "random",
            seeds=3,
            out=tmp_path / str(jobs),
            jobs=jobs,
            settings=settings,
            reporter=reporter,
            **small,
        )

    one, killer = compare(1), Killer("evaluate")
    two = compare(2, killer)
    assert killer.killed
    assert [cell.accuracies for cell in one.outcome.cells] == [cell.accuracies for cell in two.outcome.cells]
    assert len(two.outcome.cells) == 3
    cells = {cell.name: results(cell) for cell in (tmp_path / "1" / "cells").iterdir() if cell.is_dir()}
    assert cells == {
        cell.name: results(cell) for cell in (tmp_path / "2" / "cells").iterdir() if cell.is_dir()
    }
