"""A worker in a job: it takes pieces from the box until that is closed, and ends if its driver has gone."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from condense import Placement, Worker
from condense_slurm.box import DRIVER, Box

SILENCE = 180.0  # seconds without a sign of life after which the other side counts as gone
_LOOK = 0.5  # seconds between two looks at the box
# The signal by which SLURM announces the end of a job's time, as submitit asks for it.
_NOTICE = f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"


def work(path: str, name: str, order: bytes, device: str, threads: int) -> None:
    """Do pieces of a box until it is closed. Runs in a job.

    path: of the box. name: of the worker; a job that SLURM starts again keeps it.
    order: pickled. device, threads: of the placement.
    """
    box, leaving = Box(Path(path)), threading.Event()
    _end_at_signals(leaving)
    with box.alive(name):
        threading.Thread(target=_watch, args=(box, name), name="watch", daemon=True).start()
        for number in box.left(name):  # of an earlier life of this job
            box.end(number, name, b"")
        with closing(Worker(pickle.loads(order), Placement(device=device, threads=threads))) as worker:
            while not (leaving.is_set() or box.closed(name)):
                found = box.take(name)
                if found is None:
                    time.sleep(_LOOK)
                    continue
                number, piece = found
                outcome = worker.do(pickle.loads(piece), partial(box.tell, number, name))
                box.end(number, name, outcome)


def _end_at_signals(leaving: threading.Event) -> None:
    """End at once when the job is cancelled. When its time is almost over, take no further piece.

    Files are written whole or not at all, so nothing has to be waited for.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave_at_once)
    signal.signal(signal.Signals[_NOTICE], lambda *_: leaving.set())


def _leave_at_once(number: int, _: object) -> None:
    os._exit(128 + number)


def _watch(box: Box, name: str) -> None:
    """End this process, also amid a piece, when the box says so or has gone, or when the driver has been silent."""
    gone = silent(box, DRIVER)
    while not (box.closed(name) or gone()):
        time.sleep(_LOOK)
    os._exit(0)


def silent(box: Box, who: str) -> Callable[[], bool]:
    """Return a function that says whether someone has given no sign of life for long, by this computer's clock."""
    last, since = box.sign(who), time.monotonic()

    def ask() -> bool:
        nonlocal last, since
        now = box.sign(who)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since > SILENCE

    return ask
