"""What a field of settings may hold, read from its annotation: checked when an object is made, and read from text.

The types of settings are bool, int, float, str, Literal, tuples and mappings of these, other settings, and unions.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections import abc
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "none",
    type: "a class",
    abc.Callable: "a function",
}
_SCALARS = (bool, int, float, str, type(None))
_SEVERAL: Mapping[Any, str] = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
_COUNTS = ("no", "one", "two", "three", "four", "five", "six")
# The largest whole number that tensors, files and generators take.
_LARGEST = 2**63 - 1
# The longest representation of a wrong value in a message.
_LONGEST = 80


def checked(kind: type[T]) -> type[T]:
    """Return a dataclass whose objects are checked against the annotations of its fields when they are made.

    A decorator, to be written above `dataclass`. The check comes before `__post_init__`, so that this one meets right
    types only. It raises ValueError for a value of another type, for one that a Literal does not list, and for a
    number that is not finite. An int for a float becomes a float, and a list for a tuple becomes a tuple.
    """
    after: Callable[..., None] | None = getattr(kind, "__post_init__", None)
    if after is None:
        make = kind.__init__

        @functools.wraps(make)
        def made(self: Any, *arguments: Any, **fields: Any) -> None:
            make(self, *arguments, **fields)
            check_fields(self)

        kind.__init__ = made  # type: ignore[method-assign]
        # For subclasses, and for readers of JSON, which call it alone.
        kind.__post_init__ = check_fields  # type: ignore[attr-defined]
    elif after is not check_fields and not hasattr(after, "checks_fields"):

        @functools.wraps(after)
        def checks(self: Any, *arguments: Any) -> None:
            check_fields(self)
            after(self, *arguments)

        checks.checks_fields = True  # type: ignore[attr-defined]
        kind.__post_init__ = checks  # type: ignore[attr-defined]
    return kind


def check_fields(owner: Any) -> None:
    """Raise ValueError unless every field of a dataclass's object has a value that its annotation allows."""
    kind: object = type(owner)
    for name, hint in hints_of(kind).items():
        value = getattr(owner, name)
        try:
            fitting = fit(value, hint)
        except ValueError as error:
            raise ValueError(f"{_whose(owner)}{name} {error}, not {shown(value)}") from None
        if fitting is not value:
            object.__setattr__(owner, name, fitting)


def check_least(owner: Any, **least: float) -> None:
    """Raise ValueError for a field of a dataclass's object that is below its minimum. least: by the field's name."""
    for name, limit in least.items():
        value = getattr(owner, name)
        if value < limit:
            raise ValueError(f"{name} must be at least {limit}, not {value}")


@functools.cache
def hints_of(kind: Hashable) -> Mapping[str, Any]:
    """Return the type of each field of a dataclass. Raises NameError for a type that is nowhere to be found."""
    fields: Any = kind
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(fields)}


def hint_of(kind: type, name: str) -> Any:
    """Return the type of one field of a dataclass, whatever the others are. Raises NameError as `hints_of` does."""
    owner = next(base for base in kind.__mro__ if name in vars(base).get("__annotations__", ()))
    alone = type(owner.__name__, (), {"__annotations__": {name: owner.__annotations__[name]}})
    alone.__module__ = owner.__module__
    return typing.get_type_hints(alone, localns=dict(vars(owner)))[name]


def fit(value: Any, hint: Any, *, read: bool = False) -> Any:
    """Return a value as its type wants it. Raises ValueError, "must be ...", if it does not fit.

    read: whether texts are read, as they come from a command line: "true", "0.1", "0.08,1", "none".
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _fit_union(value, parts, hint, read)
    if read and isinstance(value, str) and hint is not str:
        value = _read(value, hint)
    if origin is typing.Literal:
        return _choice(value, parts, hint)
    if origin is tuple:
        return _fit_tuple(value, parts, hint, read)
    if hint in _SCALARS:
        return _fit_scalar(value, hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _fit_mapping(value, parts, hint)
    if isinstance(origin or hint, type):
        return _known(isinstance(value, origin or hint), value, hint)
    return value


def wanted(hint: Any) -> str:
    """Return a type as words for people: "a whole number", "one of adam, sgd", "two numbers"."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, parts))}" if len(parts) > 1 else str(parts[0])
    if origin in (typing.Union, types.UnionType):
        *first, last = map(wanted, parts)
        return f"{', '.join(first)} or {last}"
    if origin in (tuple, list):
        if origin is list or parts[-1:] == (Ellipsis,):
            return f"a list of {_several(parts[0])}"
        number = _COUNTS[len(parts)] if len(parts) < len(_COUNTS) else str(len(parts))
        return f"{number} {_several(parts[0])}" if len(set(parts)) == 1 else f"{number} values"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping from {_several(parts[0])} to {_several(parts[1])}"
    if (origin or hint) in _WORDS:
        return _WORDS[origin or hint]
    return f"a {_public(hint)}" if _public(hint) else f"of the type {getattr(hint, '__name__', hint)}"


