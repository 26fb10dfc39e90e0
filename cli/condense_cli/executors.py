"""The options that say who does the work: --executor, --workers and --address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from condense_cli.options import option

if TYPE_CHECKING:
    from condense.executors.executor import Executor
    from condense.recipe.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])

_AUTO = "auto"


def executor_options(section: str) -> Callable[[F], F]:
    """Return the options --executor, --workers and --address."""

    def add(function: F) -> F:
        executor = option(
            "--executor",
            section=section,
            metavar="NAME",
            help="Who does the pieces of the work: local (this process), processes (of this computer), or one of a "
            "plugin, such as ray or submitit. auto is processes where many students learn on a CPU, otherwise local.",
            default_shown="auto",
        )
        workers = option(
            "--workers",
            section=section,
            type=click.IntRange(min=0),
            metavar="N",
            help="How many workers the executor has, if it is not local.",
            default_shown="its own",
        )
        address = option(
            "--address",
            section=section,
            metavar="TEXT",
            help="Where the executor is reached, such as Ray's head.",
        )
        return executor(workers(address(function)))

    return add


def executor_of(registry: Registry, given: dict[str, Any], jobs: int = 1) -> Executor | None:
    """Return the executor that options name, or None for the one that suits the work, and take them out of `given`.

    `loaders` stays for the executor that does everything in this process, and becomes 0 for others. A user who asks for
    loaders wants this process.
    """
    from condense.executors.catalog import LOCAL, chosen_executor

    if given.get("executor") == _AUTO:
        del given["executor"]
    if jobs == 1 and given.keys().isdisjoint({"executor", "workers", "address", "loaders"}):
        return None
    found = chosen_executor(
        registry,
        given.pop("executor", LOCAL),
        workers=given.pop("workers", None),
        loaders=given.get("loaders"),
        address=given.pop("address", ""),
        jobs=jobs,
    )
    if not found.alone:
        given["loaders"] = 0
    return found
