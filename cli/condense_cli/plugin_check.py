"""`condense plugins check`: whether a plugin or a method keeps the contract."""

from __future__ import annotations

import click

from condense_cli.loaded import plugin_option, registry_of
from condense_cli.options import json_option


@click.command("check")
@click.argument("name")
@click.option("--only", metavar="CHECK", multiple=True, help="Make this check and no other; repeatable.")
@plugin_option
@json_option
@click.pass_context
def check(ctx: click.Context, name: str, only: tuple[str, ...], as_json: bool) -> None:
    """Try a plugin, or one method, in short runs on made-up images: does it keep the contract?

    That takes about a second for each method, and some seconds to start another process. The exit status is 1 if a
    check fails. A name that a plugin and a method share stands for the plugin.
    """
    from condense.testing import examine_method, examine_plugin
    from condense_cli.render.checks import data_of, report_table
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.progress import make_reporter

    registry = registry_of(ctx)
    of_plugin = any(status.name == name for status in registry.plugins)
    examine = examine_plugin if of_plugin else examine_method
    with make_reporter(make_console(stderr=True)) as reporter:
        report = examine(name, checks=only, registry=registry, reporter=reporter)
    if as_json or (ctx.parent is not None and ctx.parent.params.get("as_json")):
        write_json(data_of(report))
    else:
        write(make_console(), *report_table(report))
    if report.failed:
        ctx.exit(1)
