"""docs/cli.md is what tools/make_cli_reference.py makes of the commands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest
from condense_cli.main import COMMANDS, cli

from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "make_cli_reference.py"
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tool(tools: Callable[[str], ModuleType]) -> ModuleType:
    return tools("make_cli_reference")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_the_page_is_what_the_tool_makes(tool: ModuleType) -> None:
    assert tool.reference() == PAGE, "run: python tools/make_cli_reference.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_option_of_every_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert f"condense {name} " in PAGE
    for parameter in command.params:
        for flag in parameter.opts if isinstance(parameter, click.Option) else ():
            assert re.search(rf"^\| .*`{re.escape(flag)}[ `]", PAGE, re.MULTILINE), flag


def test_the_tool_imports_no_torch() -> None:
    program = (
        f"import runpy, sys; runpy.run_path({str(TOOL)!r})['reference'](); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize(
    "setting", [found for found in re.findall(r"`--set (\S+=\S+)`", PAGE) if found != "KEY=VALUE"]
)
def test_every_setting_that_is_shown_can_be_set(setting: str, registry: Registry) -> None:
    key, _, value = setting.partition("=")
    configure(registry, method="wmdd", settings=[(key, value)])


def test_the_groups_hold_the_settings_that_the_page_says(registry: Registry) -> None:
    groups = configure(registry, method="wmdd").to_dict()
    rows = {cells[0]: cells[1] for cells in re.findall(r"^\| (\w+) \| (.+?) \|", PAGE, re.MULTILINE)}
    assert set(groups) <= set(rows)
    for group, fields in groups.items():
        for name in re.findall(r"`(\w+)(?:\.\*)?`", rows[group]):
            assert name in fields
