"""The plugins, loaded once for a command, without those that the user disabled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from condense.plugins import Registry

DISABLED = "disabled"


def registry_of(ctx: click.Context) -> Registry:
    """What the plugins offer. Says on stderr which were set aside, unless the user asked for that."""
    from condense.plugins import load_registry

    registry = load_registry(disabled_of(ctx))
    broken = [status.name for status in registry.plugins if status.problem not in ("", DISABLED)]
    if broken and ctx.info_name != "plugins":
        click.echo(f"Set aside: {', '.join(broken)}; `condense plugins` says why", err=True)
    return registry


def disabled_of(ctx: click.Context) -> tuple[str, ...]:
    """The names behind --disable-plugin."""
    names: tuple[str, ...] = ctx.find_root().params.get("disabled", ())
    return names
