"""An end for what a plugin may never finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds between one Overtime and the next, for a `finally` that waits for ever too.
_AGAIN = 5.0


class Overtime(BaseException):
    """The time is over. Not an Exception, so that a plugin that goes on after any of these does not go on after it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Overtime in the block when it has taken some seconds, and again while it does not end.

    A signal does that, which also ends a wait. Windows has no such signal, and only the main thread gets it: elsewhere
    the block has no limit.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        raise Overtime

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
