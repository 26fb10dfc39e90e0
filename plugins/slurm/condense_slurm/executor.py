"""The executor `submitit`: jobs of a SLURM cluster, each a worker that takes one piece after the other.

Jobs and driver talk through a folder (`condense_slurm.box`), so nothing is needed but the storage that runs need
anyway. A job is handed in when there is a piece for it, and a piece is done by whichever job is there first. A job that
ends, or is silent, is replaced, and its piece is given out again.
"""

from __future__ import annotations

import logging
import math
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense import (
    Crew,
    Executor,
    Failed,
    Finished,
    Lost,
    OptionError,
    Order,
    Piece,
    Site,
    StorageError,
    interrupts_ignored,
    needed_package,
    own_placement,
    unpacked,
)
from condense_slurm.box import DRIVER, Box, Message
from condense_slurm.options import SubmititOptions
from condense_slurm.worker import silent, work

_SHORTEST, _LONGEST = 0.05, 1.0  # seconds between two looks at the box
_JOBS = 1.0  # seconds between two looks at the jobs
_PATIENCE = 30.0  # seconds until a note says that no job has begun
_FRUITLESS = 3  # jobs in a row that may end without having taken a piece
_TO_END = 10.0  # seconds that jobs on this computer have to end
_LINES = 5  # of a log in a message


class Submitit(Executor):
    """Has pieces done by jobs of a SLURM cluster."""

    def __init__(self, options: SubmititOptions) -> None:
        """Raise PluginError if submitit is not installed."""
        self.options = options
        self._submitit = needed_package("submitit", "submitit", "slurm")
        # It writes to stdout, which belongs to results.
        logging.getLogger("submitit").setLevel(logging.CRITICAL)

    @contextmanager
    def crew(self, order: Order, own: Site, tell: Callable[[Piece, Message], None]) -> Iterator[Crew]:
        """Have jobs inside the block. They end with it, and with this process, however it ends."""
        above = Path(self.options.folder).absolute()
        try:
            above.mkdir(parents=True, exist_ok=True)
            box = Box(Path(tempfile.mkdtemp(prefix="condense-", dir=above)))
            box.prepare()
        except OSError as error:
            raise StorageError(f"the folder of jobs {above} cannot be made: {error}") from error
        crew = None
        try:
            crew = JobCrew(self._submitit, box, order, self.options, tell)
            with box.alive(DRIVER):
                try:
                    yield crew
                finally:
                    crew.end()
        finally:
            # Logs stay where a job has gone.
            if crew is None or crew.complete:
                shutil.rmtree(box.path, ignore_errors=True)
                with suppress(OSError):  # Others may have theirs in it.
                    above.rmdir()


@dataclass
class _Job:
    """A job of submitit, and whether its worker has been silent for long. seen: whether the worker ever was there."""

    job: Any
    silent: Callable[[], bool]
    seen: bool = False
    took: bool = False


