"""Crews without processes: workers that do pieces, fail or get lost as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from condense.executors.executor import Crew
from condense.executors.pieces import Event, Failed, Finished, Lost, Piece


class Troupe(Crew):
    """Workers whose pieces end in the order that a test chooses.

    fails: pieces by their text, with the error of each. loses: how often a piece is lost, by its text.
    last: whether of the pieces under way the last one ends first.
    """

    def __init__(
        self,
        size: int,
        *,
        fails: Mapping[str, BaseException] | None = None,
        loses: Mapping[str, int] | None = None,
        last: bool = False,
    ) -> None:
        self.size, self._last = size, last
        self._fails, self._loses = dict(fails or {}), dict(loses or {})
        self.given: list[str] = []
        self.most = 0
        self._busy: list[Piece] = []

    def idle(self) -> int:
        return self.size - len(self._busy)

    def give(self, piece: Piece) -> None:
        assert self.idle() > 0
        self._busy.append(piece)
        self.given.append(piece.text())
        self.most = max(self.most, len(self._busy))

    def wait(self) -> Sequence[Event]:
        piece = self._busy.pop(-1 if self._last else 0)
        text = piece.text()
        if self._loses.get(text, 0):
            self._loses[text] -= 1
            return [Lost(piece=piece, reason="a worker went")]
        if text in self._fails:
            return [Failed(piece=piece, error=self._fails[text])]
        return [Finished(piece=piece, facts={"done": text}, seconds=1.0)]


@pytest.fixture(scope="session")
def troupe() -> Callable[..., Any]:
    return Troupe


class Diary:
    """A Reporter that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self.events.append(f"start {stage}: {detail}, {total} {unit}")

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        self.events.append(f"advance {count}")

    def finish(self, summary: str = "") -> None:
        self.events.append(f"finish {summary}".strip())

    def note(self, text: str) -> None:
        self.events.append(f"note {text}")


@pytest.fixture
def diary() -> Any:
    return Diary()
