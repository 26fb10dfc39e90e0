"""Messages of a worker to the driver, few of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from condense.executors.executor import Message
from condense.executors.pieces import Piece

_BETWEEN = 0.1  # seconds between two messages about the units of one piece


class Sparing:
    """Tells of the units of a piece a few times a second, however many there are, and of all else at once.

    send: called with each message.
    """

    def __init__(self, send: Callable[[Message], object]) -> None:
        self._send = send
        self._count, self._last = 0, 0.0
        self._values: object = None

    def __call__(self, piece: Piece, message: Message) -> None:
        """Take a message."""
        name, arguments = message
        if name != "advance":
            self.flush()
            self._send(message)
            return
        self._count += arguments[0]
        self._values = arguments[1] or self._values
        if time.monotonic() - self._last >= _BETWEEN:
            self.flush()

    def flush(self) -> None:
        """Send what was held back."""
        if self._count or self._values:
            self._send(("advance", (self._count, self._values)))
            self._count, self._values, self._last = 0, None, time.monotonic()
