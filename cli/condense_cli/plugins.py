"""`condense plugins`: the plugins that were found, what each brings, and why any was set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from condense_cli.listings import clash_of, lines_of
from condense_cli.loaded import plugin_option, registry_of
from condense_cli.new_plugin import new
from condense_cli.options import json_option
from condense_cli.plugin_check import check

if TYPE_CHECKING:
    from condense.recipe.registry import PluginStatus, Registry


@click.group("plugins", invoke_without_command=True)
@plugin_option
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the plugins found, and why any was set aside; show, check or make one."""
    if ctx.invoked_subcommand is not None:
        return
    from condense.recipe.doubts import doubts
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.plugins import plugin_listing

    registry = registry_of(ctx, may_fail=True)
    data = {
        "plugins": [_line(status) for status in registry.plugins],
        "contested": [
            {"name": name, "kind": kind, "plugins": ", ".join(rivals), "outcome": clash_of(rivals)}
            for (kind, name), rivals in sorted(registry.contested.items())
        ],
        "notes": [{"plugin": doubt.plugin, "note": doubt.text} for doubt in doubts(registry)],
    }
    if as_json:
        write_json(data)
    else:
        write(make_console(), *plugin_listing(data), one_line_each=True)


@command.command("show")
@click.argument("name")
@plugin_option
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Print one in full: what it brings, why it failed."""
    from condense.errors import unknown_name
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.plugins import plugin_detail

    registry = registry_of(ctx, may_fail=True)
    found = [_detail(status, registry) for status in registry.plugins if status.name == name]
    if not found:
        raise unknown_name("plugin", name, {status.name for status in registry.plugins})
    if as_json or (ctx.parent is not None and ctx.parent.params.get("as_json")):
        write_json(found[0] if len(found) == 1 else found)
        return
    console = make_console()
    for position, data in enumerate(found):
        write(console, *([""] if position else []), *plugin_detail(data))


command.add_command(new)
command.add_command(check)


def _line(status: PluginStatus) -> dict[str, Any]:
    """Return a plugin's name, where it comes from, and its state, as plain data."""
    from condense.recipe.registry import DISABLED

    failure = status.failure
    states = {"": "works", DISABLED: "disabled"}
    return {
        "name": status.name,
        "version": status.version,
        "distribution": status.distribution,
        "module": status.module,
        "file": status.file or (failure.file if failure else ""),
        "of_file": status.of_file,
        "works": not status.problem,
        "state": states.get(status.problem, "set aside"),
        "problem": status.problem,
        "hook": failure.hook if failure else "",
        "failed_file": failure.file if failure else "",
        "failed_line": failure.line if failure else 0,
    }


def _detail(status: PluginStatus, registry: Registry) -> dict[str, Any]:
    """Return a plugin in full, as plain data."""
    from condense.recipe.doubts import doubts
    from condense.recipe.registry import KINDS
    from condense.recipe.sources import source_hash

    works = not status.problem
    lines = [
        {**line, "kind": kind}
        for kind, _ in KINDS.values()
        for line in lines_of(registry, kind)
        if works and status.name in (line["plugin"], *_rivals(registry, kind, line["name"]))
    ]
    return {
        **_line(status),
        "source": status.source or (source_hash(status.module) if works else ""),
        "traceback": status.failure.traceback if status.failure else "",
        "import_seconds": round(status.seconds, 3),
        "brings": lines,
        "notes": [doubt.text for doubt in doubts(registry) if works and doubt.plugin == status.name],
    }


def _rivals(registry: Registry, kind: str, name: str) -> tuple[str, ...]:
    return registry.contested.get((kind, name.partition(":")[0]), ())
