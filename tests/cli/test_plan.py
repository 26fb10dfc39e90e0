"""`condense plan`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]

RATES = ("--throughput", "forward=1000,backward=500")
SMALL = ("--method", "wmdd", "--set", "teacher.model.width=8", "--iterations", "20", *RATES)


def test_it_prints_stages_totals_and_advice(condense: Invoke) -> None:
    result = condense("plan", *SMALL, "--budget-time", "1min", "--budget-memory", "1MB")
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "dataset 10 classes, 5,000 + 1,000 images, 1x28x28" in rows
    # 20 steps on 100 images in both directions, beside the choice of the first images.
    assert any(row.startswith("recover 30 ") for row in rows)
    assert "To fit the budget" in rows
    assert list(Path().iterdir()) == []


def test_json_is_alone_on_stdout(condense: Invoke) -> None:
    result = condense("plan", *SMALL, "--json")
    data = json.loads(result.stdout)
    assert [stage["stage"] for stage in data["stages"]] == [
        "squeeze",
        "measure",
        "recover",
        "relabel",
        "evaluate",
    ]
    assert data["seconds"] == pytest.approx(sum(stage["seconds"] for stage in data["stages"]))
    assert data["seconds_from"] == "given throughputs"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 2, "--method is missing"),
        (("--method", "wmd"), 1, "Did you mean 'wmdd'?"),
        (("--method", "wmdd", "--throughput", "9"), 1, "write forward=N,backward=N"),
        (("--method", "wmdd", "--budget-time", "9"), 1, "write for example 2h"),
        (("--method", "wmdd", "--budget-memory", "lots"), 1, "write for example 8GB"),
        (("--method", "wmdd", "--iterations", "9", "--set", "iterations=8"), 2, "say the same thing"),
        (("--method", "wmdd", "--dataset", "folder:absent", *RATES), 1, "absent"),
        # As a run refuses it.
        (
            ("--method", "dm", "--set", "teacher.epochs=3", *RATES),
            1,
            "teacher.epochs has no effect: no component of 'dm' and no label needs a teacher",
        ),
        (("--method", "dm", "--teacher", "absent.pt", *RATES), 1, "--teacher absent.pt has no effect"),
    ],
)
def test_errors(condense: Invoke, words: tuple[str, ...], status: int, message: str) -> None:
    result = condense("plan", *words)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
