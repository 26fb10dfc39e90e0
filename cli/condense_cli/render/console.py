"""The output: a terminal gets styled text, a pipe gets plain lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from condense.text import escaped

# Wide enough that no line of a listing wraps in a pipe, where each line should be one thing.
UNWRAPPED = 10_000


# What JSON leaves as it is and `escaped` does not.
_RAW_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class SafeConsole(Console):
    """A console that shows what would steer the terminal as escapes: names may come from anybody."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the parts of a renderable with their texts escaped; those that rich itself steers with stay."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or escaped(text) == text else Segment(escaped(text), style)


def make_console(*, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr. It does not interpret markup, numbers or emoji in a text."""
    return SafeConsole(stderr=stderr, highlight=False, markup=False, emoji=False)


def is_live(console: Console) -> bool:
    """Return whether the console is a terminal whose lines can be redrawn."""
    return console.file.isatty() and console.is_interactive


def write(console: Console, *parts: RenderableType, one_line_each: bool = False) -> None:
    """Print renderables and texts. A text is never wrapped, so that a path can be copied whole.

    one_line_each: if the output is not a terminal, wrap nothing at all.
    """
    if console.file.isatty():
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, str))
        return
    width = UNWRAPPED if one_line_each else console.width
    plain = SafeConsole(
        file=console.file, width=width, no_color=True, highlight=False, markup=False, emoji=False
    )
    with plain.capture() as captured:
        for part in parts:
            plain.print(part, soft_wrap=isinstance(part, str))
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), file=console.file)


def write_json(data: Any) -> None:
    """Print data as JSON on stdout."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    click.echo(_RAW_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text))
