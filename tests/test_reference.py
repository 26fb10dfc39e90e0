"""docs/reference.md is what tools/make_reference.py makes, and says of fields what the dataclasses say."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import condense
import condense.testing
from condense.recipe.fields import fit, hints_of, readable

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SETTINGS = ("Augment", "Training", "Recover", "Teacher", "Pool", "Selection", "Student", "Protocol", "Method")


@pytest.fixture(scope="module")
def tool(tools: Callable[[str], ModuleType]) -> ModuleType:
    return tools("make_reference")


def rows_of(name: str) -> dict[str, list[str]]:
    """The cells of each row of a section by the name of the field: default, values, meaning."""
    section = re.split(r"^##", PAGE.partition(f"\n### `{name}`\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, flags=re.MULTILINE)
    return {field: re.split(r" (?<!\\)\| ", cells) for field, cells in rows}


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    assert tool.reference() == PAGE, "run: python tools/make_reference.py"


def test_every_public_name_has_a_row(tool: ModuleType) -> None:
    public, _, for_tests = PAGE.partition("\n## Public names\n")[2].partition("\n## Names for tests\n")
    for table, package in ((public, condense), (for_tests, condense.testing)):
        names = re.findall(r"^\| \[?`(\w+)`(?:\]\(#\w+\))? \| .+ \|$", table, flags=re.MULTILINE)
        assert sorted(names) == sorted(package.__all__)


@pytest.mark.parametrize("name", SETTINGS)
def test_defaults_read_as_settings_are_the_defaults(name: str) -> None:
    kind: Any = getattr(condense, name)
    rows = rows_of(name)
    above = rows_of("Training") if kind.__base__ is condense.Training else {}
    assert rows.keys() | above.keys() == {field.name for field in dataclasses.fields(kind)}
    for field in dataclasses.fields(kind):
        default, _, _ = rows.get(field.name) or above[field.name]
        hint = hints_of(kind)[field.name]
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            assert default == "required"
        elif default != "nothing" and readable(hint):
            assert fit(default.strip("`"), hint, read=True) == field.default


@pytest.mark.parametrize("name", SETTINGS)
def test_the_choices_of_a_field_are_listed(name: str) -> None:
    hints = hints_of(getattr(condense, name))
    literals = {field: hint for field, hint in hints.items() if typing.get_origin(hint) is typing.Literal}
    rows = {**rows_of("Training"), **rows_of(name)}
    for field, hint in literals.items():
        assert re.findall(r"`(\S+)`", rows[field][1]) == list(typing.get_args(hint))
    if name == "Augment":
        assert set(condense.SIAMESE_OPERATIONS) <= set(re.findall(r"\w+", rows["siamese"][2]))


def test_a_field_without_a_word_is_refused(tool: ModuleType) -> None:
    silent = dataclasses.make_dataclass("Silent", [("quiet", int, 0), ("told", int, 1)])
    silent.__doc__ = "A thing.\n\ntold: what is said."
    with pytest.raises(ValueError, match=r"the docstring of Silent says nothing of quiet$"):
        tool.fields_of(silent)


def test_a_name_without_a_description_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"condense\.errors\._NO_SPACE has no description"):
        tool.description("_NO_SPACE", "condense.errors")


def test_docstrings_are_paragraphs_and_entries(tools: Callable[[str], ModuleType]) -> None:
    read = tools("docstrings")
    text = """Do it.

    Note: a sentence with a colon, which is
    no entry.

    one: the first, with `condense.Use`
        on two lines.
    two, three: the others.
    """
    one = read.Entry(names=("one",), text="the first, with `condense.Use` on two lines.")
    others = read.Entry(names=("two", "three"), text="the others.")
    assert list(read.blocks(text)) == [
        "Do it.",
        "Note: a sentence with a colon, which is\nno entry.",
        (one, others),
    ]
    assert read.told(text) == {"one": one, "two": others, "three": others}
    assert read.markdown(text, {"Use": "condense.Use"}).splitlines()[-2:] == [
        "- `one`: the first, with [`Use`][condense.Use] on two lines.",
        "- `two`, `three`: the others.",
    ]