def shown(value: Any) -> str:
    """Return a wrong value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def readable(hint: Any) -> bool:
    """Return whether a value of this type can be set from text."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return all(readable(part) for part in parts)
    if origin is tuple:
        items = [part for part in parts if part is not Ellipsis]
        return bool(items) and all(readable(item) and typing.get_origin(item) is not tuple for item in items)
    if origin is typing.Literal:
        return all(isinstance(part, str | bool | int) for part in parts)
    return hint in _SCALARS


def _fit_union(value: Any, parts: tuple[Any, ...], hint: Any, read: bool) -> Any:
    if read and isinstance(value, str) and value.lower() == "none" and type(None) in parts:
        return None
    # A text fits everything, so that it is tried last.
    for part in sorted(parts, key=lambda part: part is str):
        try:
            return fit(value, part, read=read)
        except ValueError:
            continue
    raise _misfit(hint)


def _fit_scalar(value: Any, hint: Any) -> Any:
    exact = type(value) is hint
    if hint is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise ValueError("must be a finite number")
        return value if exact else number
    if hint is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        whole = int(value)
        if not -_LARGEST <= whole <= _LARGEST:
            raise ValueError(f"must be a whole number of at most 64 bits, {_LARGEST}")
        return value if exact else whole
    if hint is str and isinstance(value, str):
        return value if exact else str(value)
    return _known(isinstance(value, hint) and hint in (bool, type(None)), value, hint)


def _choice(value: Any, choices: tuple[Any, ...], hint: Any) -> Any:
    for choice in choices:
        # True is an int as well, and equals 1.
        same_kind = isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool)
        if same_kind and value == choice:
            return choice
    raise _misfit(hint)


def _fit_tuple(value: Any, parts: tuple[Any, ...], hint: Any, read: bool) -> Any:
    if not isinstance(value, list | tuple):
        raise _misfit(hint)
    if parts[-1:] == (Ellipsis,):
        items = parts[:1] * len(value)
    elif len(value) == len(parts):
        items = parts
    else:
        raise _misfit(hint)
    try:
        found = tuple(fit(one, item, read=read) for one, item in zip(value, items, strict=True))
    except ValueError as error:
        finite = ", all finite" if "finite" in str(error) else ""
        raise ValueError(f"must be {wanted(hint)}{finite}") from None
    same = isinstance(value, tuple) and all(one is other for one, other in zip(value, found, strict=True))
    return value if same else found


def _fit_mapping(value: Any, parts: tuple[Any, ...], hint: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _misfit(hint)
    try:
        for key, below in value.items():
            fit(key, parts[0])
            fit(below, parts[1])
    except ValueError:
        raise _misfit(hint) from None
    return value


def _read(text: str, hint: Any) -> Any:
    """Return the value that a text stands for, or the text itself if it stands for none of this type."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return next((part for part in typing.get_args(hint) if str(part) == text), text)
    if origin is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    if hint is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if hint in (int, float) and "_" not in text:
        return _number(text, whole=hint is int)
    return text


def _number(text: str, *, whole: bool) -> Any:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else text


def _several(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"any of {', '.join(map(str, parts))}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "mappings"
    return _SEVERAL.get(hint) or _public(hint) or "values"


def _public(hint: Any) -> str:
    """Return the name of one of condense's own types as users import it, or ""."""
    own = isinstance(hint, type) and hint.__module__.partition(".")[0] == "condense"
    return f"condense.{hint.__name__}" if own else ""


def _known(fits: bool, value: Any, hint: Any) -> Any:
    if not fits:
        raise _misfit(hint)
    return value


def _misfit(hint: Any) -> ValueError:
    return ValueError(f"must be {wanted(hint)}")


def _whose(owner: Any) -> str:
    """Return a start for a message about something with a name of its own: "Protocol 'fkd': "."""
    name = getattr(owner, "name", "")
    return f"{type(owner).__name__} {name!r}: " if isinstance(name, str) and name else ""
