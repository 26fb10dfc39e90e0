"""`condense teacher`: train a teacher by itself, by one process or by those that torchrun starts."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from condense_cli import signals
from condense_cli.loaded import disabled_words, file_words, plugin_option, registry_of
from condense_cli.machine import compute_options, keep_option
from condense_cli.options import (
    Interrupted,
    given_only,
    json_option,
    option,
    option_words,
    set_option,
    skip_broken_option,
)
from condense_cli.sections import SectionedCommand

if TYPE_CHECKING:
    from condense.executors.ranks import Ranks
    from condense.runs.teachers import Taught

WHAT = "What is trained, and on what"
WHERE = "Where things lie and how they are computed"
# Settings that the run which uses the teacher needs too.
_ALSO_OF_THE_RUN = ("teacher.model", "dataset.", "preset")
_BY_SIGTERM = 128 + 15  # the exit status


class TeacherCommand(SectionedCommand):
    """The command. A wrong command line is told by the first of the processes that have it."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Parse the command line."""
        try:
            return super().make_context(*arguments, **more)
        except click.UsageError as error:
            from condense.executors.ranks import Ranks

            ranks = Ranks.started()
            if ranks is not None and ranks.number:
                sys.exit(error.exit_code)
            raise


@click.command("teacher", cls=TeacherCommand)
@click.argument("file", metavar="FILE")
@option(
    "--method",
    section=WHAT,
    metavar="NAME",
    help="Required: the method whose teacher it is; `condense methods` lists them.",
)
@option(
    "--dataset",
    section=WHAT,
    metavar="NAME",
    help="`condense datasets` lists them; folder:PATH takes your own images.",
    default_shown="fashion-mini",
)
@skip_broken_option(WHAT)
@option("--seed", section=WHAT, type=int, metavar="N", help="Seed of everything random.", default_shown="0")
@set_option(WHAT, "Change a setting below teacher. or dataset.; repeatable.")
@option(
    "--validation",
    section=WHAT,
    type=float,
    metavar="FRACTION",
    help="Hold out this fraction of the training images and test on it instead: for tuning.",
    default_shown="0",
)
@option("--data-dir", section=WHERE, metavar="DIR", help="Folder in which datasets lie.")
@compute_options(WHERE, compiles=False)
@keep_option(WHERE)
@plugin_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, file: str, as_json: bool, **options: Any) -> None:
    """Train a teacher by itself; with torchrun, by several processes and GPUs together.

    FILE ends in .safetensors and gets the weights; what is known of them goes into the file of that name that ends in
    .json. `condense run --teacher FILE` takes both. The same command goes on with a training that was interrupted.
    """
    from condense.executors.ranks import Ranks

    ranks = Ranks.started()
    with _one_voice(ranks):
        given = given_only(options)
        if "method" not in given:
            raise click.UsageError("--method is missing; `condense methods` lists what there is", ctx)
        taught = _taught(ctx, Path(file), given, ranks, as_json)
        if taught is not None:
            words = [*disabled_words(ctx), "run", *_words_of_run(given), *file_words(ctx), "--teacher", file]
            _show(taught, words, as_json)


def _taught(
    ctx: click.Context, file: Path, given: dict[str, Any], ranks: Ranks | None, as_json: bool
) -> Taught | None:
    """Train the teacher and show how far it is. Return None in all processes but the first."""
    from condense.errors import checked_path
    from condense.recipe.resolve import configure

    registry = registry_of(ctx)
    config = configure(registry, **given)
    from condense.runs.teaching import check_given, teach

    check_given(dict(given.get("settings", ())))
    checked_path(file)
    if ranks is not None and ranks.number:
        return teach(file, config, registry=registry, ranks=ranks)
    from condense_cli.render.console import make_console
    from condense_cli.render.progress import make_reporter

    with make_reporter(make_console(stderr=as_json), plain=as_json) as reporter:
        together = f", by {ranks.count} processes" if ranks else ""
        reporter.say(f"the teacher of {config.recipe.method} on {config.recipe.dataset.name}{together}")
        return teach(file, config, registry=registry, reporter=reporter, ranks=ranks)


@contextmanager
def _one_voice(ranks: Ranks | None) -> Iterator[None]:
    """Let one of several processes tell why all of them end, and the others end without a word."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        interrupted = error if isinstance(error, KeyboardInterrupt) else None
        if interrupted:
            signals.ignore()  # torchrun sends them again.
        if ranks is not None and not ranks.speaks:
            sys.exit(signals.exit_status(interrupted) if interrupted else 1)
        if interrupted:
            raise Interrupted(interrupted, _how_to_go_on(ranks, interrupted)) from error
        raise


def _how_to_go_on(ranks: Ranks | None, error: KeyboardInterrupt) -> str:
    again = "What was kept of the training is used when the same command is started again."
    if ranks is None or signals.exit_status(error) != _BY_SIGTERM:
        return again
    return f"{again} torchrun ends the processes so when one of them has gone; its report says which."


def _words_of_run(given: Mapping[str, Any]) -> list[str]:
    """Return the words of a run that uses the teacher, as far as they decide which teacher and which images it has."""
    words = option_words(given, ("method", "dataset", "validation", "data_dir"))
    for key, value in given.get("settings", ()):
        if key.startswith(_ALSO_OF_THE_RUN):
            words += ["--set", f"{key}={value}"]
    return words


def _show(taught: Taught, words: Sequence[str], as_json: bool) -> None:
    from condense_cli.render.console import make_console, write_json

    if as_json:
        about = {"accuracy": taught.accuracy, "seconds": taught.seconds, "processes": taught.processes}
        write_json({"file": str(taught.file), **about})
        return
    make_console().print(
        f"{taught.file}: {taught.accuracy:.1%} on the test images; use it with\n"
        f"    {shlex.join(['condense', *words])}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
