"""A helping process ends with the process that started it, however that one ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
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


def _watch(sentinel: int) -> None:
    """End this process when the parent's end of the pipe closes."""
    wait([sentinel])
    os._exit(1)
