"""Where in a plugin's code an error arose."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).parent)


def traceback_of(error: BaseException, root: Path | None) -> str:
    """Return the traceback from where the plugin's code begins; "" if none of it ran. root: as `root_of` returns it."""
    step = error.__traceback__
    while step is not None and not _inside(step.tb_frame.f_code.co_filename, root):
        step = step.tb_next
    if step is None and not isinstance(error, SyntaxError):
        return ""
    return "".join(traceback.format_exception(type(error), error, step))


def _inside(file: str, root: Path | None) -> bool:
    """Return whether a file is the plugin's. root: None if it is not known; then all but condense's own are."""
    return not file.startswith(_HERE) if root is None else Path(file).is_relative_to(root)


def place_of(
    error: BaseException, root: Path | None, function: Callable[..., Any] | None = None
) -> tuple[str, int]:
    """Return file and line of an error in the plugin's code: where it arose, else where the hook is defined.

    root: as `root_of` returns it. function: the hook's implementation. "" and 0 if nothing is known.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    for frame in reversed(traceback.extract_tb(error.__traceback__)) if root else ():
        if _inside(frame.filename, root):
            return frame.filename, frame.lineno or 0
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def root_of(module_name: str) -> Path | None:
    """Return the folder of the outermost package above a module, or the file of a module without one.

    None if there is no file. Imports nothing.
    """
    top = module_name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # It is not there, or was made without a file.
        return None
    if spec is None:
        return None
    folders = [*(spec.submodule_search_locations or ())]
    if folders:
        return Path(folders[0])
    return Path(spec.origin) if spec.has_location and spec.origin else None
