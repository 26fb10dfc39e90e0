"""Plain data, such as that of a JSON file, as an object with types; what does not fit is told in words."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from condense.recipe.fields import shown, wanted

T = TypeVar("T")

# Stands for a value that msgspec's path does not lead to.
_UNKNOWN = object()
_OF_TYPE = ("Expected `", "Invalid enum value ", "Number out of range")


def converted(data: Any, kind: type[T], whole: str) -> T:
    """Return plain data as an object of a type.

    whole: what to call the data as a whole. Raises ValueError, which says at which dotted key something else must be.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_explained(str(error), data, kind, whole)) from error


def _explained(text: str, data: Any, kind: Any, whole: str) -> str:
    reason, _, path = text.partition(" - at `$")
    value, hint, key = data, kind, ""
    for part in re.findall(r"\w+|\[[^\]]*\]", path):
        value, hint = _step(value, hint, part)
        key += part if part.startswith("[") or not key else f".{part}"
    missing = re.fullmatch(r"Object missing required field `(\w+)`", reason)
    if missing:
        return f"{f'{key}.' if key else ''}{missing[1]} is missing"
    if hint is None or not reason.startswith(_OF_TYPE):
        return f"{key}: {reason}" if key else reason
    origin = typing.get_origin(hint) or hint
    by_name = isinstance(origin, type) and (
        dataclasses.is_dataclass(origin) or issubclass(origin, msgspec.Struct | Mapping)
    )
    came = "" if value is _UNKNOWN else f", not {shown(value)}"
    return f"{key or whole} must be {'a group of values by name' if by_name else wanted(hint)}{came}"


def _step(value: Any, hint: Any, part: str) -> tuple[Any, Any]:
    """Return what lies one step below a value, and its type; None if the type is not known."""
    if hint is not None and typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next((one for one in typing.get_args(hint) if one is not type(None)), None)
    if not part.startswith("["):
        below = value.get(part, _UNKNOWN) if isinstance(value, Mapping) else _UNKNOWN
        return below, typing.get_type_hints(hint).get(part) if isinstance(hint, type) else None
    parts = typing.get_args(hint)
    if part[1:-1].isdigit():
        place = int(part[1:-1])
        inside = isinstance(value, Sequence) and place < len(value)
        whole = parts[0] if parts[1:] in ((), (Ellipsis,)) else parts[place]
        return value[place] if inside else _UNKNOWN, whole
    return _UNKNOWN, parts[-1] if parts else None
