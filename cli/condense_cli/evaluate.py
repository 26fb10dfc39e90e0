"""`condense evaluate`: train and test students on a distilled dataset made earlier."""

from __future__ import annotations

from typing import Any

import click

from condense_cli.loaded import plugin_option, registry_of
from condense_cli.machine import compute_options, keep_option
from condense_cli.options import (
    EPOCHS_FORM,
    epochs_option,
    expand_short_forms,
    given_only,
    json_option,
    option,
    parse_networks,
    set_option,
    skip_broken_option,
)
from condense_cli.sections import SectionedCommand

HOW = "How students are trained"
WHERE = "Where things lie and how they are computed"


@click.command("evaluate", cls=SectionedCommand)
@click.argument("path", metavar="RUN_OR_ARTIFACT")
@option(
    "--protocol",
    section=HOW,
    metavar="NAME",
    help="Protocol of the students.",
    default_shown="the artifact's own",
)
@option(
    "--dataset",
    section=HOW,
    metavar="NAME",
    help="The real images to test on, where they are called otherwise here.",
    default_shown="the one that was condensed",
)
@skip_broken_option(HOW)
@option(
    "--student",
    section=HOW,
    metavar="NAME,...",
    multiple=True,
    callback=parse_networks,
    help="Student network, such as resnet18 or 'convnet(width=64)'; several, with commas or by repeating the option, "
    "are judged one by one. `condense models` lists them.",
    default_shown="the protocol's own",
)
@epochs_option(HOW)
@option(
    "--students",
    section=HOW,
    type=int,
    metavar="N",
    help="How many to train of each network.",
    default_shown="3",
)
@option(
    "--seed", section=HOW, type=int, metavar="N", help="Seed of everything random.", default_shown="the run's"
)
@set_option(HOW, "Change a setting of protocol, student, teacher or dataset; repeatable.")
@option(
    "--teacher",
    section=HOW,
    metavar="FILE",
    help="Weights of the teacher, where labels need it and it does not lie beside the artifact.",
)
@option(
    "--yes",
    section=HOW,
    is_flag=True,
    default=None,
    help="Do what the artifact's settings ask for, also if somebody else chose them: read a folder, fetch a dataset or "
    "weights, train for more than 10,000 epochs.",
)
@option(
    "--data-dir",
    section=WHERE,
    metavar="DIR",
    help="Folder in which datasets lie.",
    default_shown="where the run found them",
)
@option(
    "--out",
    section=WHERE,
    metavar="DIR",
    help="Folder for the table, as Markdown and JSON.",
    default_shown="evaluations in the run directory",
)
@compute_options(WHERE)
@keep_option(WHERE)
@plugin_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, path: str, as_json: bool, **options: Any) -> None:
    """Train and test students on a distilled dataset made earlier.

    RUN_OR_ARTIFACT is a run directory, or the folder `distilled` in it, wherever it lies now. hf:OWNER/NAME is one on
    the Hugging Face hub. With several --student networks the table says how well the images carry over from one
    network to another; nothing is distilled again.
    """
    given = given_only(options)
    expand_short_forms(given, EPOCHS_FORM)
    registry = registry_of(ctx)
    from condense.api import evaluate
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.progress import make_reporter
    from condense_cli.render.tables import evaluation_table

    with make_reporter(make_console(stderr=as_json), plain=as_json) as reporter:
        result = evaluate(path, reporter=reporter, registry=registry, **given)
    if as_json:
        write_json(result.to_dict())
    else:
        write(make_console(), *evaluation_table(result.to_dict()))
