"""Words for numbers, durations, sizes and settings: one set for the terminal, Markdown and pages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

# Control characters but line feed and tab, separators of lines, marks and overrides of direction, half characters.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_UNITS = ("B", "kB", "MB", "GB", "TB")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 chunk", "3 chunks"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def percent(fraction: float) -> str:
    """Return a fraction in percent without the sign: 0.8523 gives "85.2"."""
    return f"{100 * fraction:.1f}"


def spread(mean: float, std: float | None) -> str:
    """Return mean ± standard deviation in percent, both fractions; columns of such texts line up."""
    return f"{100 * mean:5.1f} %" if std is None else f"{100 * mean:5.1f} ± {100 * std:.1f} %"


def percent_and_spread(fraction: float, around: float | None) -> str:
    """Return a fraction in percent with what lies around it: "64.8 ± 0.4", or "64.8" if `around` is None."""
    return percent(fraction) if around is None else f"{percent(fraction)} ± {percent(around)}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Return an interval of fractions in percent, like "74.1 to 76.3", or a dash for none."""
    return f"{percent(interval[0])} to {percent(interval[1])}" if interval else "–"


def duration(seconds: float) -> str:
    """Return seconds as people say them: "0.42 s", "12.3 s", "2 min 05 s", "3 h 07 min"."""
    if round(seconds, 1) < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def byte_size(count: int) -> str:
    """Return bytes in powers of 1000: "512 B", "31.7 kB", "44.8 MB"."""
    value = float(count)
    for unit in _UNITS:
        if round(value, 1) < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def magnitude(count: int) -> str:
    """Return a count on three digits: "950", "12.3 k", "5.1 M", "1.4 G"."""
    value = float(count)
    for unit in ("", " k", " M", " G", " T"):
        if round(value, 1) < 1000 or unit == " T":
            break
        value /= 1000
    return f"{value:.0f}{unit}" if not unit or value >= 100 else f"{value:.1f}{unit}"


def rate(per_second: float, noun: str) -> str:
    """Return a speed: "35.2 steps/s", or "4.2 s/step" for less than one per second."""
    if per_second >= 1:
        return f"{per_second:.0f} {noun}s/s" if per_second >= 100 else f"{per_second:.1f} {noun}s/s"
    return f"{1 / per_second:.1f} s/{noun}"


def setting_text(value: Any) -> str:
    """Return a value as `--set` takes it: true, none, 0.08,1.0, or "" for an empty text or list.

    Items of a list are joined by commas, and by semicolons where the items are lists themselves.
    """
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(item, (list, tuple)) for item in value)
        return (";" if nested else ",").join(map(setting_text, value)) or '""'
    short = f"{value:g}" if isinstance(value, float) else ""
    return short if short and float(short) == value else str(value) or '""'


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the settings of a configuration, as plain data, as pairs of the key that `--set` takes and the value."""
    pairs: list[tuple[str, Any]] = []
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if not (isinstance(value, Mapping) and value):
            pairs.append((dotted, value))
        elif not prefix and key in ("recipe", "evaluation", "machine"):
            pairs += flat(value)
        elif set(value) in ({"name", "options"}, {"weight", "options"}):
            pairs.append((dotted, value["name"] if "name" in value else value["weight"]))
            pairs += flat(value["options"], f"{dotted}.")
        else:
            pairs += flat(value, f"{dotted}.")
    return pairs


def escaped(text: str) -> str:
    """Return a text without what steers a terminal or turns the direction of writing, each as an escape: "\\x1b".

    Line feeds and tabs stay. Names of classes, methods and files may come from anybody.
    """
    return _STEERING.sub(lambda match: ascii(match[0])[1:-1], text)


def shown_path(path: str | os.PathLike[str]) -> str:
    """Return a path as text that any terminal and file can hold.

    Bytes that are not UTF-8 and control characters become escapes: "caf\\xe9.png", "two\\nlines.png".
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")
