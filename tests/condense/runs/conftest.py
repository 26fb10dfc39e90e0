"""Whole runs on a tiny dataset, told step by step and stopped wherever a test wants."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import condense
from condense.data.dataset import RealDataset
from condense.recipe.registry import Registry
from condense.runs import bench
from condense.runs.result import RunResult
from condense.runtime import SilentReporter

# 3 classes of 2 images, 2 classes to a chunk; every step of recover is logged.
SETTINGS: dict[str, Any] = {
    "recover.batch": 4,
    "log_every": 2,
    "teacher.measure_batch": 8,
    "protocol.epochs": 4,
    "protocol.batch_size": 4,
    "protocol.lr": 0.01,
}


PIECES = ("teacher.safetensors", "measurements.safetensors", "chunks", "students", "distilled")


class StopHereError(Exception):
    """What the test raises inside the reporter."""


class Diary(SilentReporter):
    """Writes down every event; raises at event number `stop`, or at the first that begins with `stop`."""

    def __init__(self, stop: int | str | None = None) -> None:
        self.events: list[str] = []
        self._stop = stop
        self._stage = ""

    def _add(self, event: str) -> None:
        self.events.append(event)
        number = len(self.events) - 1
        if number == self._stop or (isinstance(self._stop, str) and event.startswith(self._stop)):
            raise StopHereError

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._stage = f"{stage}: {detail}"
        self._add(f"start {self._stage}")

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        self._add(f"advance {self._stage}")

    def finish(self, summary: str = "") -> None:
        self._add(f"finish {self._stage}")

    def note(self, text: str) -> None:
        self._add(f"note {text}")


class Site:
    """A place where runs are made."""

    Stopped = StopHereError
    diary = Diary

    def __init__(self, out: Path, registry: Registry) -> None:
        self.out, self.registry = out, registry

    def run(self, method: str = "wmdd", **options: Any) -> RunResult:
        steps = {} if method == "random" else {"iterations": 3}
        # Settings that nothing reads are refused, and these methods measure nothing through a teacher.
        measures = method not in ("dc", "feature-regression", "idc", "ncfm", "random")
        usual = {key: value for key, value in SETTINGS.items() if measures or not key.startswith("teacher.")}
        settings = {**usual, **steps, **options.pop("settings", {})}
        chosen = {"dataset": "tiny", "ipc": 2, "students": 2, "device": "cpu", "out": self.out, **options}
        return condense.run(method=method, settings=settings, registry=self.registry, **chosen)

    @staticmethod
    def tree(folder: Path) -> dict[str, bytes]:
        """Every file below a folder."""
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }

    @staticmethod
    def pieces(path: Path) -> dict[str, tuple[int, bytes]]:
        """Every finished piece of work with its time stamp; made again, it would have another."""
        return {
            str(file.relative_to(path)): (file.stat().st_mtime_ns, file.read_bytes())
            for name in PIECES
            for file in [path / name, *(path / name).rglob("*")]
            if file.is_file()
        }

    @staticmethod
    def accuracies(result: RunResult) -> list[list[float]]:
        """Of every student, for the method and for the reference."""
        return [[found.accuracy for found in score.students] for score in result.scores]

    @staticmethod
    def metrics(path: Path, stage: str = "recover") -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that a stage wrote."""
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        return [line for line in lines if line["stage"] == stage]

    @staticmethod
    def saved(path: Path) -> dict[str, Any]:
        """What run.json holds."""
        found: dict[str, Any] = json.loads((path / "run.json").read_text())
        return found


@pytest.fixture(scope="session")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    other = make_dataset(counts=(5, 5), name="other")
    return make_registry(make_dataset(), make_dataset(name="colour", channels=3), other)


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    return Site(tmp_path / "runs", registry)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> tuple[RunResult, list[str]]:
    """A finished run of WMDD that tests may read but not change, and its events."""
    diary = Diary()
    site = Site(tmp_path_factory.mktemp("finished"), registry)
    return site.run(name="one", reporter=diary), diary.events


@pytest.fixture
def copy(site: Site, finished: tuple[RunResult, list[str]]) -> RunResult:
    """A copy of the finished run, "one" of the site, to go on with."""
    result, _ = finished
    shutil.copytree(result.path, site.out / "one")  # with its time stamps
    return replace(result, path=site.out / "one")


@pytest.fixture
def another_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher that is trained from now on comes out with other weights than the settings give."""
    squeeze = bench.squeeze

    def other(teacher: Any, *more: Any) -> float:
        reached = squeeze(teacher, *more)
        next(teacher.model.parameters()).data.mul_(2)
        return reached

    monkeypatch.setattr(bench, "squeeze", other)
