"""What does not fit a type is told with its key, what it must be, and what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pytest

from condense.recipe.fields import checked
from condense.recipe.misfits import converted


@checked
@dataclass(frozen=True, kw_only=True)
class Leaf:
    colour: Literal["green", "red"] = "green"
    sides: tuple[float, float] = (1.0, 2.0)
    names: tuple[str, ...] = ()
    age: int | None = None

    def __post_init__(self) -> None:
        if self.age is not None and self.age < 0:
            raise ValueError(f"age must be 0 or more, not {self.age}")


class Twig(msgspec.Struct):
    leaf: Leaf
    others: Mapping[str, Leaf] = field(default_factory=dict)
    row: list[Leaf] = field(default_factory=list)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the twig must be a group of values by name, not None"),
        ([1], "the twig must be a group of values by name, not [1]"),
        ({}, "leaf is missing"),
        ({"leaf": 3}, "leaf must be a group of values by name, not 3"),
        ({"leaf": {"colour": "blue"}}, "leaf.colour must be one of green, red, not 'blue'"),
        ({"leaf": {"sides": [1]}}, "leaf.sides must be two numbers, not [1]"),
        ({"leaf": {"sides": [1, "x"]}}, "leaf.sides[1] must be a number, not 'x'"),
        ({"leaf": {"names": "x"}}, "leaf.names must be a list of texts, not 'x'"),
        ({"leaf": {"names": ["x", 3]}}, "leaf.names[1] must be a text, not 3"),
        ({"leaf": {"age": True}}, "leaf.age must be a whole number or none, not True"),
        ({"leaf": {"age": -1}}, "leaf: age must be 0 or more, not -1"),
        ({"leaf": {}, "others": []}, "others must be a group of values by name, not []"),
        ({"leaf": {}, "others": {"x": {"age": "y"}}}, "others[...].age must be a whole number or none"),
        ({"leaf": {}, "row": 3}, "row must be a list of values, not 3"),
        ({"leaf": {}, "row": [{}, {"age": 0.5}]}, "row[1].age must be a whole number or none, not 0.5"),
    ],
)
def test_what_does_not_fit(data: Any, message: str) -> None:
    with pytest.raises(ValueError, match=" ") as caught:
        converted(data, Twig, "the twig")
    assert str(caught.value) == message


def test_what_fits() -> None:
    assert converted({"leaf": {"sides": [1, 2]}}, Twig, "it").leaf == Leaf(sides=(1.0, 2.0))
