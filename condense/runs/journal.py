"""run.json: the settings, the progress and the stage times of a run, written after every stage."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from condense.errors import (
    CondenseError,
    PluginError,
    StorageError,
    UnknownNameError,
    cannot_read,
    checked_path,
)
from condense.recipe.config import RunConfig, by_content
from condense.recipe.registry import Registry
from condense.recipe.resolve import config_from_dict
from condense.recipe.settings import flatten
from condense.storage.files import read_json, write_json
from condense.storage.run_folder import RunFolder
from condense.storage.seal import is_sealed, seal_of

FORMAT = 2
_NONE: Mapping[str, str] = {}


class Journal:
    """The state of a run in its folder. A resumed run adds to the seconds that it has used already."""

    def __init__(self, folder: RunFolder, data: dict[str, Any]) -> None:
        self.folder = folder
        self._data = data
        self._begun = folder.run_json.exists()

    @classmethod
    def begin(
        cls,
        path: Path,
        config: RunConfig,
        versions: Mapping[str, str],
        host: Mapping[str, str],
        sources: Mapping[str, str] = _NONE,
        plugin_files: Mapping[str, str] = _NONE,
    ) -> Journal:
        """Start a run in a new folder. Raises StorageError if the folder exists.

        sources: the hash of the source of each plugin that takes part, by the plugin's name.
        plugin_files: the path of each of them that is a file of its own.
        """
        folder = RunFolder.create(path)
        journal = cls(
            folder,
            {
                "format": FORMAT,
                "name": path.name,
                "status": "running",
                "settings": config.to_dict(),
                "checkpoint": by_content(config.recipe.teacher).checkpoint,
                "versions": dict(versions),
                "sources": dict(sources),
                "plugin_files": dict(plugin_files),
                "host": dict(host),
                "stages": {},
                "failure": "",
                "outcome": None,
            },
        )
        journal.save()
        return journal

    @classmethod
    def resume(
        cls,
        path: Path,
        config: RunConfig,
        earlier: RunConfig,
        host: Mapping[str, str],
        sources: Mapping[str, str] = _NONE,
        plugin_files: Mapping[str, str] = _NONE,
    ) -> Journal:
        """Continue an earlier run. It keeps its images even if the evaluation or the device's index differs.

        earlier: the configuration in run.json.
        host, sources, plugin_files: as in `begin`.

        Raises StorageError, which names the differences, if the recipe, the kind of machine or a plugin's source
        differs.
        """
        folder = RunFolder.open(path)
        data = folder.read()
        check_same_recipe(path, config, earlier, data)
        if data["host"]["computes"] != host["computes"]:
            raise other_machine(path, data["host"]["computes"], host["computes"])
        before, now = _compiled(data["host"]), _compiled(host)
        if before != now:
            raise StorageError(
                f"{path} was started with {_listed(before)} compiled, and here {_listed(now)} would be, which gives "
                "other images; set --compile, or choose another --name"
            )
        data["host"]["compiled"] = host.get("compiled", "")
        check_same_sources(path, data.get("sources", {}), sources)
        data |= {"settings": config.to_dict(), "status": "running", "failure": "", "outcome": None}
        data["sources"] = {**data.get("sources", {}), **sources}
        data["plugin_files"] = {**data.get("plugin_files", {}), **plugin_files}
        return cls(folder, data)

    @property
    def facts(self) -> dict[str, Any]:
        """What each stage found, by the stage's name."""
        stages: dict[str, Any] = self._data["stages"]
        return stages

    @property
    def host(self) -> dict[str, str]:
        """What kind of computer the run is made on; `condense.runs.provenance.host` gives it."""
        known: dict[str, str] = self._data["host"]
        return known

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds that each stage has used so far."""
        return {stage: round(float(facts["seconds"]), 3) for stage, facts in self.facts.items()}

    def add(self, stage: str, seconds: float, found: Mapping[str, Any]) -> None:
        """Add the seconds of a piece to those of its stage, keep what it found, and save."""
        facts = self.facts.setdefault(stage, {"seconds": 0.0})
        facts["seconds"] += seconds
        facts.update(found)
        self.save()

    def finish(self, outcome: Mapping[str, Any]) -> None:
        """Mark the run as done and save its outcome."""
        self._data["status"] = "done"
        self._data["outcome"] = dict(outcome)
        self.save()

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Mark the run as interrupted or failed, with the reason, if the block ends with an error.

        A process that is killed says nothing, so its run keeps the status "running"; `RunFolder.state` tells.
        """
        try:
            yield
        except BaseException as error:
            failed = isinstance(error, Exception)
            self._data["status"] = "failed" if failed else "interrupted"
            self._data["failure"] = _reason(error) if failed else ""
            with suppress(
                StorageError
            ):  # Without space or permission, the first error is the one to be told.
                self.save()
            raise

    def save(self) -> None:
        """Write run.json. Raises StorageError if it was there and has gone, because the pieces have gone with it."""
        if self._begun:
            self.folder.check_there()
        self._begun = True
        self._data["seal"] = seal_of(self._data["settings"])
        write_json(self.folder.run_json, self._data)


