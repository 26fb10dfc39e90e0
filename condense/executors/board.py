"""The one display of all workers: what they report, put in order for a Reporter that knows one work at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from condense.executors.executor import Message
from condense.executors.pieces import Batch, Group, Piece
from condense.runtime import Reporter

_Key = tuple[Any, ...]


@dataclass
class _Work:
    """A group, or a piece that is shown by itself.

    group: None for a piece by itself. left: how many of its pieces are not done.
    start: what the Reporter will be told when it is shown; None if that is not known yet.
    done: units so far. ended, summary: whether and how it ended.
    """

    group: Group | None
    left: int
    start: tuple[Any, ...] | None = None
    done: int = 0
    begun: bool = False
    ended: bool = False
    summary: str = ""


class Board:
    """Tells a Reporter what workers do. Of several works under way it shows the oldest, and then the next.

    A note is told once.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._works: dict[_Key, _Work] = {}
        self._shown: _Work | None = None
        self._noted: set[str] = set()
        # By piece: units that it has reported, and those that it reports again because its first worker was lost.
        self._reported: dict[_Key, int] = {}
        self._again: dict[_Key, int] = {}

    def open(self, batch: Batch) -> None:
        """Take the groups of a batch. What is done of them already counts when the group is shown."""
        members: dict[_Key, list[Piece]] = {}
        for piece in batch.pieces:
            if piece.group:
                members.setdefault(_key(piece), []).append(piece)
        for key, pieces in members.items():
            group = batch.groups[pieces[0].group]
            done = [piece for piece in pieces if piece in batch.done]
            self._works[key] = _Work(
                group,
                len(pieces) - len(done),
                start=(group.stage, group.detail, group.of(pieces), group.unit),
                done=group.of(done),
            )
            if len(done) == len(pieces):
                self._end(key)

    def begin(self, piece: Piece) -> None:
        """Take note that a piece is given to a worker."""
        key = _key(piece)
        work = self._works.setdefault(key, _Work(None, 1))
        if not work.begun:
            work.begun = True
            self._works[key] = self._works.pop(key)  # the oldest first
        self._show()

    def tell(self, piece: Piece, message: Message) -> None:
        """Pass on what a worker reports of a piece."""
        name, arguments = message
        work = self._works.get(_key(piece))
        if name == "note":
            self.note(*arguments)
        elif work is None:
            return
        elif name == "advance":
            count = self._new(piece, arguments[0])
            work.done += count
            if work is self._shown:
                self._reporter.advance(count, arguments[1])
        elif work.group is None and name == "start":
            if work is self._shown:
                self._reporter.finish()
                self._shown = None
            work.start, work.done = arguments, 0
            self._show()
        elif work.group is None and name == "finish":
            work.summary, work.ended = arguments[0], True
            self._show()

    def end(self, piece: Piece) -> None:
        """Take note that a piece is done."""
        key = _key(piece)
        self._reported.pop(piece.key, None)
        work = self._works.get(key)
        if work is not None:
            work.left -= 1
            if not work.left:
                self._end(key)

    def lose(self, piece: Piece) -> None:
        """Take note that the worker of a piece was lost, so that the piece will be reported from its beginning."""
        self._again[piece.key] = self._again.get(piece.key, 0) + self._reported.pop(piece.key, 0)

    def drop(self, piece: Piece) -> None:
        """Forget a piece that failed or is left out, and the group that it is in."""
        work = self._works.pop(_key(piece), None)
        if work is not None and work is self._shown:
            self._shown = None

    def note(self, text: str) -> None:
        """Tell a note, once."""
        if text not in self._noted:
            self._noted.add(text)
            self._reporter.note(text)

    def _new(self, piece: Piece, count: int) -> int:
        """Return how many of these units were not reported before."""
        known = min(count, self._again.get(piece.key, 0))
        if known:
            self._again[piece.key] -= known
        self._reported[piece.key] = self._reported.get(piece.key, 0) + count
        return count - known

    def _end(self, key: _Key) -> None:
        work = self._works[key]
        if work.group is not None:
            work.summary = work.group.summary()
        elif work.start is None:  # a piece that had nothing to show
            del self._works[key]
            return
        work.begun = work.ended = True
        self._show()

    def _show(self) -> None:
        """Finish what is shown if it has ended, and show the oldest work that has begun."""
        while True:
            if self._shown is None:
                found = (work for work in self._works.values() if work.begun and work.start is not None)
                self._shown = next(found, None)
                if self._shown is None:
                    return
                assert self._shown.start is not None
                self._reporter.start(*self._shown.start)
                if self._shown.done:
                    self._reporter.advance(self._shown.done)
            if not self._shown.ended:
                return
            ended, self._shown = self._shown, None
            self._works = {key: work for key, work in self._works.items() if work is not ended}
            self._reporter.finish(ended.summary)


def _key(piece: Piece) -> _Key:
    return (piece.job, piece.group) if piece.group else piece.key


def told(reporter: Reporter, message: Message) -> None:
    """Call the method of a reporter that a message names."""
    name, arguments = message
    getattr(reporter, name)(*arguments)
