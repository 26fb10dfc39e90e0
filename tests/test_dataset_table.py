"""The table in docs/datasets.md is what tools/make_dataset_table.py makes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from condense.data.catalog import DATASETS
from condense.recipe.registry import load_registry

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "make_dataset_table.py"
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tool(tools: Callable[[str], ModuleType]) -> ModuleType:
    return tools("make_dataset_table")


def test_the_table_has_every_dataset(tool: ModuleType) -> None:
    names = re.findall(r"^\| `([\w-]+)(?::[A-Z]+)?` \|", PAGE.partition(tool.BEGIN)[2], flags=re.MULTILINE)
    assert names == [spec.name for spec in DATASETS]
    assert tool.with_table(PAGE) == PAGE, "run: python tools/make_dataset_table.py"


def test_the_methods_and_datasets_with_published_settings_exist(tool: ModuleType) -> None:
    registry = load_registry(environment={})
    datasets = {spec.name for spec in DATASETS}
    for method, names in tool.PUBLISHED.items():
        registry.method(method)
        assert set(names) <= datasets


def test_where_authors_published_accuracies_they_published_settings(tool: ModuleType) -> None:
    for offer in load_registry(environment={}).offers("method"):
        own = {one.dataset for one in offer.spec.published if not one.second_hand}
        assert own <= set(tool.PUBLISHED.get(offer.spec.name, ())), offer.spec.name


def test_a_page_without_the_markers_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="the page needs the lines"):
        tool.with_table(PAGE.replace(tool.END, ""))


def test_the_tool_imports_no_torch() -> None:
    program = (
        f"import runpy, sys; runpy.run_path({str(TOOL)!r})['table'](); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'PIL')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
