"""`condense plugins`: the plugins that were found, and why any was set aside."""

from __future__ import annotations

import click

from condense_cli.options import json_option, registry_of


@click.command("plugins")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the plugins found, and why any was set aside."""
    from condense.recipe.doubts import doubts
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.listing import plugin_listing

    registry = registry_of(ctx)
    plugins = [
        {
            "name": status.name,
            "version": status.version,
            "module": status.module,
            "works": not status.problem,
            "problem": status.problem,
        }
        for status in registry.plugins
    ]
    contested = [
        {"name": name, "kind": kind, "plugins": ", ".join(rivals)}
        for (kind, name), rivals in sorted(registry.contested.items())
    ]
    notes = [{"plugin": doubt.plugin, "note": doubt.text} for doubt in doubts(registry)]
    data = {"plugins": plugins, "contested": contested, "notes": notes}
    if as_json:
        write_json(data)
    else:
        write(make_console(), *plugin_listing(data), one_line_each=True)
