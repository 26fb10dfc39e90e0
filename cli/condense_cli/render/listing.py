"""Lists of what there is, and one entry in full: plain data in, renderables out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from condense.recipe.specs import kind_text
from condense.text import counted, duration, percent_and_spread, setting_text
from condense_cli.render.tables import HEADING, QUIET

NAME = "bold cyan"
BAD = "yellow"


def listing(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> Table:
    """Return rows by column name as a table; the first column is what users type. Long texts wrap in their column."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column.upper(), style="" if position else NAME, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[column]) for column in columns))
    return table


def marked(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return rows whose summary also says what becomes of a name that several plugins offer."""
    return [
        {
            **row,
            "summary": " ".join(filter(None, (row["summary"], f"[{row['clash']}]" if row["clash"] else ""))),
        }
        for row in rows
    ]


def status_listing(runs: Iterable[Mapping[str, Any]]) -> Table:
    """Return runs with their states; one that failed says why."""
    table = listing([], ("run", "state", "last stage", "time"))
    for run in runs:
        state = Text(run["status"], style="" if run["status"] in ("done", "running") else BAD)
        state.append(f": {run['failure']}" if run["failure"] else "")
        table.add_row(Text(run["path"]), state, run["stage"], duration(run["seconds"]))
    return table


def detail(data: Mapping[str, Any]) -> list[RenderableType]:
    """Return a method, a dataset, a network, a component or a protocol in full."""
    title = Text(str(data["name"]), style=NAME)
    if data.get("kind") and data.get("plugin"):
        title.append(f"  {data['kind']} of plugin {data['plugin']}", style=QUIET)
    parts: list[RenderableType] = [title, _indented(data["summary"])]
    if data["source"]:
        parts.append(_indented(data["source"], style=QUIET))
    if data.get("clash"):
        parts.append(_indented(data["clash"], style=BAD))
    if "like" in data:
        kind = kind_text(data["like"]) if data["like"] else "found from the images"
        parts += [_indented(line) for line in (*_facts(data), f"kind of images: {kind}")]
    if "options" in data:
        parts += _options(data)
    if data.get("settings"):
        for_all = data.get("kind") == "dataset"
        heading = "Settings for every method" if for_all else "Settings, to be changed with --set KEY=VALUE"
        parts += ["", Text(heading, style=HEADING), _settings(data["settings"])]
    groups = {kind_text(kind): settings for kind, settings in data.get("settings_by_kind", {}).items()}
    for name, settings in (groups | data.get("settings_by_protocol", {})).items():
        heading = f"Settings for every method, for {name}"
        parts += ["", Text(heading, style=HEADING), _settings(settings)]
    for least, settings in data.get("presets_by_ipc", {}).items():
        heading = f"Instead, from {counted(int(least), 'image')} per class on"
        parts += ["", Text(heading, style=HEADING), _settings(settings)]
    for dataset, settings in data.get("presets", {}).items():
        parts += ["", Text(f"Instead, on {kind_text(dataset)}", style=HEADING), _settings(settings)]
    if data.get("variants"):
        parts += ["", Text("Rows of its ablation", style=HEADING), *map(_variant, data["variants"])]
    if data.get("published"):
        parts += ["", Text("Published accuracies, %", style=HEADING), *_published(data["published"])]
    return parts


def _published(found: Sequence[Mapping[str, Any]]) -> Iterator[Padding | Table]:
    """Yield published accuracies: a table for each student and source, with a row for each dataset."""
    tables: dict[tuple[str, str], dict[str, dict[int, str]]] = {}
    for one in found:
        said = f"student {one['student']}{', second-hand' if one['second_hand'] else ''}: {one['conditions']}"
        of_dataset = tables.setdefault((said, one["source"]), {}).setdefault(one["dataset"], {})
        of_dataset[one["ipc"]] = percent_and_spread(one["accuracy"], one["spread"])
    yield _indented("by images per class (IPC); ± as the source states it", style=QUIET)
    for (said, source), rows in tables.items():
        ipcs = sorted({ipc for by_ipc in rows.values() for ipc in by_ipc})
        table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, pad_edge=False)
        table.add_column("    IPC")
        for ipc in ipcs:
            table.add_column(str(ipc))
        for dataset, by_ipc in rows.items():
            table.add_row(f"    {dataset}", *(by_ipc.get(ipc, "") for ipc in ipcs))
        yield _indented(said)
        yield _indented(source, style=QUIET)
        yield table


def _facts(data: Mapping[str, Any]) -> list[str]:
    """Return what is known of a dataset, one line each."""
    training, tests = data["images"]
    side = data["side"]
    facts = {
        "classes": data["classes"],
        "images": f"{training} training, {tests} test" if training else "",
        "side length": f"{side} pixels" if side else "",
        "licence": data["licence"],
        "how it comes": data["fetched"],
        "looked for in the data folder as": data["looked_for"],
    }
    return [f"{name}: {value}" for name, value in facts.items() if value]


def _variant(variant: Mapping[str, Any]) -> Padding:
    changes = [f"{key}={setting_text(value)}" for key, value in variant["settings"].items()]
    changes += [f"without {name}" for name in variant["without"]]
    return _indented(f"{variant['label']}: {', '.join(changes) or 'as it is'}")


def _options(data: Mapping[str, Any]) -> list[RenderableType]:
    if not data["options"]:
        return ["", "  It has no options."]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, pad_edge=False)
    for column in ("  KEY", "DEFAULT", "TAKES"):
        table.add_column(column, overflow="fold")
    for option in data["options"]:
        table.add_row(Text(f"  {option['key']}"), Text(setting_text(option["default"])), Text(option["type"]))
    heading = Text("Options, to be set with --set KEY=VALUE", style=HEADING)
    parts: list[RenderableType] = ["", heading, table]
    if data["about_options"]:
        parts += ["", _indented(data["about_options"])]
    return parts


def _settings(settings: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)  # so that a key can be copied
    table.add_column(overflow="fold")
    for key, value in settings.items():
        table.add_row(Text(f"  {key}"), Text(setting_text(value)))
    return table


def _indented(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style=style), (0, 0, 0, 2), expand=False)
