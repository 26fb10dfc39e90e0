"""`condense plan`: what a run takes, before it starts."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.loaded import plugin_option, registry_of
from condense_cli.machine import compute_options
from condense_cli.options import expand_short_forms, given_only, json_option, option, recipe_options
from condense_cli.sections import SectionedCommand

HOW = "How it is found out"
BUDGET = "What there is"
WHERE = "Where things lie and how they are computed"


@click.command("plan", cls=SectionedCommand)
@recipe_options
@option(
    "--throughput",
    section=HOW,
    metavar="RATES",
    help="Of another machine, forward=N,backward=N in images per second, and load=N for images read from disk.",
    default_shown="a few steps timed here",
)
@option(
    "--budget-time", section=BUDGET, metavar="TIME", help="Such as 2h or 30min: say what to change to fit."
)
@option("--budget-memory", section=BUDGET, metavar="BYTES", help="Such as 8GB: say what to change to fit.")
@option("--data-dir", section=WHERE, metavar="DIR", help="Folder in which datasets lie.")
@compute_options(WHERE)
@plugin_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, **options: Any) -> None:
    """Say what a run takes before it starts: work, time, memory, bytes on disk.

    A few steps of the real networks are timed on made-up images, so the dataset need not be there: its published
    numbers are enough. Nothing is trained to an end and nothing is written.
    """
    given = given_only(options)
    if "method" not in given:
        raise click.UsageError("--method is missing; `condense methods` lists what there is", ctx)
    expand_short_forms(given)
    registry = registry_of(ctx)
    from condense.api import plan
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.price import price_table

    found = plan(registry=registry, **given).to_dict()
    if as_json:
        write_json(found)
    else:
        write(make_console(), *price_table(found))
