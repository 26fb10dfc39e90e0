"""The driver: it gives pieces that are ready to a crew, and has pieces that were lost done again.

What runs and comparisons do with their pieces is written as scripts: generators that yield a `Batch` of pieces and are
sent what became of each. Several scripts can be under way; the pieces of the one that began first go first.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from condense.errors import CondenseError
from condense.executors.board import Board
from condense.executors.executor import Crew
from condense.executors.pieces import Batch, Event, Failed, Finished, Lost, Piece

T = TypeVar("T")
# What became of the pieces of a batch that were not done before it. A piece that was left out has the error of another.
Results = Mapping[Piece, Finished | Failed]
Script = Generator[Batch, Results, T]

ATTEMPTS = 3  # how many workers may be lost with a piece


class LostError(CondenseError):
    """A piece whose workers went, one after the other."""


class Scripts(Protocol):
    """Where scripts come from."""

    def following(self, *, idle: bool) -> Script[None] | None:
        """Return the next script, or None if there is none, or none now.

        idle: whether nothing else is under way, so that it may wait for one.
        """


class OneScript:
    """A single script as `Scripts`."""

    def __init__(self, script: Script[None]) -> None:
        self._scripts = [script]

    def following(self, *, idle: bool) -> Script[None] | None:
        """Return the script, once."""
        return self._scripts.pop() if self._scripts else None


class _Active:
    """A script under way: the pieces of its batch that wait, that are with workers, and what became of the others."""

    def __init__(self, script: Script[None], board: Board) -> None:
        self._script, self._board = script, board
        self.over = False
        self.waiting: list[Piece] = []
        self.running: dict[Piece, float] = {}
        self._lost: dict[Piece, int] = {}
        self._advance(lambda: next(script))

    def ready(self) -> Piece | None:
        """Return the first piece whose inputs are all there."""
        found = (piece for piece in self.waiting if self._unmade.isdisjoint(piece.inputs))
        return next(found, None)

    def give(self, piece: Piece, crew: Crew) -> None:
        """Give a piece to a crew."""
        self.waiting.remove(piece)
        self.running[piece] = time.perf_counter()
        try:
            self._board.begin(piece)
        except BaseException as error:
            self.throw(error)
            return
        crew.give(piece)

    def take(self, event: Event) -> None:
        """Take what became of a piece, and let the script go on when nothing of its batch is left."""
        piece = event.piece
        began = self.running.pop(piece, None)
        if began is None:  # of a batch that has been given up
            return
        try:
            if isinstance(event, Lost):
                self._batch.spent(piece, time.perf_counter() - began)
                event = self._again(event)
            if isinstance(event, Failed):
                self._batch.spent(piece, event.seconds)
                self._fail(event)
            elif isinstance(event, Finished):
                self._results[piece] = event
                self._unmade -= set(piece.outputs)
                self._batch.keep(event)
                self._board.end(piece)
        except BaseException as error:
            self.throw(error)
            return
        self._go_on()

    def throw(self, error: BaseException) -> None:
        """Raise an error where the script waits."""
        now = time.perf_counter()
        for piece, began in self.running.items():
            with suppress(CondenseError):  # the first error is the one to be told
                self._batch.spent(piece, now - began)
        self.waiting, self.running = [], {}
        self._advance(lambda: self._script.throw(error))

    def _again(self, lost: Lost) -> Lost | Failed:
        """Put a piece in front of all others, or return how it failed if it was lost too often."""
        piece = lost.piece
        self._lost[piece] = self._lost.get(piece, 0) + 1
        self._board.lose(piece)
        if self._lost[piece] < ATTEMPTS:
            self._board.note(f"{lost.reason} while it did {piece.text()}, which is done again")
            self.waiting.insert(0, piece)
            return lost
        why = (
            f"{piece.text()} was lost with {ATTEMPTS} workers one after the other, the last time because "
            f"{lost.reason}. What they wrote to the terminal may say why: often it is too little memory. A script that "
            'has workers must do its own work below if __name__ == "__main__":'
        )
        return Failed(piece=piece, error=LostError(why))

    def _fail(self, failed: Failed) -> None:
        """Take a failure, and leave out what it ends and what needs an output that will not be made."""
        domain = self._batch.apart(failed.piece)
        self._results[failed.piece] = failed
        self._board.drop(failed.piece)
        left_out = [piece for piece in self.waiting if self._batch.apart(piece) == domain]
        gone = set(failed.piece.outputs)
        while left_out:
            for piece in left_out:
                self.waiting.remove(piece)
                self._results[piece] = Failed(piece=piece, error=failed.error)
                self._board.drop(piece)
                gone |= set(piece.outputs)
            left_out = [piece for piece in self.waiting if not gone.isdisjoint(piece.inputs)]

    def _go_on(self) -> None:
        while not (self.waiting or self.running or self.over):
            results = self._results
            self._advance(lambda: self._script.send(results))  # noqa: B023 - it is called at once

    def _advance(self, step: Any) -> None:
        try:
            self._batch: Batch = step()
        except StopIteration:
            self.over = True
            return
        except BaseException:
            self.over = True
            raise
        self._results: dict[Piece, Finished | Failed] = {}
        self.waiting = [piece for piece in self._batch.pieces if piece not in self._batch.done]
        self._unmade = {name for piece in self.waiting for name in piece.outputs}
        try:
            self._board.open(self._batch)
        except BaseException as error:
            self.throw(error)
            return
        self._go_on()


def carry_out(scripts: Scripts, crew: Crew, board: Board) -> None:
    """Carry out scripts to their ends with the workers of a crew.

    Raises what a script raises. The scripts under way are then told, as they are of an interruption.
    """
    active: list[_Active] = []
    try:
        while True:
            _hand_out(scripts, crew, board, active)
            if not any(one.running for one in active):
                return
            for event in crew.wait():
                owner = next((one for one in active if event.piece in one.running), None)
                if owner is not None:
                    owner.take(event)
            active[:] = [one for one in active if not one.over]
    except BaseException as error:
        for one in active:
            if not one.over:
                with suppress(BaseException):
                    one.throw(error)
        raise


def _hand_out(scripts: Scripts, crew: Crew, board: Board, active: list[_Active]) -> None:
    """Give pieces to all workers that have none, as far as there are any; begin scripts for those that have none."""
    while crew.idle() > 0:
        active[:] = [one for one in active if not one.over]
        found = next(((one, piece) for one in active if (piece := one.ready()) is not None), None)
        if found is not None:
            found[0].give(found[1], crew)
            continue
        script = scripts.following(idle=not active)
        if script is None:
            return
        active.append(_Active(script, board))
