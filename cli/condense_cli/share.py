"""`condense push` uploads a distilled dataset, and `condense import` takes one that others published."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.loaded import plugin_option, registry_of
from condense_cli.options import given_only, json_option, option, parse_reals, set_option
from condense_cli.sections import SectionedCommand

WHAT = "What goes up"
STANDS = "What the images stand for"
READ = "How a .pt file is read"
WHERE = "Where things lie"


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
@plugin_option
@json_option
@click.pass_context
def push(ctx: click.Context, /, path: str, name: str, as_json: bool, **options: Any) -> None:
    """Upload a distilled dataset to the Hugging Face hub.

    NAME is OWNER/NAME, or a name below your own account. `condense evaluate hf:NAME` trains students on it, and
    `load_dataset("NAME")` of Hugging Face's `datasets` reads it.
    """
    import msgspec

    from condense.sharing import push as upload
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import pushed_table

    data = msgspec.to_builtins(upload(path, name, registry=registry_of(ctx), **given_only(options)))
    if as_json:
        write_json(data)
    else:
        write(make_console(), *pushed_table(data))


@click.command("import", cls=SectionedCommand)
@click.argument("source")
@option(
    "--dataset",
    section=STANDS,
    metavar="NAME",
    required=True,
    help="The real dataset; class names, their order and the size of images come from it.",
)
@option(
    "--method",
    section=STANDS,
    metavar="NAME",
    required=True,
    help="The method that made the images, for tables.",
)
@option(
    "--ipc",
    section=STANDS,
    type=int,
    metavar="N",
    help="Images per class, to be checked.",
    default_shown="what is there",
)
@option(
    "--protocol",
    section=STANDS,
    metavar="NAME",
    help="How `condense evaluate` trains students on them by default.",
    default_shown="dc",
)
@set_option(STANDS, "Change a setting of dataset, teacher, student or protocol; repeatable.")
@option(
    "--values",
    section=READ,
    type=click.Choice(["auto", "bytes", "unit", "normalised"]),
    help="What the numbers are: 0 to 255, 0 to 1, or normalised by mean and deviation.",
    default_shown="auto: by their type and range",
)
@option(
    "--mean",
    section=READ,
    metavar="X,X,X",
    callback=parse_reals,
    help="The mean that they were normalised by.",
    default_shown="the dataset's",
)
@option(
    "--std",
    section=READ,
    metavar="X,X,X",
    callback=parse_reals,
    help="The deviation that they were normalised by.",
    default_shown="the dataset's",
)
@option(
    "--experiment",
    section=READ,
    type=int,
    metavar="N",
    help="Which of several sets of images, from 0 on.",
    default_shown="0",
)
@option("--data-dir", section=WHERE, metavar="DIR", help="Folder in which datasets lie.")
@option("--out", section=WHERE, metavar="DIR", help="Folder for the artifact.", default_shown="runs")
@option(
    "--name",
    section=WHERE,
    metavar="NAME",
    help="Name of the artifact's folder.",
    default_shown="made of method, dataset and ipc",
)
@plugin_option
@json_option
@click.pass_context
def import_(ctx: click.Context, /, source: str, as_json: bool, **options: Any) -> None:
    """Make an artifact of a distilled dataset that others published.

    SOURCE is a folder of class folders, named by class, WordNet id or number (as SRe2L and RDED write them), or a .pt
    file of images and labels (as DC, DM, MTT and IDC write them). `condense evaluate` then judges it, and
    imported:PATH is a row of `condense compare`. Nothing of a .pt file is run.
    """
    registry = registry_of(ctx)
    from condense.sharing import import_distilled
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import imported_table

    result = import_distilled(source, registry=registry, **given_only(options))
    if as_json:
        write_json(result.to_dict())
    else:
        write(make_console(), *imported_table(result.to_dict()))
