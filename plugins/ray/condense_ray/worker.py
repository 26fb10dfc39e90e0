"""A worker in a Ray actor: it does pieces, and says meanwhile what they report."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

from condense import Placement, Worker

# A call of a Reporter's method: its name, and its arguments.
Message = tuple[str, tuple[Any, ...]]
# The two threads of an actor: pieces are done in one, always the same, and the other answers meanwhile.
WORK, TALK = "work", "talk"


class Actor:
    """What runs in an actor. Nothing but bytes and plain data goes in and out."""

    def __init__(self, order: bytes, device: str, threads: int) -> None:
        """order: pickled. device, threads: of the placement."""
        self._worker = Worker(pickle.loads(order), Placement(device=device, threads=threads))
        self._lock = threading.Lock()
        self._messages: list[Message] = []

    def do(self, piece: bytes) -> bytes:
        """Do a pickled piece, and return what became of it for `condense.unpacked`."""
        return self._worker.do(pickle.loads(piece), self._keep)

    def news(self) -> list[Message]:
        """Return what the piece under way has reported since the last call."""
        with self._lock:
            messages, self._messages = self._messages, []
        return messages

    def process(self) -> int:
        """Return the number of the process, which shows that the worker is there."""
        return os.getpid()

    def _keep(self, message: Message) -> None:
        with self._lock:
            self._messages.append(message)


def actor_class(ray: Any) -> Callable[..., Any]:
    """Return `Actor` as the class of a Ray actor with two threads. ray: the package."""
    for name, group in {"do": WORK, "news": TALK, "process": TALK}.items():
        ray.method(concurrency_group=group)(getattr(Actor, name))  # writes it on the function
    groups = {WORK: 1, TALK: 1}
    made: Callable[..., Any] = ray.remote(concurrency_groups=groups, max_restarts=0)(Actor)
    return made
