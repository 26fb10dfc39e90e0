"""How the chart shows which row is which: by colour, by the marker's shape and by the line's dashes.

The picture has the colours of the page in light mode. On the page, colours are CSS variables, which change in dark
mode. All have a contrast of at least 3 to their background, and differ in lightness too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Hues after Okabe & Ito's palette for all kinds of colour vision: darker ones on white, lighter ones on near-black.
_LIGHT = ("#0072b2", "#d04a02", "#00805c", "#b0468c", "#8f6500", "#5a48c9", "#287f8f")
_DARK = ("#56b4e9", "#ff9151", "#35c79a", "#ec9ccb", "#e6bb3c", "#a99cff", "#7fd4e3")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">")
_DASHES = ("-", "--", "-.")

# Name of the CSS variable, then its colours in light and in dark mode. The light ones must differ from each other:
# svg.py replaces each by its variable.
COLOURS: Mapping[str, tuple[str, str]] = {
    **{f"row-{index}": pair for index, pair in enumerate(zip(_LIGHT, _DARK, strict=True))},
    "reference": ("#5f6675", "#a7afbd"),
    "ceiling": ("#2f7d59", "#6fcf9f"),
    "ink": ("#1d2330", "#e6e9ef"),
    "faint": ("#626a78", "#9aa3b2"),
    "line": ("#e2e4e8", "#2f353f"),
    "panel": ("#ffffff", "#1c2027"),
}


def light(name: str) -> str:
    """Return a colour of light mode by its name."""
    return COLOURS[name][0]


@dataclass(frozen=True)
class Look:
    """How one row is drawn.

    colour: a name in COLOURS.
    marker, dashes: matplotlib's names.
    """

    colour: str
    marker: str
    dashes: str


def look(number: int, *, reference: bool = False) -> Look:
    """Return how row `number`, from 0, is drawn. The first 77 rows all differ; the reference is grey and dotted."""
    marker = _MARKERS[number % len(_MARKERS)]
    if reference:
        return Look("reference", marker, ":")
    colour = number % len(_LIGHT)
    return Look(f"row-{colour}", marker, _DASHES[number // len(_LIGHT) % len(_DASHES)])
