"""Numbers with units."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from condense.text import (
    byte_size,
    counted,
    duration,
    escaped,
    percent,
    rate,
    setting_text,
    shown_path,
    spread,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.004, "0.00 s"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (11_250, "3 h 08 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (37_240, "37.2 kB"),
        (999_960, "1.0 MB"),
        (5 * 10**12, "5.0 TB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert byte_size(count) == text


@pytest.mark.parametrize(
    ("per_second", "text"), [(1234.5, "1234 steps/s"), (35.21, "35.2 steps/s"), (0.25, "4.0 s/step")]
)
def test_rate(per_second: float, text: str) -> None:
    assert rate(per_second, "step") == text


def test_spread_and_counted() -> None:
    assert spread(0.7634, 0.0042) == " 76.3 ± 0.4 %"
    assert spread(1.0, None) == "100.0 %"
    assert (counted(1, "epoch"), counted(2, "epoch")) == ("1 epoch", "2 epochs")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("", '""'),
        ((), '""'),
        (None, "none"),
        (True, "true"),
        (1e-3, "0.001"),
        ([0.08, 1], "0.08,1"),
        (((0.08, 1), (0.5, 1)), "0.08,1;0.5,1"),
    ],
)
def test_a_setting_as_set_takes_it(value: object, text: str) -> None:
    assert setting_text(value) == text


def test_percent() -> None:
    assert (percent(1.0), percent(0.8523)) == ("100.0", "85.2")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain.png", "plain.png"),
        ("猫/חתול 🐈.png".encode(), "猫/חתול 🐈.png"),
        (b"caf\xe9.png", "caf\\xe9.png"),
        (b"two\nlines\t\x7f", "two\\nlines\\t\\x7f"),
    ],
)
def test_any_path_can_be_shown(name: bytes, text: str) -> None:
    assert shown_path(os.fsdecode(name)) == shown_path(Path(os.fsdecode(name))) == text
    text.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("T-shirt/top\n\t日本 👩‍🔬 é", "T-shirt/top\n\t日本 👩‍🔬 é"),
        ("\0\x07\x1b[2J\x7f\x9b\r", r"\x00\x07\x1b[2J\x7f\x9b\r"),
        ("\u202ecod.exe\u2066\u200f", r"\u202ecod.exe\u2066\u200f"),
        ("\u2028\ufeff\ud800", r"\u2028\ufeff\ud800"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown
    assert escaped(shown) == shown
