"""run.json: what a run is, how far it is, how long each stage took. Written after every stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from condense.errors import StorageError
from condense.recipe.config import RunConfig
from condense.recipe.settings import flatten
from condense.runtime import Reporter
from condense.storage.files import append_line, read_json, write_json
from condense.storage.run_folder import RunFolder

FORMAT = 1


class Journal:
    """The state of a run in its folder. A resumed run goes on with the seconds it has used already."""

    def __init__(self, folder: RunFolder, data: dict[str, Any]) -> None:
        self.folder = folder
        self._data = data

    @classmethod
    def begin(
        cls, path: Path, config: RunConfig, versions: Mapping[str, str], host: Mapping[str, str]
    ) -> Journal:
        """Start a run in a folder that does not exist yet. Raises StorageError where it does."""
        folder = RunFolder.create(path)
        journal = cls(
            folder,
            {
                "format": FORMAT,
                "name": path.name,
                "status": "running",
                "config": config.to_dict(),
                "versions": dict(versions),
                "host": dict(host),
                "stages": {},
                "outcome": None,
            },
        )
        journal.save()
        return journal

    @classmethod
    def resume(cls, path: Path, config: RunConfig, earlier: RunConfig) -> Journal:
        """Go on with an earlier run. Raises StorageError where its settings were others, naming them.

        earlier: what run.json holds, as a configuration. The dataset may have moved to another data_dir.
        """
        folder = RunFolder.open(path)
        before, now = flatten(replace(earlier, data_dir=config.data_dir)), flatten(config)
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if changed:
            listed = ", ".join(f"{key} ({before.get(key)} then, {now.get(key)} now)" for key in changed[:5])
            raise StorageError(
                f"{path} was started with other settings: {listed}. Repeat them, or choose another --name"
            )
        return cls(folder, read_json(folder.run_json))

    @property
    def facts(self) -> dict[str, Any]:
        """What stages found, by stage."""
        stages: dict[str, Any] = self._data["stages"]
        return stages

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds used by each stage so far."""
        return {stage: round(float(facts["seconds"]), 3) for stage, facts in self.facts.items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        """Time a stage and keep what it found: put findings into the dictionary that is yielded."""
        facts = self.facts.setdefault(name, {"seconds": 0.0})
        began = time.perf_counter()
        try:
            yield facts
        finally:
            facts["seconds"] += time.perf_counter() - began
            self.save()

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """The run is done."""
        self._data["status"] = "done"
        self._data["outcome"] = dict(outcome)
        self.save()

    def save(self) -> None:
        """Write run.json."""
        write_json(self.folder.run_json, self._data)


def saved_config(path: Path) -> dict[str, Any]:
    """The configuration in a run directory or a run.json. Raises StorageError where there is none."""
    file = path / "run.json" if path.is_dir() else path
    data = read_json(file)
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("config"), dict):
        raise StorageError(f"{file} is not the run.json of a run of this version of condense")
    config: dict[str, Any] = data["config"]
    return config


class MetricsReporter:
    """Passes everything on, and appends the values that come with finished units (epochs) to a file.

    The recover stage writes its own lines, which say chunk and iteration.
    """

    def __init__(self, told: Reporter, path: Path) -> None:
        self._told, self._path = told, path
        self._work: dict[str, str | int] = {}
        self._done = 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """A piece of work begins."""
        self._work, self._done = {"stage": stage, "detail": detail, "unit": unit}, 0
        self._told.start(stage, detail, total, unit)

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """`count` units are done."""
        self._done += count
        if values and count:
            append_line(self._path, {**self._work, "done": self._done, **values})
        self._told.advance(count, values)

    def finish(self, summary: str = "") -> None:
        """The piece of work is done."""
        self._told.finish(summary)

    def note(self, text: str) -> None:
        """Something the user should know."""
        self._told.note(text)
