"""The `condense` command. Each command is imported only when it is called, so `condense --help` answers at once."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import click

from condense_cli import signals
from condense_cli.options import Interrupted

# Where each command lives, as "module:function"; the module is imported when the command is called.
_HOME: Mapping[str, str] = {
    "run": "run:command",
    "evaluate": "evaluate:command",
    "push": "share:push",
    "import": "share:import_",
    "plan": "plan:command",
    "teacher": "teacher:command",
    "status": "status:command",
    "compare": "compare:compare",
    "sweep": "compare:sweep",
    "ablate": "compare:ablate",
    "methods": "listings:methods",
    "datasets": "listings:datasets",
    "models": "listings:models",
    "protocols": "listings:protocols",
    "components": "listings:components",
    "plugins": "plugins:command",
}
# The name of each command and its line in `condense --help`.
COMMANDS: Mapping[str, str] = {
    "run": "Condense a dataset and measure how well students learn from the outcome.",
    "evaluate": "Train and test students on a distilled dataset made earlier.",
    "push": "Upload a distilled dataset to the Hugging Face hub.",
    "import": "Make an artifact of a distilled dataset that others published.",
    "plan": "Say what a run takes before it starts: work, time, memory, bytes on disk.",
    "teacher": "Train a teacher by itself; with torchrun, by several processes and GPUs together.",
    "status": "Say which runs are done, running, interrupted or failed.",
    "compare": "Compare methods under one teacher, the same students, protocols and seeds.",
    "sweep": "Compare one method with every combination of the values of some settings.",
    "ablate": "Compare a method with its variants, or without each of its components.",
    "methods": "List the methods; `methods show NAME` prints one.",
    "datasets": "List the datasets; `datasets show NAME` prints one.",
    "models": "List the networks; `models show NAME` prints one.",
    "protocols": "List the evaluation protocols; `protocols show NAME` prints one.",
    "components": "List the parts methods are made of; `components show NAME` prints one.",
    "plugins": "List the plugins found, and why any was set aside; show, check or make one.",
}


@contextlib.contextmanager
def _escaped_errors() -> Iterator[None]:
    """Let errors name classes, methods and files of anybody without steering the terminal."""
    try:
        yield
    except click.ClickException as error:
        from condense.text import escaped

        text = error.format_message()
        if escaped(text) == text:
            raise
        if isinstance(error, click.UsageError):
            raise click.UsageError(escaped(text), error.ctx) from error
        raise click.ClickException(escaped(text)) from error


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called or its help is requested."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command and return the command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = _HOME[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"condense_cli.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command. Raises UsageError, which names the nearest, for an unknown one."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            guess = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"unknown command {args[0]!r}.{guess} There are: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their lines, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Parse the command line. What steers a terminal becomes escapes in the messages of errors."""
        with _escaped_errors():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn the errors meant for users into a message and an exit status."""
        with _escaped_errors():
            return self._invoked(ctx)

    def _invoked(self, ctx: click.Context) -> Any:
        from condense.errors import CondenseError

        try:
            return super().invoke(ctx)
        except CondenseError as error:
            if ctx.params["traceback"]:
                traceback.print_exc()
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt as error:
            raise Interrupted(error) from error


def _version(ctx: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from condense.version import host_version

        click.echo(f"condense {host_version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A first run, with a dataset that comes along: condense run --method wmdd",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
)
@click.option(
    "--disable-plugin",
    "disabled",
    metavar="NAME",
    multiple=True,
    help="Do not even import this plugin; repeatable. CONDENSE_DISABLE_PLUGINS=NAME,... does the same.",
)
@click.option(
    "--traceback", is_flag=True, envvar="CONDENSE_TRACEBACK", help="With errors, show where they arose."
)
def cli(disabled: tuple[str, ...], traceback: bool) -> None:
    """Turn a large labelled image dataset into a small synthetic one that trains nearly as well."""


def main() -> None:
    """Run the console script."""
    signals.install()
    # OpenMP's threads spin while they wait. With another program on the cores, that made runs 4 times slower;
    # sleeping instead costs about a quarter on an idle machine. It must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show ± shows a question mark; without this, the run would end with an error.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    cli(prog_name="condense")