class JobCrew(Crew):
    """The jobs of one driver."""

    def __init__(
        self,
        submitit: Any,
        box: Box,
        order: Order,
        options: SubmititOptions,
        tell: Callable[[Piece, Message], None],
    ) -> None:
        """Raise OptionError if there is no SLURM here, or if it does not know an option."""
        self._submitit, self._box, self._tell = submitit, box, tell
        self._order = pickle.dumps(order)
        self._place = own_placement(order.kind, cores=options.cores, threads=options.threads)
        self.size, self.threads = options.workers, self._place.threads
        self._local = options.cluster == "local"
        try:
            self._hand_in = submitit.AutoExecutor(folder=str(box.path / "jobs"), cluster=options.cluster)
            self._hand_in.update_parameters(**options.parameters(cuda=order.kind.startswith("cuda")))
        except (RuntimeError, ValueError, NameError, AssertionError) as error:
            raise OptionError(
                f"jobs cannot be handed in: {error}. Start the command on a computer of the cluster that has sbatch "
                "and srun, or try it with --executor 'submitit(cluster=local)'"
            ) from error
        self._jobs: dict[str, _Job] = {}
        self._given: dict[int, Piece] = {}
        self._number = self._fruitless = 0
        self._looked = 0.0
        # Since when no job has begun; infinity once that has been told, or one has.
        self._waiting_since = 0.0
        # Jobs that have gone or were given up, and why.
        self._gone: dict[str, str] = {}
        self._given_up: list[_Job] = []

    @property
    def complete(self) -> bool:
        """Whether no job has gone before its time."""
        return not self._gone

    def idle(self) -> int:
        """Return how many further pieces there are jobs for, whether they have begun or not."""
        return self.size - len(self._given)

    def give(self, piece: Piece) -> None:
        """Put a piece where jobs find it, and hand in a job if all others have one."""
        self._number += 1
        self._given[self._number] = piece
        self._box.put(self._number, pickle.dumps(piece))
        self._replenish()

    def wait(self) -> Sequence[Finished | Failed | Lost]:
        """Wait until a piece ends or is lost. Pass on what workers report.

        Raises StorageError if jobs end, one after the other, before they have taken a piece.
        """
        pause = _SHORTEST
        while True:
            # In this order, so that all that an ended piece has reported is read.
            ended = {number: made for number, made in self._box.ended().items() if number in self._given}
            taken = {number: worker for number, worker in self._box.taken().items() if number in self._given}
            heard = False
            for number, worker in taken.items():
                for message in self._box.news(number, worker):
                    heard = True
                    self._tell(self._given[number], message)
                if worker in self._jobs:
                    self._jobs[worker].took = True
            events = [self._ended(number, made, taken) for number, made in ended.items()]
            if time.monotonic() - self._looked >= _JOBS:
                events += self._look_at_jobs()
                self._looked = time.monotonic()
            if events:
                return events
            pause = _SHORTEST if heard else min(_LONGEST, pause * 1.5)
            time.sleep(pause)

    def _ended(self, number: int, made: bytes, taken: dict[int, str]) -> Finished | Failed | Lost:
        self._fruitless = 0
        piece = self._forget(number)
        if not made:
            job = self._jobs.get(taken.get(number, ""))
            which = f"job {job.job.job_id}" if job else "a job"
            return Lost(piece=piece, reason=f"{which} was interrupted and began again")
        return unpacked(made)

    def _look_at_jobs(self) -> list[Lost]:
        """Leave out jobs that have gone, and return the pieces that they had."""
        gone = {name: why for name, job in self._jobs.items() if (why := self._why_gone(name, job))}
        self._gone |= gone
        lost = []
        ended, taken = self._box.ended(), self._box.taken()
        for number in list(self._given):
            lost_with = self._gone.get(taken.get(number, ""))
            if lost_with and number not in ended:
                lost.append(Lost(piece=self._forget(number), reason=lost_with))
        for name, why in gone.items():
            job = self._jobs.pop(name)
            self._box.dismiss(name)  # It may be there after all.
            _cancel(job)
            self._given_up.append(job)
            self._fruitless = 0 if job.took else self._fruitless + 1
            if self._fruitless >= _FRUITLESS:
                raise self._no_use(job, why)
        self._replenish()
        self._tell_that_none_has_begun()
        return lost

    def _tell_that_none_has_begun(self) -> None:
        """Pass on a note, once, if the first jobs have been waiting for long."""
        if any(job.seen for job in self._jobs.values()):
            self._waiting_since = math.inf
        if self._given and time.monotonic() - self._waiting_since > _PATIENCE:
            self._waiting_since = math.inf
            jobs = ", ".join(f"{job.job.job_id} ({job.job.state})" for job in self._jobs.values())
            self._tell(next(iter(self._given.values())), ("note", (f"no job has begun yet: {jobs}",)))

    def _why_gone(self, name: str, job: _Job) -> str:
        """Return why a job counts as gone, or "" if it does not."""
        job.seen = job.seen or bool(self._box.sign(name))
        which = f"job {job.job.job_id}"
        if job.job.done():
            return f"{which} ended ({job.job.state}; its log is {job.job.paths.stderr})"
        if job.seen and job.silent():
            return f"{which} was silent for long (its log is {job.job.paths.stderr})"
        return ""

    def _no_use(self, job: _Job, why: str) -> StorageError:
        """Return the error for jobs that end before they do anything, with the end of the last one's log."""
        try:
            lines = job.job.paths.stderr.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        said = " | ".join(line.strip() for line in lines[-_LINES:] if line.strip())
        told = f" It wrote: {said}." if said else " It wrote nothing."
        return StorageError(
            f"{_FRUITLESS} jobs, one after the other, ended before they took a piece: {why}.{told} Jobs must see "
            f"{self._box.path}, the run directory and the installation of Python at the same paths, on storage that is "
            "shared; choose the first with --executor 'submitit(folder=PATH)'"
        )

    def _forget(self, number: int) -> Piece:
        self._box.forget(number)
        return self._given.pop(number)

    def _replenish(self) -> None:
        """Hand in jobs until there is one for each piece that was given."""
        while len(self._jobs) < min(self.size, len(self._given)):
            name = f"worker{self._number}-{len(self._jobs)}-{time.monotonic_ns()}"
            arguments = (str(self._box.path), name, self._order, self._place.device, self._place.threads)
            try:
                # A job must not take this process, if it is itself in a job, for its own; Ctrl-C is this one's.
                with self._submitit.helpers.clean_env(), interrupts_ignored():
                    job = self._hand_in.submit(work, *arguments)
            except (OSError, RuntimeError) as error:  # among them what submitit raises for sbatch's own words
                raise OptionError(f"a job was refused: {error}") from error
            self._waiting_since = self._waiting_since or time.monotonic()
            self._jobs[name] = _Job(job, silent(self._box, name))

    def end(self) -> None:
        """End all jobs."""
        self._box.close()
        jobs = [*self._jobs.values(), *self._given_up]
        if self._local:  # They see that the box is closed.
            over = time.monotonic() + _TO_END
            while time.monotonic() < over and not all(job.job.done() for job in jobs):
                time.sleep(_SHORTEST)
        for job in jobs:
            _cancel(job)


def _cancel(job: _Job) -> None:
    if not job.job.done():
        with suppress(Exception):  # It may have ended just now, and scancel may be missing.
            job.job.cancel(check=False)
