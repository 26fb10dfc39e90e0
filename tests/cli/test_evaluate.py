"""`condense evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Invoke = Callable[..., Result]

QUICK = ("--students", "1", "--set", "protocol.epochs=1", "--device", "cpu")


def test_it_trains_on_a_run_by_another_protocol(condense: Invoke, small_run: tuple[Path, Result]) -> None:
    path, _ = small_run
    narrow = ("--set", "protocol.model.width=8")
    result = condense("evaluate", str(path), "--protocol", "dc", *narrow, *QUICK)
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "protocol dc: 1 epoch, 1 step, hard labels" in rows
    assert any(row.startswith("convnet(width=8,norm=instance) ") for row in rows)


def test_several_networks_are_the_rows_of_one_table(condense: Invoke, small_run: tuple[Path, Result]) -> None:
    path, _ = small_run
    words = ("--student", "convnet(width=4)", "--student", "convnet(width=8),convnet(width=4,depth=2)")
    result = condense("evaluate", str(path), *words, *QUICK, "--students", "2", "--out", "tables")
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.stdout.splitlines() if line.endswith("2 students")]
    assert rows == ["convnet(width=4)", "convnet(width=8)", "convnet(width=4,depth=2)"]
    [table] = Path("tables").glob("*.md")
    assert all(f"| {row} |" in table.read_text() for row in rows)
    assert str(table) in result.stdout


def test_json_is_alone_on_stdout(condense: Invoke, small_run: tuple[Path, Result]) -> None:
    path, _ = small_run
    result = condense("evaluate", str(path / "distilled"), *QUICK, "--seed", "5", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert (data["method"], data["seed"], data["ipc"]) == ("wmdd", 5, 1)
    assert data["protocol"]["name"] == "fkd"
    assert "evaluate: done in" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "fdk"], "Did you mean 'fkd'?"),
        (["--set", "protocol.epoch=1"], "Did you mean 'protocol.epochs'?"),
        (["--device", "abacus"], "device must be auto, cpu, cuda, cuda:N or mps, not 'abacus'"),
        (["--epochs", "-1"], "protocol.epochs"),
        (["--teacher", "absent.safetensors"], "absent.safetensors"),
        (["--student", "convnet,"], "has an empty place"),
        (["--student", "convnet(width=64"], "is not a network; write NAME"),
        (["--student", "resnet"], "Did you mean 'resnet18'?"),
    ],
)
def test_errors(condense: Invoke, small_run: tuple[Path, Result], words: list[str], message: str) -> None:
    result = condense("evaluate", str(small_run[0]), *words)
    assert result.exit_code == 1, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_epochs_are_said_once(condense: Invoke, small_run: tuple[Path, Result]) -> None:
    result = condense("evaluate", str(small_run[0]), "--epochs", "2", "--set", "protocol.epochs=3")
    assert result.exit_code == 2
    assert "--epochs and --set protocol.epochs say the same thing" in result.stderr


def test_epochs_are_short_for_a_setting(condense: Invoke, small_run: tuple[Path, Result]) -> None:
    words = ("--students", "1", "--device", "cpu", "--epochs", "2", "--json")
    result = condense("evaluate", str(small_run[0]), *words)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["protocol"]["epochs"] == 2


def test_what_is_no_artifact(condense: Invoke, tmp_path: Path) -> None:
    result = condense("evaluate", str(tmp_path))
    assert result.exit_code == 1
    assert str(tmp_path) in result.stderr
