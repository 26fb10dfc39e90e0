"""The executor `ray`: a Ray actor for each GPU or some cores of a cluster, each with one piece at a time.

Actors are spread over the computers of the cluster. Paths and settings travel, and never tensors: all computers must
see the run directory and the dataset at the same paths. An actor that goes, with its process or its computer, is
replaced wherever there is room, and its piece is given to the next worker that is free.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
    needed_package,
    own_placement,
    unpacked,
)
from condense_ray.options import RayOptions
from condense_ray.worker import Message, actor_class

_BETWEEN = 0.3  # seconds between two looks at what workers report
_PATIENCE = 60.0  # seconds for which a worker that comes is waited for at a time
_FRUITLESS = 3  # so many workers may end before they are there, one after the other


class Ray(Executor):
    """Has pieces done by the workers of a Ray cluster."""

    def __init__(self, options: RayOptions) -> None:
        """Raise PluginError if Ray is not installed."""
        self.options = options
        self._ray = needed_package("ray", "ray", "ray")

    @contextmanager
    def crew(self, order: Order, own: Site, tell: Callable[[Piece, Message], None]) -> Iterator[Crew]:
        """Have actors inside the block, in a cluster that is there already or in one of this computer."""
        ray, options = self._ray, self.options
        mine = not ray.is_initialized()
        if mine:
            self._connect()
        try:
            crew = RayCrew(ray, order, options, tell)
            try:
                yield crew
            finally:
                crew.end()
        finally:
            if mine:
                ray.shutdown()

    def _connect(self) -> None:
        """Connect to the cluster. Raises OptionError if it cannot be reached."""
        try:
            self._ray.init(
                address=self.options.address or None, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise OptionError(
                f"Ray cannot be reached at {self.options.address or 'RAY_ADDRESS'!r} ({error}); start it with "
                "`ray start --head`, or leave out --address for a Ray of this computer"
            ) from error


@dataclass
class _Actor:
    """An actor, what shows that it is there, and the piece that it does with the reference to what becomes of it."""

    handle: Any
    there: Any
    ready: bool = False
    piece: Piece | None = None
    outcome: Any = None
    news: Any = None


class RayCrew(Crew):
    """The actors of one driver."""

    def __init__(
        self, ray: Any, order: Order, options: RayOptions, tell: Callable[[Piece, Message], None]
    ) -> None:
        """Raise OptionError if the cluster has no room for a worker."""
        self._ray, self._tell = ray, tell
        resources = ray.cluster_resources()
        on_gpus = order.kind.startswith("cuda")
        wanted, each = ("GPU", 1) if on_gpus else ("CPU", options.cores)
        room = int(resources.get(wanted, 0)) // each
        if not room:
            raise OptionError(
                f"each worker needs {each} {wanted}, and Ray has {resources.get(wanted, 0):g}; add computers to it, or "
                "give workers less: --executor 'ray(cores=1)'"
            )
        self.size = min(options.workers or room, room)
        self._place = own_placement(order.kind, cores=options.cores, threads=options.threads)
        self.threads = self._place.threads
        self._resources = {"num_gpus": 1, "num_cpus": 1} if on_gpus else {"num_cpus": each}
        self._class = actor_class(ray)
        self._order = ray.put(pickle.dumps(order))
        self._fruitless = 0
        self._actors = [self._started() for _ in range(self.size)]

    def idle(self) -> int:
        """Return how many workers have no piece. If none has one, wait until one is there.

        Raises OptionError if all end before they are there.
        """
        free = self._free()
        while not free and not any(actor.piece for actor in self._actors):
            references = [actor.there for actor in self._actors]
            self._ray.wait(references, num_returns=1, timeout=_PATIENCE)
            self._look_for_workers()
            free = self._free()
        return len(free)

    def give(self, piece: Piece) -> None:
        """Give a piece to a worker that has none."""
        actor = self._free()[0]
        actor.piece = piece
        actor.outcome = actor.handle.do.remote(pickle.dumps(piece))

    def wait(self) -> Sequence[Finished | Failed | Lost]:
        """Wait a moment for a piece to end, or for a worker that starts. Pass on what workers report."""
        busy = [actor for actor in self._actors if actor.piece is not None]
        coming = [actor.there for actor in self._actors if not actor.ready]
        references = [*(actor.outcome for actor in busy), *coming]
        done, _ = self._ray.wait(references, num_returns=1, timeout=_BETWEEN)
        self._look_for_workers()
        events: list[Finished | Failed | Lost] = []
        for actor in busy:
            ended = actor.outcome in done
            self._hear(actor, last=ended)
            if ended:
                events.append(self._ended(actor))
        return events

    def _ended(self, actor: _Actor) -> Finished | Failed | Lost:
        """Return what became of the piece of an actor. One that has gone is replaced."""
        assert actor.piece is not None
        piece, exceptions = actor.piece, self._ray.exceptions
        try:
            outcome = unpacked(self._ray.get(actor.outcome))
        except exceptions.RayTaskError as error:
            outcome = Failed(piece=piece, error=error)
        except exceptions.RayError as error:
            self._actors[self._actors.index(actor)] = self._started()
            return Lost(piece=piece, reason=f"a worker of Ray went ({_first_line(error)})")
        actor.piece = actor.outcome = actor.news = None
        return outcome

    def _hear(self, actor: _Actor, *, last: bool) -> None:
        """Pass on what a worker has reported. last: whether its piece has ended, so that all of it is waited for."""
        assert actor.piece is not None
        if actor.news is None:
            actor.news = actor.handle.news.remote()
        ready, _ = self._ray.wait([actor.news], timeout=_BETWEEN if last else 0)
        if not ready:
            return
        with suppress(self._ray.exceptions.RayError):  # `_ended` tells of a worker that has gone.
            messages: list[Message] = self._ray.get(actor.news)
            if last:
                messages += self._ray.get(actor.handle.news.remote())
            for message in messages:
                self._tell(actor.piece, message)
        actor.news = None

    def _free(self) -> list[_Actor]:
        return [actor for actor in self._actors if actor.ready and actor.piece is None]

    def _look_for_workers(self) -> None:
        """Take note of workers that are there, and start others in place of those that ended before they were.

        If several ended so, with none that began in between, they are not replaced. Raises OptionError if there is no
        other worker then.
        """
        for actor in [actor for actor in self._actors if not actor.ready]:
            there, _ = self._ray.wait([actor.there], timeout=0)
            if not there:
                continue
            try:
                self._ray.get(actor.there)
                actor.ready, self._fruitless = True, 0
            except self._ray.exceptions.RayError as error:
                self._actors.remove(actor)
                self._fruitless += 1
                if self._fruitless < _FRUITLESS:
                    self._actors.append(self._started())
                elif not self._actors:
                    raise OptionError(
                        f"{self._fruitless} workers of Ray ended before they began, the last one because: "
                        f"{_first_line(error)}. All computers of the cluster need the same versions of Python, "
                        "condense and its plugins"
                    ) from error

    def _started(self) -> _Actor:
        chosen = self._class.options(scheduling_strategy="SPREAD", **self._resources)  # type: ignore[attr-defined]
        handle = chosen.remote(self._order, self._place.device, self._place.threads)
        return _Actor(handle, handle.process.remote())

    def end(self) -> None:
        """End all actors."""
        for actor in self._actors:
            with suppress(Exception):  # The connection may have gone with the cluster.
                self._ray.kill(actor.handle)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