def _compiled(host: Mapping[str, str]) -> set[str]:
    """Return the stages that are compiled and decide images; `condense.runs.provenance.host` tells all."""
    return {"recover", "select"} & set(host.get("compiled", "").split(", "))


def _listed(stages: set[str]) -> str:
    return " and ".join(sorted(stages)) or "nothing"


def _reason(error: BaseException) -> str:
    """Return why a run failed, in a line."""
    if isinstance(error, CondenseError):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]


def check_same_recipe(path: Path, config: RunConfig, earlier: RunConfig, data: Mapping[str, Any]) -> None:
    """Raise StorageError, which names the differences, unless a run in `path` can go on with a configuration.

    earlier: the configuration in its run.json. data: what that file holds.
    """
    before, now = flatten(earlier.recipe), flatten(config.recipe)
    before["teacher.check"] = now["teacher.check"]  # no result depends on it
    if before["teacher.seed"] != now["teacher.seed"]:
        before["teacher.seed"], now["teacher.seed"] = (
            earlier.recipe.teacher_seed,
            config.recipe.teacher_seed,
        )
    # A checkpoint is known by its content: the file may have moved, or be gone since the run copied it.
    known = by_content(config.recipe.teacher).checkpoint
    if known != now["teacher.checkpoint"] or before["teacher.checkpoint"] != now["teacher.checkpoint"]:
        before["teacher.checkpoint"], now["teacher.checkpoint"] = data["checkpoint"], known
    orders = [list(recipe.losses) for recipe in (earlier.recipe, config.recipe)]
    if sorted(orders[0]) == sorted(orders[1]):
        before["order of losses"], now["order of losses"] = map(", ".join, orders)
    changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if changed:
        listed = ", ".join(f"{key} ({before.get(key)} then, {now.get(key)} now)" for key in changed[:5])
        raise StorageError(
            f"{path} was started with other settings: {listed}. Repeat them, or choose another --name"
        )


def check_same_sources(path: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise StorageError for a plugin whose source has changed since the run began.

    before, now: hashes by the plugin's name. A plugin that is not in both is not compared.
    """
    changed = [name for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        raise StorageError(
            f"the source of plugin {changed[0]!r} has changed since {path} was started, so that its results would be "
            "mixed with old ones; choose another --name (with --teachers DIR, runs share the teacher)"
        )


def other_machine(path: Path, before: str, now: str) -> StorageError:
    """Return the error for a run that another kind of machine started. before, now: as `Runtime.describe` says it."""
    return StorageError(
        f"{path} was started on {before}, and this is {now}, which gives other images; set --device and --precision, "
        "or choose another --name"
    )


def earlier_config(path: Path, registry: Registry) -> RunConfig:
    """Return the configuration in a run directory or a run.json.

    Raises StorageError as `saved_config` does, and PluginError as `check_plugin_files` does.
    """
    saved = saved_config(path)
    check_plugin_files(path, registry)
    return config_from_dict(saved, registry)


def check_plugin_files(path: Path, registry: Registry) -> None:
    """Raise PluginError, which says what to add, for a plugin of one file that an earlier run had and that is not here.

    path: the run directory or its run.json. If there is none, there is nothing to check.
    """
    file = _run_json(path)
    data = read_json(file) if file.is_file() else {}
    files = data.get("plugin_files") if isinstance(data, dict) else None
    here = {status.name for status in registry.plugins if not status.problem}
    for name, source in files.items() if isinstance(files, dict) else ():
        if name not in here:
            again = f"--plugin {shlex.quote(str(source))}"
            raise PluginError(f"{path} was made with the plugin {source}, which is not loaded; add {again}")


@contextmanager
def naming_plugin_files(path: Path | None, registry: Registry) -> Iterator[None]:
    """Answer an unknown name in the block as `check_plugin_files` does, if that is why.

    path: as there; None if there is no earlier run.
    """
    try:
        yield
    except UnknownNameError:
        if path is not None:
            check_plugin_files(path, registry)
        raise


def _run_json(path: Path) -> Path:
    try:
        return path / "run.json" if checked_path(path).is_dir() else path
    except OSError as error:
        raise cannot_read(path, error) from error


def saved_config(path: Path) -> dict[str, Any]:
    """Return the settings in a run directory or a run.json, by group.

    Raises StorageError if there are none, or if a version of condense with another format wrote them.
    """
    file = _run_json(path)
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


def is_own(path: Path) -> bool:
    """Return whether this user made a run, so that its settings are the user's own. path: as for `saved_config`."""
    data = read_json(_run_json(path))
    return isinstance(data, dict) and is_sealed(data)
