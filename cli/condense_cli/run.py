"""`condense run`: from real images to a distilled dataset and the accuracy of students."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from condense_cli.options import (
    Interrupted,
    SectionedCommand,
    compute_options,
    disabled_of,
    given_only,
    json_option,
    option,
    registry_of,
    set_option,
)

if TYPE_CHECKING:
    from condense.recipe.config import RunConfig
    from condense.recipe.registry import Registry
    from condense.runs.result import RunResult
    from condense.runtime import Reporter

WHAT = "What is condensed"
RECIPE = "The recipe"
MEASURE = "How it is measured"
WHERE = "Where things lie and how they are computed"
RUN = "The run itself"

# Options that stand for one setting each.
SHORT_FORMS = {"iterations": "recover.iterations", "teacher": "teacher.checkpoint"}


@click.command("run", cls=SectionedCommand)
@option("--method", section=WHAT, metavar="NAME", help="Required; `condense methods` lists them.")
@option(
    "--dataset",
    section=WHAT,
    metavar="NAME",
    help="`condense datasets` lists them; folder:PATH takes your own images.",
    default_shown="fashion-mini",
)
@option("--ipc", section=WHAT, type=int, metavar="N", help="Images per class.", default_shown="10")
@option("--seed", section=WHAT, type=int, metavar="N", help="Seed of everything random.", default_shown="0")
@set_option(RECIPE, "Change a setting; repeatable. --dry-run lists them all.")
@option(
    "--without",
    section=RECIPE,
    metavar="COMPONENT",
    multiple=True,
    help="Leave out a target or a regularizer; repeatable.",
)
@option("--iterations", section=RECIPE, type=int, metavar="N", help="Short for --set recover.iterations=N.")
@option(
    "--teacher",
    section=RECIPE,
    metavar="FILE",
    help="Weights of a teacher, instead of training one; short for --set teacher.checkpoint=FILE.",
)
@option(
    "--protocol",
    section=MEASURE,
    metavar="NAME",
    help="How students are trained; `condense protocols` lists them.",
    default_shown="the method's own",
)
@option(
    "--students",
    section=MEASURE,
    type=int,
    metavar="N",
    help="How many students to train; 0 measures nothing.",
    default_shown="3",
)
@option(
    "--reference/--no-reference",
    section=MEASURE,
    default=None,
    help="Whether students also learn from random real images, to compare with.",
    default_shown="--reference",
)
@option(
    "--validation",
    section=MEASURE,
    type=float,
    metavar="SHARE",
    help="Hold out this share of the training images and test on it instead: for tuning.",
    default_shown="0",
)
@option(
    "--teachers",
    section=WHERE,
    metavar="DIR",
    help="Keep trained teachers in this folder, and take from it one that this run would train the same way.",
)
@option("--data-dir", section=WHERE, metavar="DIR", help="Folder in which datasets lie.")
@option(
    "--out",
    section=WHERE,
    metavar="DIR",
    help="Folder for run directories.",
    default="runs",
    show_default=True,
)
@option(
    "--name",
    section=WHERE,
    metavar="NAME",
    help="Name of the run directory.",
    default_shown="made of method, dataset, ipc and seed",
)
@compute_options(WHERE)
@option(
    "--resume",
    section=RUN,
    is_flag=True,
    help="Go on with the earlier run of this name, or with the one of --from.",
)
@option(
    "--from",
    "source",
    section=RUN,
    metavar="RUN",
    help="Repeat an earlier run with its settings: a run directory or its run.json.",
)
@option(
    "--dry-run",
    section=RUN,
    is_flag=True,
    help="Print every setting and the work ahead; compute and write nothing.",
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    out: str,
    name: str | None,
    resume: bool,
    source: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Condense a dataset and measure how well students learn from the outcome.

    Everything a run leaves behind lies in one directory: the distilled images, a picture of them, a report,
    and run.json, from which the run can be repeated.
    """
    given = given_only(options)
    if source:
        _refuse_beside_from(ctx, given, resume)
    elif "method" not in given:
        raise click.UsageError("--method is missing; `condense methods` lists what there is", ctx)
    else:
        _expand_short_forms(given)
    registry = registry_of(ctx)
    place = (Path(out), name, resume)
    job = _repeated(registry, Path(source), place) if source else _planned(registry, given, place)
    if dry_run:
        _show_plan(job, registry, as_json)
    else:
        _show_outcome(_execute(job, as_json, disabled_of(ctx)), as_json)


