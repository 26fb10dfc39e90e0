"""The contract: hooks take nothing and are spelt alike."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Sequence

import pytest

import condense
from condense.recipe import hooks as hookspecs
from condense.recipe import specs
from condense.recipe.method import Method
from condense.recipe.protocol import Protocol
from condense.recipe.registry import KINDS

NAMES = {**vars(specs), "Method": Method, "Protocol": Protocol, "Sequence": Sequence}


@pytest.mark.parametrize("hook_name", KINDS)
def test_a_hook_takes_nothing_and_gives_a_sequence_of_what_the_loader_expects(hook_name: str) -> None:
    hook = getattr(hookspecs, hook_name)
    assert hook_name.startswith("condense_")
    assert not inspect.signature(hook).parameters
    answer = typing.get_type_hints(hook, localns=NAMES)["return"]
    assert typing.get_origin(answer) is Sequence
    assert typing.get_args(answer) == (KINDS[hook_name][1],)


def test_the_marker_is_the_one_that_plugins_import() -> None:
    assert condense.hookimpl is hookspecs.hookimpl
    assert hookspecs.hookimpl.project_name == hookspecs.hookspec.project_name == "condense"
