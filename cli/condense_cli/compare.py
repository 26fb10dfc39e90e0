"""`condense compare`, `condense sweep` and `condense ablate`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from condense_cli.executors import executor_of, executor_options
from condense_cli.loaded import disabled_words, plugin_option, registry_of
from condense_cli.machine import compute_options, keep_option
from condense_cli.options import (
    RECIPE_FORMS,
    Interrupted,
    expand_short_forms,
    given_only,
    iterations_option,
    json_option,
    option,
    parse_names,
    parse_networks,
    parse_numbers,
    set_option,
    skip_broken_option,
    teacher_option,
)
from condense_cli.sections import WORDS, RepeatableCommand

if TYPE_CHECKING:
    from condense.comparison.design import Design
    from condense.comparison.outcome import Kind
    from condense.executors.executor import Executor
    from condense.recipe.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])
WHAT = "What is compared"
MEASURE = "How it is measured"
WHERE = "Where things lie and how they are computed"
RUN = "The comparison itself"

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    option(
        "--dataset",
        section=WHAT,
        metavar="NAME",
        help="`condense datasets` lists them; folder:PATH takes your own images.",
        default_shown="fashion-mini",
    ),
    skip_broken_option(WHAT),
    option(
        "--ipc",
        section=WHAT,
        metavar="N,N,...",
        callback=parse_numbers,
        help="Images per class, one or several.",
        default_shown="10",
    ),
    option(
        "--seeds",
        section=WHAT,
        type=int,
        metavar="N",
        help="How many times each row is distilled, every time with a seed of its own.",
        default_shown="3",
    ),
    option("--seed", section=WHAT, type=int, metavar="N", help="The first of the seeds.", default_shown="0"),
    option(
        "--reference/--no-reference",
        section=WHAT,
        default=None,
        help="Whether random real images are a row too.",
        default_shown="--reference",
    ),
    option(
        "--protocol",
        section=MEASURE,
        metavar="NAME,...",
        callback=parse_names,
        help="How students are trained; each is a column. `condense protocols` lists them.",
        default_shown="that of the first method that makes its images",
    ),
    option(
        "--epochs",
        section=MEASURE,
        metavar="N,N,...",
        callback=parse_numbers,
        help="Length of a student's training; each is a column of students of its own, with the whole schedule.",
        default_shown="the protocol's own",
    ),
    option(
        "--students",
        section=MEASURE,
        type=int,
        metavar="N",
        help="How many students to train for each seed.",
        default_shown="1",
    ),
    option(
        "--student",
        section=MEASURE,
        metavar="NAME,...",
        multiple=True,
        callback=parse_networks,
        help="The students' network, such as resnet18 or 'convnet(width=64)'; each is a column. `condense models` "
        "lists them.",
        default_shown="the protocol's own",
    ),
    option(
        "--teacher-model",
        section=WHAT,
        metavar="NAME,...",
        multiple=True,
        callback=parse_networks,
        help="The teacher's network; of several, every row is there once for each, under the same students.",
        default_shown="the dataset's own",
    ),
    teacher_option(WHAT),
    iterations_option(WHAT),
    option(
        "--scores/--no-scores",
        section=MEASURE,
        default=None,
        help="Whether to train the further students that DD-Ranking's scores need (with hard labels, without "
        "augmentation).",
        default_shown="--scores",
    ),
    option(
        "--validation",
        section=MEASURE,
        type=float,
        metavar="FRACTION",
        help="Hold out this fraction of the training images and test on it instead: for tuning.",
        default_shown="0",
    ),
    option("--data-dir", section=WHERE, metavar="DIR", help="Folder in which datasets lie."),
    option(
        "--out",
        section=WHERE,
        metavar="DIR",
        help="Folder for this and other comparisons; they share finished work.",
        default="runs",
        show_default=True,
    ),
    option(
        "--name",
        section=WHERE,
        metavar="NAME",
        help="Name of the folder of the tables.",
        default_shown="made of what is compared",
    ),
    compute_options(WHERE),
    keep_option(WHERE),
    executor_options(WHERE),
    option(
        "--jobs",
        section=WHERE,
        type=int,
        metavar="N",
        default=1,
        show_default=True,
        help="Processes that work side by side and share cores or GPUs; each holds dataset and teacher. Short for "
        "--executor processes --workers N.",
    ),
    option(
        "--dry-run",
        section=RUN,
        is_flag=True,
        help="Print rows, columns and the work ahead; compute and write nothing.",
    ),
    plugin_option,
    json_option,
)


def comparison_options(function: F) -> F:
    """Add all options except those that choose the rows."""
    for add in reversed(_OPTIONS):
        function = add(function)
    return function


def compare_by(
    ctx: click.Context,
    kind: Kind,
    methods: str | tuple[str, ...],
    *,
    out: str,
    jobs: int,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Design a comparison, then carry it out or print its plan. Exits with status 1 if something failed."""
    from condense.comparison.design import design_comparison
    from condense.data.fetching import fetching_nothing

    registry = registry_of(ctx)
    given = given_only(options)
    expand_short_forms(given, RECIPE_FORMS)
    executor = executor_of(registry, given, jobs)
    with fetching_nothing(when=dry_run):
        design = design_comparison(kind, methods, registry, **given)
    if dry_run:
        _show_plan(design, Path(out), registry, as_json)
    elif not _carried_out(ctx, design, Path(out), executor, registry, as_json):
        ctx.exit(1)


