"""docs/tutorial.md: its blocks are a plugin, which is found, whose own tests pass, and whose commands can be typed."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from condense_cli.main import cli

from condense.recipe.registry import DISABLE_VARIABLE, default_registry

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
# (language, file or "", code) of every fenced block of the page.
BLOCKS = re.findall(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line.strip() for line in re.findall(r"^    condense (.+)$", PAGE, flags=re.MULTILINE)]
PACKAGE = "condense_spread"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, as a reader has it after copying every block, installed in a folder."""
    made = tmp_path_factory.mktemp("tutorial") / "condense-spread"
    for _, title, code in BLOCKS:
        (made / title).parent.mkdir(parents=True, exist_ok=True)
        with (made / title).open("a", encoding="utf-8") as file:
            file.write(code)
    (made / PACKAGE / "__init__.py").touch()
    project = tomllib.loads((made / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = made / f"{PACKAGE}-{project['version']}.dist-info"
    installed.mkdir()
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (installed / "METADATA").write_text(about)
    points = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["condense"].items())
    (installed / "entry_points.txt").write_text(f"[condense]\n{points}")
    return made


@pytest.fixture(autouse=True)
def _installed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    default_registry.cache_clear()
    yield
    default_registry.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_every_block_says_which_file_it_belongs_to() -> None:
    assert [(language, code) for language, title, code in BLOCKS if not title] == []
    assert {title for _, title, _ in BLOCKS if title.startswith(PACKAGE)} == {
        f"{PACKAGE}/{name}.py" for name in ("plugin", "target", "regularizer")
    }


def test_the_tests_of_the_page_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in this process, which has imported torch already."""
    monkeypatch.chdir(folder)
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode", "importlib"]
    assert pytest.main([*options, "tests"]) is pytest.ExitCode.OK


def test_the_scan_finds_commands() -> None:
    assert {command.split()[0] for command in COMMANDS} >= {"run", "compare", "ablate", "plugins"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_works(command: str) -> None:
    """Those that compute are tried with --dry-run."""
    words = shlex.split(command, comments=True)
    dry = ["--dry-run"] if words[0] in ("run", "compare", "ablate") and "--dry-run" not in words else []
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli, [*words, *dry])
    assert done.exit_code == 0, done.output
    assert "spread" in done.output
