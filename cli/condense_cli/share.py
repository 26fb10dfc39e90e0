"""`condense push`: upload a distilled dataset."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.options import SectionedCommand, given_only, json_option, option

WHAT = "What goes up"


@click.command("push", cls=SectionedCommand)
@click.argument("path", metavar="RUN_OR_ARTIFACT")
@click.argument("name")
@option(
    "--private/--public",
    section=WHAT,
    default=None,
    help="Whether only you see it.",
    default_shown="the hub's own: public, unless your organisation says otherwise",
)
@option(
    "--teacher/--no-teacher",
    section=WHAT,
    default=None,
    help="Whether the teacher goes up too, if the labels come from it during training.",
    default_shown="--teacher",
)
@option("--message", section=WHAT, metavar="TEXT", help="Message of the commit.")
@json_option
def push(path: str, name: str, as_json: bool, **options: Any) -> None:
    """Upload a distilled dataset to the Hugging Face hub.

    NAME is OWNER/NAME, or a name below your own account. `condense evaluate hf:NAME` trains students on it, and
    `load_dataset("NAME")` of Hugging Face's `datasets` reads it.
    """
    import msgspec

    from condense.api import push as upload
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import pushed_table

    data = msgspec.to_builtins(upload(path, name, **given_only(options)))
    if as_json:
        write_json(data)
    else:
        write(make_console(), *pushed_table(data))
