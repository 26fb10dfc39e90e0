"""Calls into plugins: whom an error blames, and which errors stay what they are."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from condense.errors import DataError, PluginError
from condense.recipe.plugin_code import plugin_code, titled
from condense.rng import generator


def broken() -> None:
    """A hook that fails."""
    raise KeyError("centres")


def test_an_error_names_component_plugin_hook_and_place() -> None:
    title = titled("regularizer", "smooth", "mine")
    with pytest.raises(PluginError) as caught, plugin_code(title, "restore"):
        broken()
    line = broken.__code__.co_firstlineno + 2
    assert str(caught.value) == (
        f"regularizer 'smooth' of plugin 'mine' failed in restore (test_plugin_code.py, line {line}): "
        "KeyError: 'centres'"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_error_without_words() -> None:
    with pytest.raises(PluginError, match=r"^loss 'x' failed in loss: AssertionError$"):  # noqa: SIM117
        with plugin_code(titled("loss", "x", ""), "loss"):
            raise AssertionError


@pytest.mark.parametrize(
    "error", [DataError("too few"), MemoryError(), torch.OutOfMemoryError("full"), KeyboardInterrupt()]
)
def test_errors_on_purpose_of_memory_and_of_the_user_stay(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, plugin_code("x", "loss"):
        raise error
    assert caught.value is error


def test_draws_from_global_generators_depend_on_the_seed_alone() -> None:
    def draw(seed: int) -> list[float]:
        with plugin_code("x", "fit", generator(seed, "piece")):
            return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    first = draw(0)
    before = random.random(), float(np.random.rand()), float(torch.rand(()))
    assert draw(0) == first
    assert all(one != other for one, other in zip(draw(1), first, strict=True))
    assert before != (random.random(), float(np.random.rand()), float(torch.rand(())))


def test_global_generators_are_as_before_also_after_an_error() -> None:
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), float(np.random.rand())
    random.seed(3)
    np.random.seed(3)
    with pytest.raises(PluginError), plugin_code("x", "fit", generator(0)):
        random.random()
        np.random.rand()
        broken()
    assert (random.random(), float(np.random.rand())) == expected
