"""Refusing values that are none of those that a field lists."""

from __future__ import annotations

import functools
import typing
from typing import Any


def check_literals(owner: Any) -> None:
    """Raise ValueError if a field of the dataclass `owner`, typed as a Literal, has another value.

    Call it in `__post_init__`: type hints alone refuse nothing when an object is made in code.
    """
    kind: object = type(owner)
    for name, allowed in _literals(kind).items():
        if getattr(owner, name) not in allowed:
            listed = ", ".join(map(str, allowed))
            raise ValueError(f"{name} must be one of {listed}, not {getattr(owner, name)!r}")


@functools.cache
def _literals(kind: object) -> dict[str, tuple[Any, ...]]:
    hints = typing.get_type_hints(kind)
    return {
        name: typing.get_args(hint)
        for name, hint in hints.items()
        if typing.get_origin(hint) is typing.Literal
    }
