"""Which plugins a command loads: the options that say so, and the registry of what these plugins offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from condense_cli.options import option

if TYPE_CHECKING:
    from condense.recipe.registry import PluginStatus, Registry

F = TypeVar("F", bound=Callable[..., Any])

# The key in `ctx.meta`, which a command shares with its group, under which the files of --plugin are kept.
_FILES = "condense_cli.plugin_files"


def plugin_option(function: F) -> F:
    """Add the option --plugin to a command that loads plugins; `registry_of` reads it."""
    return option(
        "--plugin",
        "plugin_files",
        section="Plugins",
        metavar="FILE.py",
        multiple=True,
        expose_value=False,
        callback=_keep_files,
        help="Load the plugin in this file, which need not be installed; repeatable.",
    )(function)


def _keep_files(ctx: click.Context, _parameter: click.Parameter, files: tuple[str, ...]) -> None:
    ctx.meta[_FILES] = (*ctx.meta.get(_FILES, ()), *files)


def file_words(ctx: click.Context) -> list[str]:
    """Return the options --plugin that were given, as words of a command line."""
    return [word for file in _files(ctx) for word in ("--plugin", file)]


def disabled_words(ctx: click.Context) -> list[str]:
    """Return the options --disable-plugin that were given, as words of a command line."""
    return [word for name in _disabled(ctx) for word in ("--disable-plugin", name)]


def _files(ctx: click.Context) -> tuple[str, ...]:
    files: tuple[str, ...] = ctx.meta.get(_FILES, ())
    return files


def _disabled(ctx: click.Context) -> tuple[str, ...]:
    names: tuple[str, ...] = ctx.find_root().params.get("disabled", ())
    return names


def registry_of(ctx: click.Context, *, may_fail: bool = False) -> Registry:
    """Return what the plugins offer, and name those that failed on stderr, with --traceback where they failed.

    may_fail: whether the command itself shows what failed.

    Raises PluginError for a file of --plugin that could not be loaded, unless it may fail.
    """
    from condense.recipe.registry import DISABLED, load_registry

    registry = load_registry(_disabled(ctx), files=_files(ctx))
    broken = [status for status in registry.plugins if status.problem not in ("", DISABLED)]
    if ctx.find_root().params.get("traceback"):
        _show_tracebacks(broken)
    if may_fail:
        return registry
    for status in broken:
        if status.of_file:
            from condense.errors import PluginError

            raise PluginError(f"--plugin {status.file}: {status.problem}")
    if broken:
        names = ", ".join(dict.fromkeys(status.name for status in broken))
        click.echo(f"Set aside: {names}; `condense plugins` says why", err=True)
    return registry


def _show_tracebacks(broken: list[PluginStatus]) -> None:
    for status in broken:
        if status.failure and status.failure.traceback:
            click.echo(f"Plugin {status.name!r} was set aside:\n{status.failure.traceback}", err=True)
