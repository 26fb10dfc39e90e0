"""Errors that help: the valid names and the nearest."""

from __future__ import annotations

import errno
import inspect
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense import errors
from condense.errors import CondenseError, UnknownNameError, cannot_read, cannot_write, nearest, unknown_name

NAMES = ["wmdd", "sre2l", "random"]


@pytest.mark.parametrize(
    ("name", "close"), [("wmd", "wmdd"), ("srel2", "sre2l"), ("randm", "random"), ("xyz", None)]
)
def test_the_nearest_name(name: str, close: str | None) -> None:
    assert nearest(name, NAMES) == close


def test_an_unknown_name_lists_the_valid_ones_in_order_with_the_nearest() -> None:
    error = unknown_name("method", "wmd", iter(NAMES))
    assert isinstance(error, UnknownNameError)
    assert str(error) == "unknown method 'wmd'. Did you mean 'wmdd'? There are: random, sre2l, wmdd"


def test_nothing_is_suggested_where_nothing_is_alike() -> None:
    assert str(unknown_name("method", "xyz", NAMES)) == "unknown method 'xyz'. There are: random, sre2l, wmdd"


def test_no_valid_names_at_all() -> None:
    assert str(unknown_name("plugin", "x", [])) == "unknown plugin 'x'. There are: (none)"


@given(st.text(max_size=12), st.lists(st.text(min_size=1, max_size=12), max_size=6))
def test_a_suggestion_is_always_a_valid_name(name: str, valid: list[str]) -> None:
    close = nearest(name, valid)
    assert close is None or close in valid
    text = str(unknown_name("thing", name, valid))
    assert all(other in text for other in valid)


def test_every_error_can_be_caught_as_one() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == "condense.errors"
    ]
    assert len(kinds) > 5
    assert all(issubclass(kind, CondenseError) for kind in kinds)


@pytest.mark.parametrize(
    ("code", "written", "read"),
    [
        (errno.ENOSPC, "no space left to write x; free some, or choose another folder with --out", None),
        (errno.EDQUOT, "no space left to write x; free some, or choose another folder with --out", None),
        *(
            (code, "no permission to write x; choose another folder with --out", "no permission to read x")
            for code in (errno.EACCES, errno.EPERM, errno.EROFS)
        ),
        (errno.EIO, "cannot write x: Input/output error", "cannot read x: Input/output error"),
        (errno.ENOENT, "cannot write x: No such file or directory", "there is no file x"),
    ],
)
def test_what_the_system_refuses_is_said_with_a_way_out(code: int, written: str, read: str | None) -> None:
    error = OSError(code, os.strerror(code))
    assert str(cannot_write(Path("x"), error)) == written
    if read is not None:
        assert str(cannot_read(Path("x"), error)) == read


def test_an_error_of_the_system_without_words_keeps_its_own() -> None:
    assert str(cannot_read(Path("x"), OSError("odd"))) == "cannot read x: odd"
    assert str(cannot_write(Path("x"), OSError("odd"))) == "cannot write x: odd"
