"""Load one plugin: import its module, ask its hooks, check their answers. What fails is told with its place.

Nothing that a plugin does here can take condense down or mix its words into the output: errors become a `Failure`,
and what it prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from condense.errors import CondenseError, PluginError, unknown_name
from condense.recipe import hooks as hookspecs
from condense.recipe.places import place_of, root_of, traceback_of
from condense.recipe.presets import check_offer

# Packages that take long to import and that only a run needs.
HEAVY = (
    *("torch", "torchvision", "timm", "tensorflow", "jax", "transformers", "datasets", "lightning"),
    *("scipy", "sklearn", "pandas", "matplotlib", "ot", "numpy", "PIL", "cv2"),
)
IMPORT = "import"

# A kind and its spec, as `Offer` has it.
Answer = tuple[str, Any]
Kinds = Mapping[str, tuple[str, type]]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong when a plugin was loaded, and where.

    what: the error in a line, "ZeroDivisionError: division by zero".
    hook: the hook that failed, "import" for the import of the module, or "" for the plugin as a whole.
    file, line: where that is in the plugin's code; "" and 0 if it is not known.
    traceback: as Python prints it; "" for what condense refuses without running the plugin.
    """

    what: str
    hook: str = ""
    file: str = ""
    line: int = 0
    traceback: str = ""

    @property
    def place(self) -> str:
        """The file's name and the line, "plugin.py, line 12"; "" if they are not known."""
        name = Path(self.file).name
        return f"{name}, line {self.line}" if self.line else name

    def __str__(self) -> str:
        """Return hook, place and error in one line."""
        where = f" ({self.place})" if self.place else ""
        if not self.hook or self.what.startswith(self.hook):
            return f"{self.what}{where}"
        return f"{self.hook} failed{where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The module of a plugin, and what its import cost.

    seconds: how long the import took. heavy: the heavy packages that nothing had imported before.
    """

    module: ModuleType
    seconds: float
    heavy: tuple[str, ...] = ()


class LoadError(Exception):
    """A plugin that could not be loaded, with its `failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def import_plugin(find: Callable[[], ModuleType], root: Callable[[], Path | None]) -> Imported:
    """Import the module of a plugin. Raises LoadError.

    find: imports the module. root: finds the file or folder of the plugin's code, as `root_of` does.
    """
    before, began = set(sys.modules), time.perf_counter()
    with _failing(IMPORT, root):
        module = find()
    seconds = time.perf_counter() - began
    with _failing("", root):
        _check_api(module)
    return Imported(
        module=module,
        seconds=seconds,
        heavy=tuple(name for name in HEAVY if name in sys.modules and name not in before),
    )


def answers_of(module: ModuleType, kinds: Kinds) -> list[Answer]:
    """Return what a plugin offers, with the kinds. Raises LoadError.

    kinds: for each hook, the kind of its answers and the type that each must have.
    """

    def root() -> Path | None:
        return root_of(module.__name__)

    found: list[Answer] = []
    with _failing("", root):
        implemented = _implementations(module, kinds, root)
    for hook, function in implemented:
        kind, expected = kinds[hook]
        with _failing(hook, root, function):
            found += [(kind, spec) for spec in _checked(hook, function(), expected)]
            repeated = _first_repeated((kind, spec.name) for kind, spec in found)
            if repeated:
                raise PluginError(f"it offers two of the kind {repeated[0]} named {repeated[1]!r}")
    return found


def _checked(hook: str, answer: Any, expected: type) -> Iterable[Any]:
    """Return the answer of a hook. Raises PluginError or ValueError for one that cannot be used."""
    if not isinstance(answer, (list, tuple)):
        raise PluginError(f"{hook} must give a list of {expected.__name__}, not {answer!r}")
    for spec in answer:
        if not isinstance(spec, expected):
            raise PluginError(f"{hook} gave {spec!r}, which is not an instance of {expected.__name__}")
        check_offer(spec)
    return answer


def _implementations(
    module: ModuleType, kinds: Kinds, root: Callable[[], Path | None]
) -> list[tuple[str, Callable[[], Any]]]:
    """Return the hooks that a module implements, in the order of the contract. Raises LoadError."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    found: list[tuple[str, Callable[[], Any]]] = []
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        if marked is None and name not in kinds:
            continue
        hook, function = (marked and marked["specname"]) or name, getattr(module, name)
        with _failing(hook, root, function):
            if marked is None:
                raise PluginError(f"{hook} is not marked with @condense.hookimpl")
            if hook not in kinds:
                raise unknown_name("hook", hook, kinds)
            arguments = [*inspect.signature(function).parameters]
            if arguments:
                raise PluginError(f"{hook} must take no arguments, and this one takes {', '.join(arguments)}")
        found.append((hook, function))
    order = [*kinds]
    return sorted(found, key=lambda pair: order.index(pair[0]))


def _first_repeated(pairs: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        if pair in seen:
            return pair
        seen.add(pair)
    return None


def _check_api(module: ModuleType) -> None:
    version = getattr(module, "condense_api", hookspecs.API_VERSION)
    if version != hookspecs.API_VERSION:
        raise PluginError(
            f"it speaks version {version} of the plugin contract and this condense speaks "
            f"{hookspecs.API_VERSION}; update the older of the two"
        )


@contextlib.contextmanager
def _failing(
    hook: str, root: Callable[[], Path | None], function: Callable[..., Any] | None = None
) -> Iterator[None]:
    """Run a plugin's code in the block: raise LoadError for an error, and send what it prints to stderr.

    root: finds the file or folder of the plugin's code, as `root_of` does. function: the hook's implementation.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except LoadError:
        raise
    except (Exception, SystemExit) as error:  # A plugin's code may raise anything.
        raise LoadError(_failure_of(error, hook, root(), function)) from error


def _failure_of(
    error: Exception | SystemExit, hook: str, root: Path | None, function: Callable[..., Any] | None
) -> Failure:
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # str would repeat the place
    said = (text.splitlines() or [""])[0]
    named = "" if isinstance(error, CondenseError) else type(error).__name__
    what = ": ".join(filter(None, (named, said)))
    file, line = place_of(error, root, function)
    return Failure(what=what, hook=hook, file=file, line=line, traceback=traceback_of(error, root))
