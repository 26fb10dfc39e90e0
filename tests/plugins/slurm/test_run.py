"""A run by jobs on this computer, one of which is killed, leaves the bytes of a run in one process."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
pytest.importorskip("condense_slurm", reason="this installation is older than the plugin")

import condense
from condense.runtime import SilentReporter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the test finds processes in /proc"),
]
RESULTS = ("teacher.safetensors", "measurements.safetensors", "chunks", "distilled")
SETTINGS: dict[str, Any] = {
    "dataset.size": 8,
    "teacher.model": "convnet",
    "teacher.model.width": 4,
    "teacher.epochs": 0,
    "protocol.epochs": 2,
    "protocol.labels": "soft",
    "recover.iterations": 30,
    "recover.batch": 1,
    "log_every": 1,
    "select.students": 0,
}


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


class Killer(SilentReporter):
    """Kills the worker of a job, which is a child of the job's own process, at the first step of recovery."""

    def __init__(self) -> None:
        self._now, self.killed, self.notes = "", 0, list[str]()

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._now = stage

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        if self._now == "recover" and not self.killed:
            jobs = [job for job in children(os.getpid()) if "submitit" in _command(job)]
            self.killed = next(worker for job in jobs for worker in children(job))
            os.kill(self.killed, signal.SIGKILL)

    def note(self, text: str) -> None:
        self.notes.append(text)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def left_by(result: Any) -> tuple[dict[str, bytes], list[Any]]:
    """The files of a run, and the accuracies of its students."""
    files = [file for name in RESULTS for file in [result.path / name, *(result.path / name).rglob("*")]]
    found = {str(file.relative_to(result.path)): file.read_bytes() for file in files if file.is_file()}
    return found, [score.to_dict()["accuracies"] for score in result.scores]


@pytest.mark.thorough
def test_a_killed_job_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = torch.Generator().manual_seed(0)
    for split, label, number in itertools.product(("train", "val"), "abc", range(6)):
        file = tmp_path / "images" / split / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (8, 8), generator=draws, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(file)
    monkeypatch.chdir(tmp_path)

    def run(name: str, executor: str, reporter: Any = None) -> Any:
        return condense.run(
            method="wmdd",
            dataset=f"folder:{tmp_path / 'images'}",
            ipc=1,
            students=2,
            device="cpu",
            out=tmp_path,
            name=name,
            executor=executor,
            settings=SETTINGS,
            reporter=reporter,
        )

    killer, others = Killer(), set(children(os.getpid()))  # such as what another test has not waited for
    two = run("two", "submitit(cluster=local,workers=2,threads=1)", killer)
    one = run("one", "local")
    assert left_by(two) == left_by(one)
    told = [note for note in killer.notes if "done again" in note]
    assert told and all("its log is " in note and " while it did chunk" in note for note in told)
    assert set(children(os.getpid())) <= others
    assert not Path(f"/proc/{killer.killed}").exists()
