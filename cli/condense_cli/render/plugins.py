"""Plugins and what became of them: plain data in, renderables out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from condense.text import counted
from condense_cli.render.listing import BAD, NAME, listing, marked
from condense_cli.render.tables import HEADING, QUIET, pairs_table


def plugin_listing(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return the plugins with their state, why some were set aside, and the names that two of them offer."""
    table = listing([], ("name", "version", "from", "state"))
    for plugin in data["plugins"]:
        state = Text(plugin["state"], style="" if plugin["works"] else BAD)
        place = plugin["file"] if plugin["of_file"] else plugin["module"]
        table.add_row(Text(plugin["name"]), Text(plugin["version"]), Text(place), state)
    broken = [plugin for plugin in data["plugins"] if plugin["state"] == "set aside"]
    problems = dict.fromkeys((plugin["name"], plugin["problem"]) for plugin in broken)
    clashes = [(f"{clash['kind']} {clash['name']}", clash["outcome"]) for clash in data["contested"]]
    parts = [table, *_section("Set aside", problems)]
    if broken:
        parts.append(_text("`condense plugins show NAME` prints the traceback", QUIET))
    parts += _section("Offered by more than one plugin", clashes)
    return [*parts, *_section("Worth knowing", ((note["plugin"], note["note"]) for note in data["notes"]))]


def plugin_detail(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return one plugin in full: where it comes from, what it brings, and why it was set aside."""
    title = Text(data["name"], style=NAME)
    title.append(f"  {data['state']}", style=QUIET if data["works"] else BAD)
    package = " ".join(filter(None, (data["distribution"], data["version"])))
    facts = {
        "package": package,
        "module": "" if data["of_file"] else data["module"],
        "file": data["file"],
        "source": f"{data['source']} (hash of its Python files)" if data["source"] else "",
        "import": f"{data['import_seconds']:.2f} s" if data["works"] else "",
    }
    parts: list[RenderableType] = [title, pairs_table((name, text) for name, text in facts.items() if text)]
    if data["problem"] and not data["works"]:
        parts += ["", Text("Why it was set aside", style=HEADING), _text(data["problem"])]
    if data["traceback"]:
        parts += ["", *data["traceback"].rstrip().splitlines()]
    if data["brings"]:
        parts += ["", Text(f"It brings {counted(len(data['brings']), 'part')}", style=HEADING)]
        table = listing(marked(data["brings"]), ("kind", "name", "summary"))
        parts.append(Padding(table, (0, 0, 0, 2), expand=False))
    elif data["works"]:
        parts += ["", "  It brings nothing."]
    if data["notes"]:
        parts += ["", Text("Worth knowing", style=HEADING), *map(_text, data["notes"])]
    return parts


def new_plugin_table(name: str, folder: str, files: Iterable[str]) -> list[RenderableType]:
    """Return what was made for a new plugin, and the commands that try it."""
    commands = (
        f"pip install -e '{folder}[dev]'",
        f"condense plugins show {name}",
        f"condense plugins check {name}",
        f"condense run --method {name} --iterations 20 --students 1 --epochs 5",
        f"pytest {folder}",
    )
    return [
        Text(f"The plugin {name} is in {folder}", style=NAME),
        *(f"  {file}" for file in files),
        "",
        Text("Try it, then change it piece by piece", style=HEADING),
        *(f"  {command}" for command in commands),
    ]


def _section(title: str, lines: Iterable[tuple[str, str]]) -> list[RenderableType]:
    """Return names and what is to be said of them, below a title; nothing without lines."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=NAME, overflow="fold")
    table.add_column(overflow="fold")
    for name, text in lines:
        table.add_row(Text(f"  {name}"), Text(text))
    return ["", Text(title, style=HEADING), table] if table.row_count else []


def _text(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style=style), (0, 0, 0, 2), expand=False)
