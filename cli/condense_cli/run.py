"""`condense run`: from real images to a distilled dataset and the accuracy of students."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from condense_cli.executors import executor_of, executor_options
from condense_cli.loaded import disabled_words, file_words, plugin_option, registry_of
from condense_cli.machine import compute_options, keep_option
from condense_cli.options import (
    Interrupted,
    expand_short_forms,
    given_only,
    json_option,
    option,
    option_words,
    recipe_options,
)
from condense_cli.sections import SectionedCommand

if TYPE_CHECKING:
    from condense.recipe.config import RunConfig
    from condense.recipe.registry import Registry
    from condense.runs.repeat import WantedRun
    from condense.runs.result import RunResult
    from condense.runtime import Reporter

WHERE = "Where things lie and how they are computed"
RUN = "The run itself"


@click.command("run", cls=SectionedCommand)
@recipe_options
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
@keep_option(WHERE)
@executor_options(WHERE)
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
    "--yes",
    section=RUN,
    is_flag=True,
    help="With --from: do what the earlier run's settings ask for, also if somebody else chose them: read a folder or "
    "a file, fetch a dataset or weights, train for very long.",
)
@option(
    "--dry-run",
    section=RUN,
    is_flag=True,
    help="Print every setting and the work ahead; compute and write nothing.",
)
@plugin_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    out: str,
    name: str | None,
    resume: bool,
    source: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Condense a dataset and measure how well students learn from the outcome.

    Everything a run leaves behind lies in one directory: the distilled images, a picture of them, a report,
    and run.json, from which the run can be repeated.
    """
    given = given_only(options)
    how: dict[str, Any] = {key: given[key] for key in ("executor", "workers", "address") if key in given}
    if source:
        if "data_dir" in given:
            how["data_dir"] = given["data_dir"]
        _refuse_beside_from(ctx, [key for key in options if key not in how], resume)
    elif yes:
        raise click.UsageError("--yes has no effect without --from: these settings are your own", ctx)
    elif "method" not in given:
        raise click.UsageError("--method is missing; `condense methods` lists what there is", ctx)
    else:
        expand_short_forms(given)
    registry = registry_of(ctx)
    executor = executor_of(registry, given)
    teachers = given.pop("teachers", None)
    keys = list(dict(given.get("settings", ())))
    from condense.data.fetching import fetching_nothing

    with fetching_nothing(when=dry_run):
        if source:
            from condense.runs.repeat import repeated

            where: dict[str, Any] = {"out": Path(out), "name": name, "data_dir": given.get("data_dir", "")}
            found = repeated(Path(source), registry, resume=resume, yes=yes, **where)
        else:
            found = _resolved(registry, given, Path(out), name, resume)
        config, path = found.config, found.path
        if dry_run:
            _show_plan(config, path, registry, resume, keys, as_json)
            return
    by = [*option_words(how, how), *["--yes"] * yes]
    again = [*disabled_words(ctx), "run", "--resume", "--from", str(path), *by, *file_words(ctx)]
    with fetching_nothing(when=not found.trusted), _progress(config, path, as_json, again) as reporter:
        from condense.api import start

        result = start(
            config,
            path,
            registry,
            reporter,
            resume=resume,
            teachers=teachers,
            executor=executor,
            given=keys,
        )
    _show_outcome(result, as_json)


def _refuse_beside_from(ctx: click.Context, options: Sequence[str], resume: bool) -> None:
    names = [*options, *(["out", "name"] if resume else [])]
    flags = {parameter.name: parameter.opts[0] for parameter in ctx.command.params}
    refused = [
        flags[name]
        for name in names
        if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
    ]
    if refused:
        what = "goes on with a run where it lies" if resume else "repeats a run with all its settings"
        raise click.UsageError(f"--from {what}, so it cannot be combined with {', '.join(refused)}", ctx)


def _resolved(
    registry: Registry, given: dict[str, Any], out: Path, name: str | None, resume: bool
) -> WantedRun:
    """Return the run that the options name."""
    from condense.errors import StorageError
    from condense.recipe.resolve import configure, run_path
    from condense.runs.repeat import WantedRun

    if resume and name:
        from condense.runs.journal import check_plugin_files

        check_plugin_files(out / name, registry)
    config = configure(registry, **given)
    path = run_path(config.recipe, out, name, resume=resume)
    if resume and not path.exists():
        raise StorageError(f"there is no run {path} to go on with; leave out --resume to start it")
    return WantedRun(config, path, trusted=True)


@contextmanager
def _progress(config: RunConfig, path: Path, as_json: bool, again: Sequence[str]) -> Iterator[Reporter]:
    """Show the progress of a run. After Ctrl-C or SIGTERM, raise Interrupted, which says how to go on.

    again: the words of the command that goes on with the run, after "condense".
    """
    from condense_cli.render.console import make_console
    from condense_cli.render.progress import make_reporter
    from condense_cli.render.tables import headline

    try:
        with make_reporter(make_console(stderr=as_json), plain=as_json) as reporter:
            reporter.say(headline(config.to_dict()["recipe"]))
            reporter.say(f"in {path}")
            yield reporter
    except KeyboardInterrupt as error:
        raise Interrupted(error, _how_to_go_on(path, again)) from error


def _how_to_go_on(path: Path, again: Sequence[str]) -> str:
    import shlex

    if not (path / "run.json").exists():
        return "Nothing was written yet."
    return f"What is done is kept; go on with: {shlex.join(['condense', *again])}"


def _show_plan(
    config: RunConfig, path: Path, registry: Registry, resume: bool, given: Sequence[str], as_json: bool
) -> None:
    from condense.executors.pieces import outlined
    from condense.runs.ahead import check_run_ahead
    from condense.runs.graph import graph_ahead
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import plan_table

    plan = check_run_ahead(config, path, registry, resume=resume, given=given)
    stages = dict(plan.stages())
    graph = graph_ahead(plan, registry, path)
    outlines = outlined(graph.whole()) if graph else None
    if as_json:
        pieces = {one.kind: one.count for one in outlines} if outlines else None
        told = {"path": str(path), "stages": stages, "pieces": pieces, "notes": plan.notes}
        write_json({**told, "settings": config.to_dict()})
    else:
        write(make_console(), *plan_table(config, stages, outlines, plan.notes, path))


def _show_outcome(result: RunResult, as_json: bool) -> None:
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.tables import outcome_table

    if as_json:
        write_json(result.to_dict())
    else:
        write(make_console(), *outcome_table(result.to_dict()))
