"""What a run takes, as text: plain data in, renderables out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from condense.text import byte_size, duration, magnitude
from condense_cli.render.tables import HEADING, QUIET, headline, pairs_table


def price_table(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return what a run takes (`Estimate.to_dict()`): a line for each stage, then totals, then advice."""
    counts = data["counts"]
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1), header_style=QUIET, show_edge=False, border_style=QUIET
    )
    table.add_column("stage", overflow="fold")
    for title in ("steps", "forward", "backward", "time", "memory"):
        table.add_column(title, justify="right", no_wrap=True)
    for stage in data["stages"]:
        table.add_row(
            stage["stage"],
            *(magnitude(stage[name]) if stage["steps"] else "–" for name in ("steps", "forward", "backward")),
            duration(stage["seconds"]) if stage["steps"] else "–",
            byte_size(stage["memory"]) if stage["memory"] else "–",
        )
    facts = [
        ("dataset", _dataset(counts)),
        *((stage["stage"], stage["text"]) for stage in data["stages"]),
    ]
    totals = [
        ("time", f"about {duration(data['seconds'])} ({data['seconds_from']}; {data['device']})"),
        ("memory", f"about {byte_size(data['peak_memory'])} at the most"),
        ("disk", _disk(data["disk"])),
    ]
    parts: list[RenderableType] = [
        "",
        Text(headline(data), style=HEADING),
        "",
        pairs_table(facts),
        "",
        Padding(table, (0, 0, 1, 1), expand=False),
        pairs_table(totals),
        *(Padding(Text(note, style=QUIET), (0, 0, 0, 2), expand=False) for note in _notes(data)),
    ]
    if data["advice"]:
        parts += ["", Text("To fit the budget", style=HEADING)]
        parts += [Padding(Text(text), (0, 0, 0, 2), expand=False) for text in data["advice"]]
    return parts


def _notes(data: Mapping[str, Any]) -> list[str]:
    return [
        "Forward, backward: how many times an image passes through a network in that direction.",
        *data["notes"],
    ]


def _dataset(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['classes']:,} classes, {counts['train']:,} + {counts['test']:,} images, "
        f"{counts['channels']}x{counts['side']}x{counts['side']}"
    )


def _disk(disk: Mapping[str, int]) -> str:
    parts = ", ".join(f"{what} {byte_size(count)}" for what, count in disk.items())
    return f"about {byte_size(sum(disk.values()))}: {parts}"
