"""docs/tutorial.md: its blocks are a plugin, which is found, whose own tests pass, and whose commands can be typed.

docs/publishing.md: its package is that of the tutorial.
"""

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

from condense.recipe.hooks import API_VERSION
from condense.recipe.registry import DISABLE_VARIABLE, default_registry
from condense.testing import CHECKS, check_plugin

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
# (language, file or "", code) of every fenced block of the page.
BLOCKS = re.findall(r'^```(\w+)(?: title="(.+?)")?\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL)
WRITTEN = {"condense_spread/plugin.py", "condense_spread/losses.py", "tests/test_plugin.py"}
NEW = "plugins new spread"
CHECK = "plugins check spread"  # which is one of the tests of the page
COMMANDS = re.findall(r"^    condense (.+)$", re.sub(r"\\\n\s*", "", PAGE), flags=re.MULTILINE)
PACKAGE = "condense_spread"
CONTRACT = "test_the_plugin_keeps_the_contract"
LONG = {"import", "repeats", "resume"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, as a reader has it after copying every block, and as if it were installed."""
    out = tmp_path_factory.mktemp("tutorial")
    done = CliRunner().invoke(cli, [*NEW.split(), "--out", str(out)])
    assert done.exit_code == 0, done.output
    made = out / "condense-spread"
    for title in WRITTEN:
        code = "\n\n".join(code for _, other, code in BLOCKS if other == title)
        (made / title).write_text(code, encoding="utf-8")
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


def test_every_block_is_part_of_the_package(folder: Path) -> None:
    """Those without a title are an excerpt of what `condense plugins new` makes."""
    assert {title for _, title, _ in BLOCKS if title} == WRITTEN
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    assert [code for _, title, code in BLOCKS if not title and code not in project] == []


def test_the_tests_of_the_page_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run in this process, which has imported torch already."""
    monkeypatch.chdir(folder)
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode", "importlib"]
    assert pytest.main([*options, "-k", f"not {CONTRACT}", "tests"]) is pytest.ExitCode.OK


def test_the_plugin_of_the_page_keeps_the_contract() -> None:
    """The last test of the page, without the checks that take seconds; tests/condense/testing has those."""
    assert f'def {CONTRACT}() -> None:\n    check_plugin("spread")\n' in PAGE
    assert set(CHECKS) >= LONG
    check_plugin("spread", checks=set(CHECKS) - LONG)


def test_the_scan_finds_commands() -> None:
    assert {NEW, CHECK} <= set(COMMANDS)
    assert {command.split()[0] for command in COMMANDS} >= {"run", "compare", "ablate", "plugins"}


@pytest.mark.parametrize(
    "command", [command for command in dict.fromkeys(COMMANDS) if command not in (NEW, CHECK)]
)
def test_a_command_of_the_page_works(command: str) -> None:
    """Those that compute are tried with --dry-run."""
    words = shlex.split(command, comments=True)
    dry = ["--dry-run"] if words[0] in ("run", "compare", "ablate") and "--dry-run" not in words else []
    done = CliRunner(env={"COLUMNS": "200"}).invoke(cli, [*words, *dry])
    assert done.exit_code == 0, done.output
    assert "spread" in done.output


def test_the_package_to_be_published_is_that_of_the_tutorial(folder: Path) -> None:
    page = (ROOT / "docs" / "publishing.md").read_text(encoding="utf-8")
    [shown] = [
        tomllib.loads(code) for code in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]
    made = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    for key in ("name", "version", "entry-points", "requires-python"):
        assert shown["project"][key] == made["project"][key]
    assert shown["build-system"] == made["build-system"]
    assert shown["tool"]["hatch"] == made["tool"]["hatch"]
    assert f"`condense_api = {API_VERSION}`" in page
    known = pytest.importorskip(
        "trove_classifiers", reason="needs the list of classifiers, which hatchling brings"
    )
    assert set(shown["project"]["classifiers"]) <= known.classifiers
