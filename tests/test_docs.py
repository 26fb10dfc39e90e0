"""The reference at the end of docs/plugins.md is what tools/make_reference.py makes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import condense

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "tools" / "make_reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_lists_every_public_name(tool: ModuleType) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.partition(tool.BEGIN)[2], flags=re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(condense.__all__)
    assert tool.with_reference(PAGE) == PAGE, "run: python tools/make_reference.py"


def test_a_name_without_a_description_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"condense\.errors\._NO_SPACE has no description"):
        tool.description("_NO_SPACE", "condense.errors")


def test_a_page_without_the_markers_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="the page needs the lines"):
        tool.with_reference(PAGE.replace(tool.END, ""))