def _carried_out(
    ctx: click.Context,
    design: Design,
    out: Path,
    executor: Executor | None,
    registry: Registry,
    as_json: bool,
) -> bool:
    """Carry out a comparison and print its outcome. Return whether everything worked."""
    from condense.api import carry_out
    from condense_cli.render.comparison import PieceReporter, outcome_parts
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.progress import make_reporter

    try:
        with make_reporter(make_console(stderr=as_json), plain=as_json) as reporter:
            reporter.say(f"in {out / design.name}")
            result = carry_out(design, out, registry, PieceReporter(reporter), executor=executor)
    except KeyboardInterrupt as error:
        raise Interrupted(error, _how_to_go_on(ctx)) from error
    if as_json:
        write_json(result.to_dict())
    else:
        console = make_console()
        write(console, *outcome_parts(result, console.width))
    return not result.failures


def _how_to_go_on(ctx: click.Context) -> str:
    again = shlex.join(["condense", *disabled_words(ctx), str(ctx.info_name), *ctx.meta[WORDS]])
    return f"What is done is kept; go on with: {again}"


def _show_plan(design: Design, out: Path, registry: Registry, as_json: bool) -> None:
    from condense.comparison.ahead import check_comparison_ahead, warned
    from condense.comparison.amount import amount_ahead
    from condense.comparison.graph import pieces_ahead
    from condense.comparison.workspace import look_ahead
    from condense.executors.pieces import outlined
    from condense_cli.render.comparison_plan import plan_data, plan_parts
    from condense_cli.render.console import make_console, write, write_json

    refused = check_comparison_ahead(design, out, registry)
    design = warned(design, refused)
    outlook, amount = look_ahead(design, out, registry), amount_ahead(design, registry, refused)
    pieces = pieces_ahead(design, registry, refused)
    outlines = None if pieces is None else outlined(pieces)
    if as_json:
        write_json(plan_data(design, outlook, amount, outlines))
    else:
        write(make_console(), *plan_parts(design, outlook, amount, outlines))


@click.command("compare", cls=RepeatableCommand)
@click.argument("methods", metavar="METHOD...", nargs=-1, required=True)
@set_option(WHAT, "Change a setting of all rows, or with METHOD:KEY=VALUE of one method's; repeatable.")
@comparison_options
@click.pass_context
def compare(ctx: click.Context, /, methods: tuple[str, ...], **options: Any) -> None:
    """Compare methods under one teacher, the same students, protocols and seeds.

    The first METHOD is the one that the others are compared to. What is finished below --out is used again,
    what is unfinished goes on; a method that fails says why, and the others go on.
    """
    for method in methods:
        if "," in method:
            separate = " ".join(part for part in method.split(",") if part)
            raise click.UsageError(
                f"methods stand apart, with spaces between them: condense compare {separate}"
            )
    compare_by(ctx, "compare", methods, **options)


@click.command("sweep", cls=RepeatableCommand)
@option("--method", section=WHAT, metavar="NAME", required=True, help="`condense methods` lists them.")
@set_option(
    WHAT,
    "A setting and its values, KEY=VALUE,VALUE,...; repeatable. Where a value has commas of its own, put semicolons "
    "between values: recover.augment.crop_scale=0.08,1;0.5,1",
)
@comparison_options
@click.pass_context
def sweep(ctx: click.Context, /, method: str, settings: tuple[tuple[str, str], ...], **options: Any) -> None:
    """Compare one method with every combination of the values of some settings.

    The first combination is the one that the others are compared to. To choose a setting by its outcome, use
    --validation: what is chosen on the test images says nothing about them any more.
    """
    compare_by(ctx, "sweep", method, settings=settings, **options)


@click.command("ablate", cls=RepeatableCommand)
@click.argument("method", metavar="METHOD")
@set_option(WHAT, "Change a setting of all rows; repeatable.")
@comparison_options
@click.pass_context
def ablate(ctx: click.Context, /, method: str, **options: Any) -> None:
    """Compare a method with its variants, or without each of its components.

    A method without variants has a row for the whole method, and one without each target and regularizer.
    """
    compare_by(ctx, "ablate", method, **options)
