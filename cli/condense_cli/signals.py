"""Ctrl-C, SIGTERM and SIGHUP end a command at the next safe point, with a line about how to go on.

Python runs a handler between two steps of the interpreter. Files are written whole or not at all, so that every
point is safe but one: a library that is being imported may turn the exception into another error. The end then waits
until the import is over.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from types import FrameType

_AGAIN = 0.05  # seconds until a signal that came during an import is looked at again
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Stopped(KeyboardInterrupt):
    """The command was told to end, by the signal `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_status(error: KeyboardInterrupt) -> int:
    """Return the status that shells give to a command that the signal ended: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + (error.number if isinstance(error, Stopped) else signal.SIGINT)


def cause(error: KeyboardInterrupt) -> str:
    """Return what ended the command, as the beginning of a sentence."""
    number = error.number if isinstance(error, Stopped) else signal.SIGINT
    return "Interrupted" if number == signal.SIGINT else f"Ended by {signal.Signals(number).name}"


def install() -> None:
    """Let the signals raise `Stopped` in the main thread. One that is ignored, as SIGHUP by nohup, stays ignored."""
    stopper = _Stopper()
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stopper)


def ignore() -> None:
    """Let later signals pass: the command ends already."""
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class _Stopper:
    """The handler. A second signal while the first one waits for an import ends the process at once."""

    def __init__(self) -> None:
        self._waiting: int | None = None
        self._looks_again = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise Stopped, now or after the import."""
        if self._waiting is not None and not self._looks_again:
            os._exit(128 + number)
        self._looks_again = False
        if _importing(frame):
            self._waiting = number
            later = threading.Timer(_AGAIN, self._look_again, (number,))
            later.daemon = True
            later.start()
            return
        self._waiting = None
        raise Stopped(number)

    def _look_again(self, number: int) -> None:
        """Send the signal to the main thread once more, which ends a wait there at once where that is possible."""
        self._looks_again = True
        main = threading.main_thread().ident
        assert main is not None  # it has started
        if sys.platform == "win32":
            _thread.interrupt_main(number)  # a wait ends by itself first
        else:
            signal.pthread_kill(main, number)


def _importing(frame: FrameType | None) -> bool:
    """Return whether the interrupted code belongs to a module that is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
