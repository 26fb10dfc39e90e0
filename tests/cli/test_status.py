"""`condense status`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from condense.storage.files import write_json

Invoke = Callable[..., Result]


def test_a_run_that_was_killed_was_interrupted(condense: Invoke, tmp_path: Path) -> None:
    stages = {"squeeze": {"seconds": 65.0}}
    write_json(
        tmp_path / "runs" / "killed" / "run.json", {"status": "running", "stages": stages, "failure": ""}
    )
    write_json(
        tmp_path / "runs" / "full" / "run.json", {"status": "failed", "stages": {}, "failure": "no space"}
    )
    lines = condense("status").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["RUN", "STATE", "LAST", "STAGE", "TIME"],
        ["runs/full", "failed:", "no", "space", "0.00", "s"],
        ["runs/killed", "interrupted", "squeeze", "1", "min", "05", "s"],
    ]
    data = json.loads(condense("status", "runs/killed", "--json").stdout)
    assert data == {
        "runs": [
            {
                "path": "runs/killed",
                "status": "interrupted",
                "stage": "squeeze",
                "seconds": 65.0,
                "failure": "",
            }
        ]
    }


def test_a_folder_without_runs_is_told(condense: Invoke, tmp_path: Path) -> None:
    result = condense("status")
    assert (result.exit_code, result.stderr) == (1, "Error: there is no folder runs\n")
    (tmp_path / "runs").mkdir()
    assert condense("status").stderr == "Error: there is no run in runs\n"