@dataclass(frozen=True)
class _Job:
    """A run about to start: what it computes, where it will lie, and how to set it going."""

    config: RunConfig
    path: Path
    start: Callable[[Reporter], RunResult]


def _refuse_beside_from(ctx: click.Context, given: dict[str, Any], resume: bool) -> None:
    names = [*given, *(["out", "name"] if resume else [])]
    flags = {parameter.name: parameter.opts[0] for parameter in ctx.command.params}
    refused = [
        flags[name]
        for name in names
        if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    ]
    if refused:
        what = "goes on with a run where it lies" if resume else "repeats a run with all its settings"
        raise click.UsageError(f"--from {what}, so it cannot be combined with {', '.join(refused)}", ctx)


def _expand_short_forms(given: dict[str, Any]) -> None:
    """Turn --iterations and --teacher into settings. Raises UsageError where --set says the same again."""
    settings: list[tuple[str, Any]] = list(given.pop("settings", ()))
    taken = {key for key, _ in settings}
    for name, key in SHORT_FORMS.items():
        if name in given:
            if taken & {key, key.removeprefix("recover.")}:
                raise click.UsageError(f"--{name} and --set {key} say the same thing; give one of them")
            settings.append((key, given.pop(name)))
    given["settings"] = settings


def _planned(registry: Registry, given: dict[str, Any], place: tuple[Path, str | None, bool]) -> _Job:
    from condense.errors import StorageError
    from condense.recipe.config import configure, run_path

    # Up to here no torch is loaded, so that a typing error is answered at once.
    out, name, resume = place
    config = configure(registry, **{key: value for key, value in given.items() if key != "teachers"})
    path = run_path(config, out, name, resume=resume)
    if resume and not path.exists():
        raise StorageError(f"there is no run {path} to go on with; leave out --resume to start it")

    def start(reporter: Reporter) -> RunResult:
        from condense.api import run

        return run(**given, out=out, name=path.name, resume=resume, reporter=reporter, registry=registry)

    return _Job(config, path, start)


def _repeated(registry: Registry, source: Path, place: tuple[Path, str | None, bool]) -> _Job:
    from condense.recipe.config import config_from_dict, run_path
    from condense.runs.journal import saved_config

    out, name, resume = place
    config = config_from_dict(saved_config(source), registry)
    lies_in = source if source.is_dir() else source.parent
    path = lies_in if resume else run_path(config, out, name, resume=False)

    def start(reporter: Reporter) -> RunResult:
        from condense.api import repeat

        return repeat(source, out=out, name=path.name, resume=resume, reporter=reporter, registry=registry)

    return _Job(config, path, start)


def _execute(job: _Job, as_json: bool, disabled: Sequence[str]) -> RunResult:
    from condense_cli.render.console import make_console
    from condense_cli.render.progress import make_reporter
    from condense_cli.render.tables import headline

    try:
        with make_reporter(make_console(stderr=as_json), plain=as_json) as reporter:
            reporter.say(headline(job.config.to_dict()))
            reporter.say(f"in {job.path}")
            return job.start(reporter)
    except KeyboardInterrupt as error:
        raise Interrupted(_how_to_go_on(job.path, disabled)) from error


def _how_to_go_on(path: Path, disabled: Sequence[str]) -> str:
    import shlex

    if not (path / "run.json").exists():
        return "Interrupted before anything was written."
    without = [word for name in disabled for word in ("--disable-plugin", name)]
    again = shlex.join(["condense", *without, "run", "--resume", "--from", str(path)])
    return f"Interrupted. What is done is kept; go on with: {again}"


def _show_plan(job: _Job, registry: Registry, as_json: bool) -> None:
    from condense.engine.plan import make_plan
    from condense.recipe.settings import flatten
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import plan_table

    stages = make_plan(job.config, registry).stages()
    if as_json:
        data = {"path": str(job.path), "stages": dict(stages), "settings": job.config.to_dict()}
        write_json(data)
    else:
        write(make_console(), *plan_table(job.config.to_dict(), flatten(job.config), stages, job.path))


def _show_outcome(result: RunResult, as_json: bool) -> None:
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import outcome_table

    if as_json:
        write_json(result.to_dict())
    else:
        write(make_console(), *outcome_table(result.to_dict()))
