"""How runs are: done, running, interrupted or failed, also those that were killed and could not say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from condense.errors import StorageError
from condense.storage.files import read_json
from condense.storage.run_folder import RunFolder, RunStatus

Unreadable = Literal["unreadable"]


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How one run is.

    path: its directory.
    status: as its lock and its run.json tell; "unreadable" for a run.json that is none. failure: why the run failed, or
        why its run.json cannot be read; "" otherwise.
    stage: the last one that ended, was interrupted or failed; "" before the first. One that runs, or was killed, is not
        known.
    seconds: spent in all stages.
    """

    path: Path
    status: RunStatus | Unreadable
    failure: str
    stage: str
    seconds: float


def states_below(folder: Path) -> list[RunState]:
    """Return how the run in a folder is, or else those in the folders below it, in the order of their names.

    The folders of a comparison's cells, two below, count too. Raises StorageError if there is no such folder, or if the
    run.json in the folder itself cannot be read.
    """
    if not folder.is_dir():
        raise StorageError(f"there is no folder {folder}")
    if (folder / "run.json").is_file():
        return [_state(folder)]
    found = {file.parent for pattern in ("*/run.json", "*/*/run.json") for file in folder.glob(pattern)}
    return [_state_or_reason(path) for path in sorted(found)]


class _Stage(msgspec.Struct):
    seconds: float


class _Written(msgspec.Struct):
    """The part of run.json that is shown."""

    failure: str = ""
    stages: dict[str, _Stage] = {}


def _state_or_reason(path: Path) -> RunState:
    try:
        return _state(path)
    except StorageError as error:
        return RunState(path=path, status="unreadable", failure=str(error), stage="", seconds=0.0)


def _state(path: Path) -> RunState:
    run = RunFolder(path)
    try:
        written = msgspec.convert(read_json(run.run_json), _Written)
    except msgspec.ValidationError as error:
        raise StorageError(f"{run.run_json} is not the run.json of a run of condense: {error}") from error
    status = run.status()
    return RunState(
        path=path,
        status=status,
        failure=written.failure if status == "failed" else "",
        stage=list(written.stages)[-1] if written.stages else "",
        seconds=sum(stage.seconds for stage in written.stages.values()),
    )
