"""How rows are told apart in the chart: by colour, by the marker's shape and by the line's dashes.

The colours of the picture are those of the page in light rooms; on the page they are CSS variables, so that a
dark room gets others. All have a contrast of 3 or more to their background, and differ in lightness too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Hues after Okabe & Ito's palette for all kinds of colour vision, darker on white, lighter on near-black.
_LIGHT = ("#0072b2", "#d04a02", "#00805c", "#b0468c", "#8f6500", "#5a48c9", "#287f8f")
_DARK = ("#56b4e9", "#ff9151", "#35c79a", "#ec9ccb", "#e6bb3c", "#a99cff", "#7fd4e3")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">")
_DASHES = ("-", "--", "-.")

# Name of the CSS variable, then its colour in the light, in the dark. The light ones differ from each other: it is
# by them that the chart's colours are found.
COLOURS: Mapping[str, tuple[str, str]] = {
    **{f"row-{index}": pair for index, pair in enumerate(zip(_LIGHT, _DARK, strict=True))},
    "floor": ("#5f6675", "#a7afbd"),
    "ceiling": ("#2f7d59", "#6fcf9f"),
    "ink": ("#1d2330", "#e6e9ef"),
    "faint": ("#626a78", "#9aa3b2"),
    "line": ("#e2e4e8", "#2f353f"),
    "panel": ("#ffffff", "#1c2027"),
}


def light(name: str) -> str:
    """A colour as the picture has it."""
    return COLOURS[name][0]


@dataclass(frozen=True)
class Look:
    """colour: a name in COLOURS. marker, dashes: as matplotlib names them."""

    colour: str
    marker: str
    dashes: str


def look(number: int, *, floor: bool = False) -> Look:
    """How row `number`, from 0, is drawn. No two of the first 77 look the same; the floor is grey and dotted."""
    marker = _MARKERS[number % len(_MARKERS)]
    if floor:
        return Look("floor", marker, ":")
    colour = number % len(_LIGHT)
    return Look(f"row-{colour}", marker, _DASHES[number // len(_LIGHT) % len(_DASHES)])
