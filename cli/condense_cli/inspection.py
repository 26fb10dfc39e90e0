"""What the listing commands have in common: a group that lists by itself and shows one thing with `show NAME`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from condense_cli.options import json_option
from condense_cli.registry import registry_of

Lines = Callable[[click.Context], Iterable[Mapping[str, str]]]
# The things of one name in full: mostly one; several components may share a name across kinds.
Details = Callable[[click.Context, str], list[dict[str, Any]]]


def listing_group(
    name: str, *, summary: str, columns: Sequence[str], lines: Lines, details: Details
) -> click.Group:
    """A group NAME that prints `lines`, with a command `show` that prints `details`."""

    @click.group(name, help=summary, invoke_without_command=True)
    @json_option
    @click.pass_context
    def group(ctx: click.Context, as_json: bool) -> None:
        if ctx.invoked_subcommand is None:
            _print_lines(list(lines(ctx)), columns, as_json)

    @group.command("show", help=f"Print one of the {name} in full.")
    @click.argument("wanted", metavar="NAME")
    @json_option
    @click.pass_context
    def show(ctx: click.Context, wanted: str, as_json: bool) -> None:
        parent_json = ctx.parent is not None and bool(ctx.parent.params.get("as_json"))
        _print_details(details(ctx, wanted), as_json or parent_json)

    return group


def offer_group(kind: str, *, summary: str) -> click.Group:
    """The group of one kind of thing that plugins offer: `condense models` for "model"."""

    def lines(ctx: click.Context) -> list[dict[str, str]]:
        from condense_cli.offers import line_of

        return [line_of(offer, kind) for offer in registry_of(ctx).offers(kind)]

    def details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
        from condense_cli.offers import data_of

        return [data_of(registry_of(ctx), kind, name)]

    return listing_group(
        f"{kind}s", summary=summary, columns=("name", "plugin", "summary"), lines=lines, details=details
    )


def _print_lines(rows: list[Mapping[str, str]], columns: Sequence[str], as_json: bool) -> None:
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.listing import listing

    if as_json:
        write_json(rows)
    else:
        write(make_console(), listing(rows, columns), one_line_each=True)


def _print_details(found: list[dict[str, Any]], as_json: bool) -> None:
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.listing import detail

    if as_json:
        write_json(found[0] if len(found) == 1 else found)
        return
    console = make_console()
    for position, data in enumerate(found):
        write(console, *([""] if position else []), *detail(data))
