"""The names that `import condense` offers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import condense


def test_every_public_name_is_there_and_said_to_type_checkers() -> None:
    for name in condense.__all__:
        assert getattr(condense, name) is not None
    tree = ast.parse(Path(condense.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    told = {
        alias.name for node in ast.walk(guarded) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert told == set(condense.__all__) <= set(dir(condense))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        condense.distil  # noqa: B018
