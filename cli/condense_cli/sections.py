"""Commands whose help is split into sections, and whose errors say what an unknown word was probably meant for."""

from __future__ import annotations

from typing import Any

import click

# The key in `ctx.meta` under which a command keeps the words it was called with.
WORDS = "condense_cli.words"


class SectionedOption(click.Option):
    """An option that names its section in the help and the default that the library has."""

    def __init__(self, *arguments: Any, section: str, default_shown: str, **more: Any) -> None:
        if default_shown:
            more["help"] = f"{more['help']}  [{default_shown}]"
        super().__init__(*arguments, **more)
        self.section, self.default_shown = section, default_shown


class SectionedCommand(click.Command):
    """A command whose help lists its options by section, in the order they were declared."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words. Raises UsageError, which says what an unknown word or option was probably meant for."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            others = _commands_with(error.option_name, ctx)
            if not others:
                raise
            raise click.UsageError(
                f"No such option {error.option_name!r} here; {', '.join(others)} {'have' if others[1:] else 'has'} it",
                ctx,
            ) from error
        except click.UsageError as error:
            if type(error) is not click.UsageError and not isinstance(error, click.MissingParameter):
                raise
            given, extra, _ = self.make_parser(ctx).parse_args(words)
            if not extra:
                raise
            names = {parameter.name for parameter in self.params}
            if "method" in names and not given.get("method") and "methods" not in names:
                raise click.UsageError(
                    f"a method is named by --method: {ctx.command_path} --method {extra[0]}", ctx
                ) from error
            raise click.UsageError(
                f"{extra[0]!r} belongs to no option; a value with spaces needs quotes around it", ctx
            ) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list for each section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", "Output"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _commands_with(option_name: str, ctx: click.Context) -> list[str]:
    """Return the other commands that have an option, such as "condense compare"; at most three."""
    parent = ctx.parent
    if parent is None or not isinstance(parent.command, click.Group):
        return []
    group, found = parent.command, []
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command and any(option_name in parameter.opts for parameter in command.params):
            found.append(f"{parent.command_path} {name}")
    return found[:3]


class RepeatableCommand(SectionedCommand):
    """A command that keeps the words it was called with, to say how to go on."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, then parse them; parsing uses them up."""
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)
