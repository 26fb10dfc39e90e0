"""Write docs/cli.md from the commands themselves: `python tools/make_cli_reference.py`. Imports no torch.

The text of the page is in cli.md.j2, beside this file. tests/test_cli_reference.py fails if docs/cli.md is not what
this makes.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import jinja2
from condense_cli.main import COMMANDS, cli

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 118

# The heading of options that have none in the help.
_OUTPUT = "Output"
# The command of every listing that prints one thing in full.
_SHOW = "show"
# Commands that share most options with an earlier one.
_LIKE = {"sweep": "compare", "ablate": "compare"}

Row = tuple[str, str, str]


class Command(NamedTuple):
    """A command on the page.

    path, usage, text: what is typed, with all arguments, and what the command does.
    sections: rows of options by heading, without those that `like` has too.
    like: an earlier command that shares most options; "" for none.
    """

    path: str
    usage: str
    text: str
    sections: Mapping[str, Sequence[Row]]
    like: str


def reference() -> str:
    """Return docs/cli.md. The template has the text; the commands give their options."""
    root = click.Context(cli, info_name="condense")
    contexts = {name: click.Context(found, info_name=name, parent=root) for name, found in _commands(root)}
    groups = [each for each in contexts.values() if isinstance(each.command, click.Group)]
    further = [below for group in groups for below in _below(group) if below.info_name != _SHOW]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # the page is Markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("cli.md.j2").render(
        options=[_row(option) for option in _options(cli)],
        commands=[
            _command(context, contexts.get(_LIKE.get(name, "")))
            for name, context in contexts.items()
            if context not in groups
        ]
        + [_command(below, None) for below in further],
        listings=list(_listings(groups)),
        listing_options=list(
            dict.fromkeys(_row(option) for each in groups for option in _options(each.command))
        ),
    )


def _commands(root: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        found = cli.get_command(root, name)
        assert found is not None, name
        yield name, found


def _command(context: click.Context, like: click.Context | None) -> Command:
    repeated = {_row(option) for option in _options(like.command)} if like else set()
    sections: dict[str, list[Row]] = {}
    for option in _options(context.command):
        row = _row(option)
        if row not in repeated:
            sections.setdefault(getattr(option, "section", _OUTPUT), []).append(row)
    return Command(
        path=context.command_path,
        usage=_usage(context),
        text=_text(context.command.help or ""),
        sections=sections,
        like=like.command_path if like else "",
    )


def _listings(groups: Iterable[click.Context]) -> Iterator[str]:
    """Yield how the commands are typed that list something and show one of it."""
    for context in groups:
        yield f"{context.command_path} [OPTIONS]"
        yield from (_usage(below) for below in _below(context) if below.info_name == _SHOW)


def _below(group: click.Context) -> Iterator[click.Context]:
    """Yield the commands of a group."""
    for name, command in getattr(group.command, "commands", {}).items():
        yield click.Context(command, info_name=name, parent=group)


def _usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _row(option: click.Option) -> Row:
    """Return how an option is written, its meaning and its default."""
    value = option.metavar or ""
    if isinstance(option.type, click.Choice):
        value = "|".join(map(str, option.type.choices))
    names = [" ".join(filter(None, (name, value))) for name in option.opts]
    default = getattr(option, "default_shown", "")
    meaning = (option.help or "").removesuffix(f"  [{default}]")
    if option.required:
        default = "required"
    elif option.show_default:
        default = str(option.default)
    return ", ".join(f"`{name}`" for name in (*names, *option.secondary_opts)), meaning, default


def _text(text: str) -> str:
    """Return a docstring in lines of one width."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()), WIDTH, break_long_words=False, break_on_hyphens=False)
        for part in paragraphs
    )


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(), encoding="utf-8", newline="\n")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
