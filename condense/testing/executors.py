"""Whether an executor does the pieces of a run as this process does them, tells their errors, and ends its workers."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from condense.errors import CondenseError, DataError
from condense.executors.executor import Crew, Executor, Order, Site, Tell
from condense.executors.local import Local
from condense.executors.pieces import Piece
from condense.executors.placement import Placement
from condense.recipe.registry import Registry
from condense.recipe.specs import ExecutorSpec, NoOptions
from condense.runs.pipeline import run
from condense.runs.site import RunOrder
from condense.runtime import Reporter, SilentReporter
from condense.testing.findings import Answer
from condense.testing.subjects import COLOUR, Subject, with_offers
from condense.testing.time_limit import Overtime, limited
from condense.testing.trial import Trial, differing, sentence_of

# Seconds that a worker may take to end after its run.
_TO_END = 15.0
# Seconds that a run may take, which takes some seconds in this process. Jobs of a cluster may have to wait.
_LONGEST = 600.0
_ERROR = "the images of this piece cannot be read, because the check `failure` wants to see how that is told"


class _KnowingOrder(RunOrder):
    """An order whose workers know the made-up images as well."""

    def registry(self) -> Registry:
        """Return what the plugins of a worker offer, with the made-up images."""
        return with_offers(super().registry())


@dataclass(frozen=True, kw_only=True)
class _WatchedOrder:
    """An order with sites that write down which process does pieces, and where pieces of one kind fail.

    marks: a folder that gets a file for each process. fails: the kind; "" for none.
    """

    order: RunOrder
    marks: str
    fails: str

    @property
    def kind(self) -> str:
        """The device that computes."""
        return self.order.kind

    @property
    def probe(self) -> str:
        """A file that every worker must see."""
        return self.order.probe

    @contextmanager
    def site(self, placement: Placement) -> Iterator[Site]:
        """Build a site inside the block."""
        with self.order.site(placement) as site:
            yield self.watched(site)

    def watched(self, site: Site) -> Site:
        """Return a site that is watched."""
        return _WatchedSite(site, Path(self.marks), self.fails)


@dataclass(frozen=True)
class _WatchedSite:
    site: Site
    marks: Path
    fails: str

    def do(self, piece: Piece, reporter: Reporter) -> Mapping[str, Any]:
        """Do a piece, or fail."""
        (self.marks / str(os.getpid())).write_text(platform.node(), encoding="utf-8")
        if piece.kind == self.fails:
            raise DataError(_ERROR)
        return self.site.do(piece, reporter)


class _Watching(Executor):
    """The executor that is tried, with orders and sites that are watched.

    threads: of each of them; 0 for as many as the driver.
    """

    def __init__(self, executor: Executor, marks: Path, fails: str) -> None:
        self._executor, self._marks, self._fails = executor, marks, fails
        self.alone = executor.alone
        self.place = Placement(device="cpu")

    @contextmanager
    def crew(self, order: Order, own: Site, tell: Tell) -> Iterator[Crew]:
        """Have the workers of the executor inside the block."""
        assert isinstance(order, RunOrder)
        knowing = _KnowingOrder(**{field.name: getattr(order, field.name) for field in fields(order)})
        watched = _WatchedOrder(order=knowing, marks=str(self._marks), fails=self._fails)
        with self._executor.crew(watched, watched.watched(own), tell) as crew:
            self.place = Placement(device="cpu", threads=crew.threads, alone=crew.alone)
            yield crew


class _WithThreads(Local):
    """The executor of this process, with as many threads of torch for each piece as a worker at a place has."""

    def __init__(self, place: Placement) -> None:
        super().__init__(NoOptions())
        self._place = place

    @contextmanager
    def crew(self, order: Order, own: Site, tell: Tell) -> Iterator[Crew]:
        """Have this process as the one worker; its threads are as before after the block."""
        before = torch.get_num_threads()
        try:
            with super().crew(order, _ThreadedSite(own, self._place), tell) as crew:
                yield crew
        finally:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class _ThreadedSite:
    """A site whose pieces have the threads of a place."""

    site: Site
    place: Placement

    def do(self, piece: Piece, reporter: Reporter) -> Mapping[str, Any]:
        """Do a piece."""
        self.place.set_threads(alone=piece.alone)
        return self.site.do(piece, reporter)


class _Counting(SilentReporter):
    """Counts the units that pieces report as done."""

    units = 0

    def advance(self, count: int, values: Any = None) -> None:
        """Count."""
        self.units += count


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """A run by an executor.

    path: its directory. error: what ended it, or None. units: that its pieces reported.
    refused: whether no piece was begun, because the executor lacks something. endless: whether it had to be ended.
    place: with the threads of each worker.
    left: the processes of this computer that did its pieces and were there some time after its end.
    """

    path: Path
    error: BaseException | None
    units: int
    refused: bool
    endless: bool
    place: Placement
    left: tuple[int, ...]


class TriedExecutor:
    """An executor with its usual options and the runs that it did.

    method: a recipe that `registry` knows besides what is installed. folder: where the runs lie.
    """

    def __init__(self, spec: ExecutorSpec, method: str, registry: Registry, folder: Path) -> None:
        self._spec, self._registry, self._folder = spec, registry, folder
        self._trial = Trial(Subject(title=method, method=method, students=2), registry, folder)

    def pieces(self) -> Answer:
        """Compare a run of several chunks and students with one of this process."""
        broken = self._broken
        if broken:
            return broken
        whole = self._whole
        if whole.error:
            return "failed", f"a run of several pieces failed: {sentence_of(whole.error)}"
        own = self._run("own", _WithThreads(whole.place))  # The last bits of sums depend on threads.
        if own.error:
            return "skipped", f"the run fails in this process too: {sentence_of(own.error)}"
        other = differing(own.path, whole.path)
        if other:
            return "failed", f"{other} is another than in one process; give workers the order as it is"
        if own.units != whole.units:
            return "failed", (
                f"pieces reported {whole.units} units of work where this process reports {own.units}; pass what `send` "
                "gets to `tell`, all of it before the piece ends"
            )
        return "passed", "a run of several chunks and students left the same bytes"

    def failure(self) -> Answer:
        """Look at the error of a run whose student fails."""
        if self._broken:
            return self._broken
        error = self._failing.error
        if self._failing.endless:
            assert error is not None
            return "failed", f"a piece raised DataError, and its run did not end: {error}"
        if isinstance(error, DataError) and str(error) == _ERROR:
            return "passed", "the error of a student ended its run"
        came = sentence_of(error) if error else "nothing"
        return "failed", f"a piece raised DataError, and {came} came; return what `unpacked` gives as it is"

    def workers(self) -> Answer:
        """Look for processes that are still there."""
        if self._broken:
            return self._broken
        if sys.platform == "win32":
            return "skipped", "the processes of workers cannot be seen on Windows"
        for attempt, which in ((self._whole, "a run"), (self._failing, "a run that failed")):
            if attempt.left:
                return "failed", (
                    f"process {attempt.left[0]} is still there {_TO_END:.0f} s after {which}; end workers when the "
                    "block of `crew` ends, in a finally"
                )
        return "passed", "no process of this computer that did a piece is left"

    @cached_property
    def _broken(self) -> Answer | None:
        """Why nothing can be tried, or None."""
        if self._registry.chosen is None:
            return "skipped", "other processes cannot load a registry that was put together by hand"
        try:
            with limited(_LONGEST):
                made: object = self._spec.builder()(self._spec.options())
        except Overtime:
            return "failed", f"it was not built after {_LONGEST:.0f} s"
        except CondenseError as error:
            return "skipped", f"it cannot be tried here: {error}"
        except Exception as error:  # What comes of a plugin's code may be anything.
            return "failed", sentence_of(error)
        if not isinstance(made, Executor):
            return "failed", f"it was built as {made!r}, which is not a condense.Executor"
        if self._whole.refused:
            assert self._whole.error is not None
            return "skipped", f"it cannot be tried here: {sentence_of(self._whole.error)}"
        if self._whole.endless:
            return "failed", f"a run of several pieces did not end: {self._whole.error}"
        return None

    @cached_property
    def _whole(self) -> _Attempt:
        return self._run("whole", self._spec.builder()(self._spec.options()))

    @cached_property
    def _failing(self) -> _Attempt:
        return self._run("failing", self._spec.builder()(self._spec.options()), fails="student")

    def _run(self, name: str, executor: Executor, fails: str = "") -> _Attempt:
        path = self._folder / f"executor-{self._spec.name}-{name}"
        marks = self._folder / f"{path.name}-processes"
        marks.mkdir()
        watching, counting = _Watching(executor, marks, fails), _Counting()
        config = self._trial.config(COLOUR, "one class")
        error: BaseException | None = None
        endless = False
        try:
            with limited(_LONGEST):
                run(config, path, registry=self._registry, reporter=counting, executor=watching)
        except Overtime:
            error = CondenseError(_endless(marks))
            endless = True
        except (Exception, SystemExit) as raised:  # What comes of a plugin's code may be anything.
            error = raised
        seen = [int(mark.name) for mark in marks.iterdir() if mark.read_text("utf-8") == platform.node()]
        return _Attempt(
            path=path,
            error=error,
            units=counting.units,
            refused=isinstance(error, CondenseError) and not endless and not any(marks.iterdir()),
            endless=endless,
            place=watching.place,
            left=_left({*seen} - {os.getpid()}),
        )


def _endless(marks: Path) -> str:
    """Return what there is to say of a run that had to be ended. marks: its folder of marks."""
    if any(marks.iterdir()):
        return f"pieces were begun, and after {_LONGEST:.0f} s `wait` had not told the end of each; let it"
    return (
        f"no piece was begun in {_LONGEST:.0f} s; have `idle` tell the free workers and `give` pass the piece to one "
        "(and if jobs of a cluster wait for their turn, check again when it is less busy)"
    )


def _left(processes: set[int]) -> tuple[int, ...]:
    """Return which of some processes of this computer are still there after a while."""
    until = time.monotonic() + _TO_END
    while True:
        there = tuple(sorted(pid for pid in processes if _is_there(pid)))
        if not there or time.monotonic() > until:
            return there
        time.sleep(0.1)


def _is_there(pid: int) -> bool:
    """Return whether a process is there. One that has ended and is not waited for is not."""
    if sys.platform == "win32":  # A signal would end it.
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return not Path("/proc/self/stat").exists()
