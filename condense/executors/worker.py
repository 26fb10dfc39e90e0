"""What a worker in another process does, however pieces reach it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from condense.executors.executor import Message, Order, Site, attempt, packed
from condense.executors.pieces import Failed, Piece
from condense.executors.placement import Placement
from condense.executors.sparing import Sparing


class Worker:
    """Does pieces at a site of its own, which is built for the first of them and stays until `close`."""

    def __init__(self, order: Order, placement: Placement) -> None:
        """order: what the site is built from. placement: its device, and how many threads it has."""
        self._order, self._placement = order, placement
        self._stack = ExitStack()
        self._site: Site | None = None

    def do(self, piece: Piece, send: Callable[[Message], object]) -> bytes:
        """Do a piece. Return what became of it, for the driver's `unpacked`; what the site lacks is a failure too.

        send: called with what the piece reports, a few times a second.
        """
        told = Sparing(send)
        try:
            site = self._at_site()
        except Exception as error:  # The driver tells what the site lacks.
            return packed(Failed(piece=piece, error=error))
        self._placement.set_threads(alone=piece.alone)
        outcome = attempt(site, piece, told)
        told.flush()
        return packed(outcome)

    def close(self) -> None:
        """Leave the site."""
        self._stack.close()
        self._site = None

    def _at_site(self) -> Site:
        if self._site is None:
            self._site = self._stack.enter_context(self._order.site(self._placement))
        return self._site
