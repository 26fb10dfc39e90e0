"""The names that `import condense` offers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import condense

STUB = Path(condense.__file__).with_suffix(".pyi")


def names_of_the_stub() -> list[str]:
    return [
        alias.asname or alias.name
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def test_every_public_name_is_in_the_stub_and_can_be_imported() -> None:
    names = names_of_the_stub()
    assert len(names) == len(set(names))
    assert sorted(names) == sorted(condense.__all__)
    assert set(names) <= set(dir(condense))
    for name in names:
        assert getattr(condense, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="distil"):
        condense.distil  # noqa: B018
