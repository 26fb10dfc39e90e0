"""`condense sweep`: its rows, and that it is a comparison in everything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Invoke = Callable[..., Result]
WORDS = ["sweep", "--method", "wmdd", "--ipc", "1", "--seeds", "1"]


def plan(condense: Invoke, *words: str) -> dict[str, object]:
    result = condense(*WORDS, *words, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    data: dict[str, object] = json.loads(result.stdout)
    return data


def test_rows_are_the_values_and_the_reference(condense: Invoke) -> None:
    data = plan(condense, "--set", "regularizers.class-batchnorm=0.01,0.1", "--set", "iterations=5")
    rows = data["rows"]
    assert isinstance(rows, list)
    assert [row["label"] for row in rows] == [
        "wmdd class-batchnorm=0.01",
        "wmdd class-batchnorm=0.1",
        "random",
    ]
    assert rows[0]["settings"] == {"recover.iterations": 5, "regularizers.class-batchnorm": 0.01}
    assert data["reference"] == "random" and data["cells"] == {"all": 3, "done": 0}
    assert not Path("runs").exists()


def test_semicolons_separate_values_with_commas(condense: Invoke) -> None:
    data = plan(condense, "--set", "recover.augment.crop_scale=0.5,1;0.25,1", "--no-reference")
    rows = data["rows"]
    assert isinstance(rows, list)
    assert [row["settings"]["recover.augment.crop_scale"] for row in rows] == [[0.5, 1.0], [0.25, 1.0]]


def test_what_rows_share_cannot_be_swept(condense: Invoke) -> None:
    result = condense(*WORDS, "--set", "protocol.lr=0.1,0.2")
    assert result.exit_code == 1
    assert "the same protocol for every row" in result.stderr
