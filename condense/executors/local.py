"""The executor `local`: one worker, which is this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from condense.executors.executor import Crew, Executor, Order, Site, Tell, attempt
from condense.executors.pieces import Event, Piece
from condense.recipe.specs import NoOptions


class Local(Executor):
    """Does every piece in this process, one after the other, at the driver's own site."""

    alone = True

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    @contextmanager
    def crew(self, order: Order, own: Site, tell: Tell) -> Iterator[Crew]:
        """Have this process as the one worker."""
        yield _Alone(own, tell)


class _Alone(Crew):
    size = 1

    def __init__(self, site: Site, tell: Tell) -> None:
        self._site, self._tell = site, tell
        self._given: list[Piece] = []

    def idle(self) -> int:
        return 1 - len(self._given)

    def give(self, piece: Piece) -> None:
        self._given.append(piece)

    def wait(self) -> Sequence[Event]:
        return [attempt(self._site, self._given.pop(), self._tell)]
