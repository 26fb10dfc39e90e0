"""A helping process ends with the process that started it, however that one ends, and leaves Ctrl-C to it."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """End this process at once when its parent ends, even by SIGKILL and amid a long piece of work.

    Nothing is cleaned up: files are written whole or not at all, and the system frees locks. Two means are used. A
    thread reads the pipe (on Windows the handle) that multiprocessing keeps to the parent. On Linux, the kernel sends
    SIGKILL as well, also while code holds the interpreter's lock. Does nothing in a process that multiprocessing did
    not start.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        # If the parent has gone already, the kernel sends nothing; the thread sees it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_watch, args=(parent.sentinel,), name="lifeline", daemon=True).start()


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Start children inside the block with SIGINT ignored, because the parent ends them after Ctrl-C.

    Only the main thread can change that; in another one, the block does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _watch(sentinel: int) -> None:
    """End this process when the parent's end of the pipe closes."""
    wait([sentinel])
    os._exit(1)
