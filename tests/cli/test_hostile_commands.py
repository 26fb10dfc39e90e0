"""Command lines beyond reason end in one sentence, at once; nothing steers the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from condense_cli.main import cli
from condense_cli.render.console import make_console, write, write_json
from rich.table import Table
from rich.text import Text

from condense.errors import StorageError

LONG = "a" * 300
MANY = ",".join(map(str, range(1, 1001)))
RUN = ("run", "--method", "random", "--dry-run")
EVIL = "a\x1b[31mb\x07c\0d\u202ee\x9bf"
SHOWN = r"a\x1b[31mb"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((*RUN, "--device", "meta"), "device must be auto, cpu"),
        ((*RUN, "--device", "hpu"), "device must be auto, cpu"),
        ((*RUN, "--device", "privateuseone"), "device must be auto, cpu"),
        ((*RUN, "--out", f"/tmp/{LONG}"), "is too long"),
        ((*RUN, "--out", "a/" * 3000), "is too long"),
        ((*RUN, "--name", LONG), "is too long"),
        ((*RUN, "--data-dir", LONG), "is too long"),
        ((*RUN, "--dataset", f"folder:{LONG}"), "is too long"),
        ((*RUN, "--dataset", "folder:a\0b"), "zero byte"),
        ((*RUN, "--teacher", LONG), "is too long"),
        ((*RUN, "--ipc", str(10**30)), "64 bits"),
        ((*RUN, "--ipc", str(10**9)), "images per class must lie between 1 and 1000000"),
        ((*RUN, "--seed", str(10**30)), "64 bits"),
        ((*RUN, "--students", str(10**9)), "students must lie between 0 and 10000"),
        ((*RUN, "--loaders", str(10**9)), "loaders must lie between 0 and 1024"),
        ((*RUN, "--set", "protocol.batch_size=1e30"), "64 bits"),
        ((*RUN, "--set", "teacher.model=convnet(width=100000)"), "width must lie between 1 and 16384"),
        ((*RUN, "--set", "teacher.model=convnet(width=1000000000)"), "width must lie between 1 and 16384"),
        (("run", "--from", LONG), "is too long"),
        ((*RUN, "--yes"), "--yes has no effect without --from"),
        (("evaluate", LONG), "is too long"),
        (("push", LONG, "a/b"), "is too long"),
        (("import", LONG, "--dataset", "fashion-mini", "--method", "x"), "is too long"),
        (("compare", "random", "--seeds", str(10**9), "--dry-run"), "seeds must lie between 1 and 1000"),
        (("compare", "random", "--ipc", MANY, "--dry-run"), "1000 images per class are more than 100"),
        (("compare", "random", "--epochs", MANY, "--dry-run"), "1000 numbers of epochs are more than 100"),
        (("compare", "random", "dm", "--seeds", "1000", "--ipc", "1,2,3,4,5,6", "--dry-run"), "12000 runs"),
        (("compare", "random", "--name", LONG, "--dry-run"), "is too long"),
        (
            ("sweep", "--method", "dm", "--set", f"iterations={MANY}", "--dry-run"),
            "1000 rows are more than 500",
        ),
        (
            ("sweep", "--method", "dm", "--set", f"iterations={MANY}", "--set", f"batch={MANY}", "--dry-run"),
            "1000000 rows are more than 500",
        ),
    ],
)
def test_a_command_beyond_reason_ends_in_a_sentence(
    words: Sequence[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, words)
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert text in " ".join(result.output.split())
    assert len(result.output) < 1500
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("on_terminal", [True, False])
def test_what_is_printed_steers_no_terminal(
    on_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = make_console()
    monkeypatch.setattr(type(console.file), "isatty", lambda self: on_terminal, raising=False)
    table = Table("name")
    table.add_row(Text(EVIL))
    write(console, EVIL, Text(EVIL), table)
    out = capsys.readouterr().out
    assert out.count(SHOWN) == 3
    assert not set(out) & set("\x07\0\u202e\x9b\x1b")


def test_json_steers_no_terminal_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    write_json({"name": EVIL, "fine": "日本 ✓"})
    out = capsys.readouterr().out
    assert not set(out) & set("\x07\0\u202e\x9b\x1b")
    assert "日本 ✓" in out
    assert json.loads(out)["name"] == EVIL


def test_errors_steer_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise StorageError(f"class {EVIL} has no images")

    monkeypatch.setattr("condense.api.evaluate", fails)
    result = CliRunner().invoke(cli, ["evaluate", "x"])
    assert SHOWN in result.output
    assert not set(result.output) & set("\x07\0\u202e\x9b\x1b")
    for words in ([f"--{EVIL}"], [EVIL], ["run", f"--{EVIL}"], ["evaluate", "x", "--students", EVIL]):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 2
        assert not set(result.output) & set("\x07\0\u202e\x9b\x1b"), words
