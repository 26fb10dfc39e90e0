"""Calls into plugins: what they raise names the plugin, and what they draw from global generators is seeded."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from condense.errors import CondenseError, PluginError
from condense.rng import isolated_global_rng

if TYPE_CHECKING:
    import torch


def titled(kind: str, name: str, plugin: str) -> str:
    """Return a component as text for messages: "regularizer 'smooth' of plugin 'mine'". plugin: "" if not known."""
    return f"{kind} {name!r}" + (f" of plugin {plugin!r}" if plugin else "")


@contextmanager
def plugin_code(title: str, hook: str, draws: torch.Generator | None = None) -> Iterator[None]:
    """Turn an error of a plugin's code in the block into a PluginError that names the component and the hook.

    title: the component, as `titled` gives it. hook: what was called, such as "loss".
    draws: if given, the global generators are seeded from it in the block, so that one seed gives the same result also
        if the plugin draws from them.

    Errors that are raised on purpose, those of memory that ran out and those of a closed output stay as they are. The
    error itself is the cause of the PluginError.
    """
    with ExitStack() as stack:
        if draws is not None:
            stack.enter_context(isolated_global_rng(draws))
        try:
            yield
        except CondenseError:
            raise
        except Exception as error:  # A plugin's code may raise anything.
            if isinstance(error, BrokenPipeError) or _out_of_memory(error):
                raise
            said = (str(error).splitlines() or [""])[0]
            what = f"{type(error).__name__}: {said}" if said else type(error).__name__
            raise PluginError(f"{title} failed in {hook}{_place(error)}: {what}") from error


def _place(error: Exception) -> str:
    """Return where the error left the hook, " (target.py, line 12)"; "" if the hook was not entered."""
    frames = traceback.extract_tb(error.__traceback__)[
        2:
    ]  # after `plugin_code` and the block that calls the hook
    return f" ({Path(frames[0].filename).name}, line {frames[0].lineno})" if frames else ""


def _out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
