"""How runs are, whatever their run.json says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condense.errors import StorageError
from condense.runs.status import RunState, states_below
from condense.storage.files import write_json
from condense.storage.locks import held


def written(path: Path, status: str, **more: Any) -> Path:
    write_json(path / "run.json", {"status": status, "failure": "", "stages": {}, **more})
    return path


def test_runs_and_cells_below_a_folder(tmp_path: Path) -> None:
    """A run that says "running" and has no lock was killed."""
    stages = {"squeeze": {"seconds": 2.5, "accuracy": 0.5}, "measure": {"seconds": 1.0}}
    written(tmp_path / "done", "done", stages=stages)
    written(tmp_path / "killed", "running", stages={"squeeze": stages["squeeze"]})
    written(tmp_path / "ended", "interrupted")
    written(tmp_path / "full", "failed", failure="no space left")
    cell = written(tmp_path / "cells" / "one", "running")
    (tmp_path / "compare").mkdir()
    with held(cell):
        found = states_below(tmp_path)
    assert [(state.path.relative_to(tmp_path).as_posix(), state.status) for state in found] == [
        ("cells/one", "running"),
        ("done", "done"),
        ("ended", "interrupted"),
        ("full", "failed"),
        ("killed", "interrupted"),
    ]
    assert [state.failure for state in found] == ["", "", "", "no space left", ""]
    assert [(state.stage, state.seconds) for state in found if state.stage] == [
        ("measure", 3.5),
        ("squeeze", 2.5),
    ]
    assert [state.status for state in states_below(cell)] == ["interrupted"]


def test_one_run(tmp_path: Path) -> None:
    path = written(tmp_path / "one", "done")
    assert states_below(path) == [RunState(path=path, status="done", failure="", stage="", seconds=0.0)]


@pytest.mark.parametrize("content", [[], 3, {"stages": {"squeeze": {}}}, {"failure": 7}])
def test_what_is_no_run_is_told(content: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", content)
    with pytest.raises(StorageError, match=r"run\.json is not the run\.json of a run of condense"):
        states_below(tmp_path)
    with pytest.raises(StorageError, match="there is no folder"):
        states_below(tmp_path / "gone")


def test_a_damaged_run_hides_no_other(tmp_path: Path) -> None:
    written(tmp_path / "done", "done")
    write_json(tmp_path / "wrong" / "run.json", [])
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"status": "do')
    found = {state.path.name: state for state in states_below(tmp_path)}
    assert {name: state.status for name, state in found.items()} == {
        "done": "done",
        "torn": "unreadable",
        "wrong": "unreadable",
    }
    assert "is not the run.json of a run of condense" in found["wrong"].failure
    assert str(tmp_path / "torn" / "run.json") in found["torn"].failure
