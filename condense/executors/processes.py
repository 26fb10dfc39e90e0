"""The executor `processes`: several processes of this computer, each with a GPU or a part of the cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from condense.executors.catalog import ProcessesOptions
from condense.executors.executor import Crew, Executor, Message, Order, Site, Tell, unpacked
from condense.executors.lifeline import end_with_parent, interrupts_ignored
from condense.executors.pieces import Event, Lost, Piece
from condense.executors.placement import Placement, placements, usual_count
from condense.executors.worker import Worker
from condense.runtime import available_cores

_TO_END = 5.0  # seconds that a process has to end by itself


class Processes(Executor):
    """Does pieces in processes of this computer. Each is started when the first piece is there for it."""

    def __init__(self, options: ProcessesOptions) -> None:
        self.options = options

    @contextmanager
    def crew(self, order: Order, own: Site, tell: Tell) -> Iterator[Crew]:
        """Have processes inside the block. They end with it, and with this process, however it ends."""
        import torch

        cards = torch.cuda.device_count() if order.kind.startswith("cuda") else 0
        count = self.options.workers or usual_count(order.kind, cards=cards, cores=available_cores())
        together = self.options.threads * count or torch.get_num_threads()
        alone = 0 if self.options.threads else together
        places = placements(order.kind, count, cards=cards, threads=together, alone=alone)
        crew = _Processes(order, places, tell)
        try:
            yield crew
        finally:
            crew.end()


@dataclass
class _Worker:
    """A process, the driver's end of its pipe, and the piece that it does."""

    process: SpawnProcess
    pipe: Connection
    piece: Piece | None = None


class _Processes(Crew):
    def __init__(self, order: Order, places: Sequence[Placement], tell: Tell) -> None:
        self.size, self.threads, self.alone = len(places), places[0].threads, places[0].alone
        self._order, self._places, self._tell = order, places, tell
        self._workers: list[_Worker | None] = [None] * len(places)

    def idle(self) -> int:
        return sum(worker is None or worker.piece is None for worker in self._workers)

    def give(self, piece: Piece) -> None:
        free = [
            number for number, worker in enumerate(self._workers) if worker is None or worker.piece is None
        ]
        # A process that has its site is taken before a new one is started.
        number = min(free, key=lambda one: (self._workers[one] is None, one))
        worker = self._workers[number] or self._started(self._places[number])
        self._workers[number] = worker
        worker.piece = piece
        try:
            worker.pipe.send(piece)
        except OSError:  # It has gone since; `wait` tells.
            return

    def wait(self) -> Sequence[Event]:
        while True:
            busy = {
                worker.pipe: worker
                for worker in self._workers
                if worker is not None and worker.piece is not None
            }
            events = [event for pipe in wait(list(busy)) if (event := self._heard(busy[pipe])) is not None]  # type: ignore[index]
            if events:
                return events

    def _heard(self, worker: _Worker) -> Event | None:
        """Take one message of a worker. Return what became of its piece, if that is known now."""
        assert worker.piece is not None
        piece = worker.piece
        try:
            heard: Message | bytes = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self._workers[self._workers.index(worker)] = None
            return Lost(piece=piece, reason=f"a worker process ended with status {worker.process.exitcode}")
        if isinstance(heard, bytes):
            worker.piece = None
            return unpacked(heard)
        self._tell(piece, heard)
        return None

    def _started(self, place: Placement) -> _Worker:
        # A forked process would hang in OpenMP or CUDA.
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(self._order, place, there), daemon=True)
        with interrupts_ignored():
            process.start()
        there.close()  # so that the pipe ends when the process does
        return _Worker(process, here)

    def end(self) -> None:
        """End all processes. Files are written whole or not at all, so nothing has to be waited for."""
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join(_TO_END)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()


def _work(order: Order, place: Placement, pipe: Connection) -> None:
    """Do the pieces that come through a pipe, until it ends. The process ends with its parent."""
    end_with_parent()
    with closing(Worker(order, place)) as worker:
        while True:
            try:
                piece: Piece = pipe.recv()
            except EOFError:
                return
            pipe.send(worker.do(piece, pipe.send))
