"""The group: quick help, commands found, errors turned into messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result
from condense_cli.listings import COMPONENT_KINDS
from condense_cli.main import COMMANDS, cli
from PIL import Image

from condense.recipe.registry import default_registry

Invoke = Callable[..., Result]

HEAVY = ("torch", "numpy", "ot", "timm", "torchvision", "PIL")
DRY_RUNS = [
    "run --method wmdd --dry-run",
    "run --method random --dataset imagenette --ipc 1 --dry-run --json",
    "compare wmdd random --ipc 1,10 --protocol fkd,dc --dry-run",
    "compare wmdd sre2l --dry-run --json",
    "sweep --method wmdd --set lr=0.1,0.2 --dry-run",
    "sweep --method wmdd --set regularizers.class-batchnorm=1,10 --validation 0.1 --dry-run --json",
    "ablate wmdd --dry-run",
    "ablate g-vbsm --dry-run --json",
]
IMPORT_CHECK = """
import sys
from condense_cli.main import cli
lines, heavy = sys.argv[1].split(";"), sys.argv[2].split(",")
for line in lines:
    status = 0
    try:
        status = cli.main(line.split(), prog_name="condense", standalone_mode=False)
    except SystemExit:
        pass
    assert not status, f"condense {line} ends with status {status}"
    loaded = [name for name in heavy if name in sys.modules]
    assert not loaded, f"condense {line} imports {loaded}"
"""


def imports_none(lines: list[str], heavy: tuple[str, ...]) -> None:
    """Run every line in one new process, and check after each that none of these modules is imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_CHECK, ";".join(lines), ",".join(heavy)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def listings_and_shows() -> list[str]:
    """Return every listing, and a line that shows each of the things listed."""
    kinds = {"methods": ["method"], "datasets": ["dataset"], "models": ["model"], "protocols": ["protocol"]}
    kinds["components"] = [*COMPONENT_KINDS]
    lines = ["plugins", "plugins --json", "methods show random --json", "components --json show barycenter"]
    for command, below in kinds.items():
        names = dict.fromkeys(offer.spec.name for kind in below for offer in default_registry().offers(kind))
        assert names
        lines += [command, f"{command} --json", *(f"{command} show {name}" for name in names)]
    return lines


def test_help_and_version_import_nothing_but_click() -> None:
    imports_none(["--help", "--version"], (*HEAVY, "rich", "pluggy", "msgspec", "condense.recipe.registry"))


def test_whatever_computes_nothing_imports_nothing_heavy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    helps = ["--help", *(f"{name} --help" for name in COMMANDS)]
    imports_none([*helps, *listings_and_shows(), *DRY_RUNS], HEAVY)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_an_earlier_run_imports_nothing_heavy(small_run: tuple[Path, Result]) -> None:
    path, _ = small_run
    imports_none([f"run --from {path} --dry-run", f"run --from {path} --resume --dry-run --json"], HEAVY)


def test_a_dry_run_on_own_images_looks_at_some_and_imports_no_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("L", (16, 16)).save(tmp_path / "pets" / name / "one.png")
    lines = [
        f"{what} --dataset folder:pets --ipc 1 --dry-run" for what in ("run --method wmdd", "compare wmdd")
    ]
    imports_none(lines, tuple(name for name in HEAVY if name != "PIL"))


@pytest.mark.parametrize("command", ["compare wmdd", "sweep --method wmdd --set lr=1,2", "ablate wmdd"])
@pytest.mark.parametrize("word", ["--floor", "--no-floor"])
def test_the_old_word_for_the_reference_is_refused(condense: Invoke, command: str, word: str) -> None:
    result = condense(*command.split(), word, "--dry-run")
    assert result.exit_code == 2
    assert "No such option" in result.stderr and word in result.stderr


def test_a_typing_error_is_answered_before_torch_is_loaded() -> None:
    check = IMPORT_CHECK.replace("except SystemExit", "except BaseException")
    words = "run --method wmd;run --method wmdd --set recover.iteratoins=3;run --method wmdd --dataset nope"
    subprocess.run([sys.executable, "-c", check, words, "torch"], check=True, capture_output=True)


def test_help_lists_every_command_with_its_line(condense: Invoke) -> None:
    result = condense("--help")
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    for name, line in COMMANDS.items():
        assert f"{name} {line}" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_the_commands_own(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None and command.name == name
    assert command.get_short_help_str(limit=200).rstrip(".") == COMMANDS[name].rstrip(".")


def test_help_fits_80_columns(condense: Invoke) -> None:
    for words in (["--help"], *([name, "--help"] for name in COMMANDS)):
        assert max(map(len, condense(*words).stdout.splitlines())) <= 80


def test_version(condense: Invoke) -> None:
    assert re.fullmatch(r"condense \d+\.\d+.*\n", condense("--version").stdout)


def test_an_unknown_command_is_named_with_the_nearest(condense: Invoke) -> None:
    result = condense("evalute")
    assert result.exit_code == 2
    assert "unknown command 'evalute'. Did you mean 'evaluate'?" in result.stderr


def test_an_error_is_one_line_on_stderr(condense: Invoke) -> None:
    result = condense("methods", "show", "wmd")
    assert result.exit_code == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    said, _, listed = line.partition(" There are: ")
    assert said == "Error: unknown method 'wmd'. Did you mean 'wmdd'?"
    assert {"random", "wmdd"} <= set(listed.split(", "))


@pytest.mark.parametrize("by_option", [True, False])
def test_the_traceback_shows_on_request(
    condense: Invoke, monkeypatch: pytest.MonkeyPatch, by_option: bool
) -> None:
    if not by_option:
        monkeypatch.setenv("CONDENSE_TRACEBACK", "1")
    result = condense(*(["--traceback"] if by_option else []), "methods", "show", "wmd")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "Error: unknown method 'wmd'" in result.stderr


def test_a_disabled_plugin_offers_nothing(condense: Invoke) -> None:
    assert "wmdd" not in condense("--disable-plugin", "wmdd", "methods").stdout
    result = condense("--disable-plugin", "wmdd", "run", "--method", "wmdd")
    assert result.exit_code == 1
    assert "unknown method 'wmdd'" in result.stderr
    assert "wmdd (disabled)" in result.stderr


def test_a_disabled_plugin_that_is_not_there_is_an_error(condense: Invoke) -> None:
    result = condense("--disable-plugin", "wmd", "methods")
    assert result.exit_code == 1
    assert "unknown plugin 'wmd'. Did you mean 'wmdd'?" in result.stderr


def test_the_module_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "condense_cli", "methods"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "wmdd" in done.stdout


def test_an_output_that_knows_few_letters_does_not_end_a_command() -> None:
    code = "import sys; sys.argv[1:] = ['--version']; from condense_cli.main import main\ntry: main()\n"
    code += "except SystemExit: pass\nsys.stdout.write('±')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0
    assert done.stdout.endswith(b"?")
