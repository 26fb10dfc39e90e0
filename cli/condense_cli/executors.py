"""The options that say who does the work: --executor and --address."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from condense_cli.options import option

if TYPE_CHECKING:
    from condense.executors.executor import Executor
    from condense.recipe.registry import Registry

F = TypeVar("F", bound=Callable[..., Any])
# The help of --workers in commands that have these options.
WORKERS = (
    "Processes that decode images from files; 0 for threads. They change no result. With another --executor than "
    "local: how many workers it has."
)


def executor_options(section: str) -> Callable[[F], F]:
    """Return the options --executor and --address."""

    def add(function: F) -> F:
        executor = option(
            "--executor",
            section=section,
            metavar="NAME",
            help="Who does the pieces of the work: local (this process), processes (of this computer), or one of a "
            "plugin, such as ray.",
            default_shown="local",
        )
        address = option(
            "--address",
            section=section,
            metavar="TEXT",
            help="Where the executor is reached, such as Ray's head.",
        )
        return executor(address(function))

    return add


def executor_of(registry: Registry, given: dict[str, Any], jobs: int = 1) -> Executor:
    """Return the executor that options name, and take them out of `given`.

    `workers` stays for the executor that does everything in this process, and becomes 0 for others.
    """
    from condense.executors.catalog import LOCAL, chosen_executor

    found = chosen_executor(
        registry,
        given.pop("executor", LOCAL),
        workers=given.get("workers"),
        address=given.pop("address", ""),
        jobs=jobs,
    )
    if not found.alone:
        given["workers"] = 0
    return found
