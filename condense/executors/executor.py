"""What does pieces: the contract between the driver, executors and workers.

The driver has a graph of pieces and one `Crew`. It gives the crew pieces that are ready, and the crew says what became
of them. A worker of the crew builds its site once, from an order, and does pieces there. Paths and settings travel
between processes, and never tensors: a piece reads and writes files of the run directory.
"""

from __future__ import annotations

import importlib
import pickle
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from condense.errors import CondenseError, PluginError, StorageError
from condense.executors.pieces import Event, Failed, Finished, Piece
from condense.executors.placement import Placement
from condense.runtime import Reporter

# A call of a Reporter's method: its name, and its arguments.
Message = tuple[str, tuple[Any, ...]]
# Tells the driver what a worker reports of a piece.
Tell = Callable[[Piece, Message], None]


class Site(Protocol):
    """Where a worker does pieces: plugins, real images, networks, all built once."""

    def do(self, piece: Piece, reporter: Reporter) -> Mapping[str, Any]:
        """Do a piece, write its outputs and return what it found as plain data."""


class Order(Protocol):
    """What a worker needs to build its site. It can be pickled, and holds paths and settings, no tensors."""

    @property
    def kind(self) -> str:
        """The kind of device that computes: "cpu", "cuda", "mps", or "cuda:1" for that one alone."""

    @property
    def probe(self) -> str:
        """The path of a file that every worker must see, or its storage is not shared; "" for none."""

    def site(self, placement: Placement) -> AbstractContextManager[Site]:
        """Build a site inside the block. The settings of the whole process are changed inside it."""


class Crew(ABC):
    """The workers of one driver. Each does one piece at a time.

    size: how many there are, or may be. threads: of torch that each has; 0 for as many as the driver.
    alone: threads of torch for a piece that is done alone; 0 for as many as for any other.
    """

    size: int
    threads: int = 0
    alone: int = 0

    @abstractmethod
    def idle(self) -> int:
        """Return how many further pieces can be given now."""

    @abstractmethod
    def give(self, piece: Piece) -> None:
        """Give a piece to a worker that has none."""

    @abstractmethod
    def wait(self) -> Sequence[Event]:
        """Wait until something happens to a piece that was given, and return what."""


class Executor(ABC):
    """A way to have pieces done; what the `build` of an `ExecutorSpec` returns."""

    alone: bool = False  # whether all pieces are done in the driver's own process

    @abstractmethod
    def crew(self, order: Order, own: Site, tell: Tell) -> AbstractContextManager[Crew]:
        """Have workers inside the block. They end with it, also if it raises.

        order: for sites in other processes. own: the site of the driver. tell: told of what workers report.
        """

    def describe(self) -> str:
        """Return the executor for people."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class PieceReporter:
    """The Reporter of a piece: it passes everything on to the driver, with the piece that it is about."""

    piece: Piece
    tell: Tell

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Report that a piece of work begins."""
        self.tell(self.piece, ("start", (stage, detail, total, unit)))

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Report that `count` units are done."""
        self.tell(self.piece, ("advance", (count, values)))

    def finish(self, summary: str = "") -> None:
        """Report that the piece of work is done."""
        self.tell(self.piece, ("finish", (summary,)))

    def note(self, text: str) -> None:
        """Report something that the user should know."""
        self.tell(self.piece, ("note", (text,)))


def attempt(site: Site, piece: Piece, tell: Tell) -> Finished | Failed:
    """Do a piece at a site, and return what became of it. An interruption passes, and so does a closed output."""
    began = time.perf_counter()
    try:
        facts = site.do(piece, PieceReporter(piece, tell))
    except BrokenPipeError:
        raise  # The reader of our output has gone; the piece has not failed.
    except (Exception, SystemExit) as error:  # A plugin's code may raise anything.
        return Failed(piece=piece, error=error, seconds=time.perf_counter() - began)
    return Finished(piece=piece, facts=facts, seconds=time.perf_counter() - began)


class RemoteError(Exception):
    """The traceback of an error in another process, as the cause of that error here."""


def packed(event: Finished | Failed) -> bytes:
    """Return what became of a piece as bytes for the driver's process. An error takes its traceback along as text."""
    if isinstance(event, Finished):
        return pickle.dumps((event, ""))
    told = "".join(traceback.format_exception(event.error))
    # An error that is meant for users is told with its traceback only if another one caused it.
    shown = "" if isinstance(event.error, CondenseError) and event.error.__cause__ is None else told
    try:
        made = pickle.dumps((event, shown))
        pickle.loads(made)
    except (
        Exception
    ):  # An error of a plugin may hold anything, and may be of a class that cannot be made again.
        plain = RuntimeError(f"{type(event.error).__name__}: {event.error}")
        made = pickle.dumps((Failed(piece=event.piece, error=plain, seconds=event.seconds), told))
    return made


def unpacked(made: bytes) -> Finished | Failed:
    """Return what `packed` was given; the cause of an error is its traceback in the other process."""
    event: Finished | Failed
    event, told = pickle.loads(made)
    if isinstance(event, Failed) and told:
        event.error.__cause__ = RemoteError(f"\n{told}")
    return event


def needed_package(executor: str, package: str, extra: str) -> ModuleType:
    """Return a package that an executor needs. extra: that of condense which has it. Raises PluginError without it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise PluginError(
            f"the executor {executor!r} needs the package {package}: pip install 'condense-toolkit[{extra}]'"
        ) from error


def not_shared(path: str, where: str) -> StorageError:
    """Return the error for a worker that does not see a file of the driver."""
    return StorageError(
        f"{where} does not see {path}: workers read and write the run directory, so it must lie on storage that all of "
        "them share; choose it with --out"
    )
