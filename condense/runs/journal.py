"""run.json: what a run is, how far it is, how long each stage took. Written after every stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from condense.errors import StorageError
from condense.recipe.config import RunConfig
from condense.recipe.settings import flatten
from condense.runtime import Reporter
from condense.storage.files import append_line, read_json, write_json
from condense.storage.run_folder import RunFolder

FORMAT = 2


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
                "settings": config.to_dict(),
                "versions": dict(versions),
                "host": dict(host),
                "stages": {},
                "outcome": None,
            },
        )
        journal.save()
        return journal

    @classmethod
    def resume(cls, path: Path, config: RunConfig, earlier: RunConfig, host: Mapping[str, str]) -> Journal:
        """Go on with an earlier run, whose images are kept whatever the evaluation and the device's index.

        earlier: what run.json holds, as a configuration. host: as of `begin`.
        Raises StorageError if the recipe or the kind of machine differs, naming what does.
        """
        folder = RunFolder.open(path)
        before, now = flatten(earlier.recipe), flatten(config.recipe)
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if changed:
            listed = ", ".join(f"{key} ({before.get(key)} then, {now.get(key)} now)" for key in changed[:5])
            raise StorageError(
                f"{path} was started with other settings: {listed}. Repeat them, or choose another --name"
            )
        data = read_json(folder.run_json)
        if data["host"]["computes"] != host["computes"]:
            raise StorageError(
                f"{path} was started on {data['host']['computes']}, and this is {host['computes']}, which gives other "
                "images; set --device and --precision, or choose another --name"
            )
        data["settings"] = config.to_dict()
        return cls(folder, data)

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
    """Return the settings in a run directory or a run.json, by group.

    Raises StorageError if there is none, or if another version of condense wrote it.
    """
    file = path / "run.json" if path.is_dir() else path
    data = read_json(file)
    version = data.get("format") if isinstance(data, dict) else None
    if isinstance(version, int) and version != FORMAT:
        raise StorageError(
            f"{file} has format {version}, and this version of condense reads format {FORMAT}; start the run again, "
            "or use the version of condense that wrote it"
        )
    if version is None or not isinstance(data.get("settings"), dict):
        raise StorageError(f"{file} is not the run.json of a run of condense")
    settings: dict[str, Any] = data["settings"]
    return settings


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
