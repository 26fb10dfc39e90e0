"""Whether data may be fetched: not for plans and dry runs, which look at what is here. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_FETCHES: ContextVar[bool] = ContextVar("fetches", default=True)


@contextlib.contextmanager
def fetching_nothing(*, when: bool = True) -> Iterator[None]:
    """Let nothing be fetched from the Hugging Face hub in the block; what is in the cache is still read.

    when: False leaves everything as it is.
    """
    token = _FETCHES.set(not when and _FETCHES.get())
    try:
        yield
    finally:
        _FETCHES.reset(token)


def may_fetch() -> bool:
    """Return whether data may be fetched here."""
    return _FETCHES.get()
