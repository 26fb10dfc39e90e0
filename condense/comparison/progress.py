"""How far a comparison is: which of how many pieces is under way, and how long the rest may take."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from condense.comparison.design import Place
from condense.comparison.outcome import Cell, Distilled
from condense.runtime import Reporter
from condense.text import counted


@runtime_checkable
class ComparisonReporter(Protocol):
    """A Reporter that also wants to know which piece of a comparison is under way."""

    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        """Piece `number` of `total` begins. left: seconds that all work may still take, None if that is unknown."""


class Progress:
    """A Reporter that passes everything on, notes only once: the runs of a comparison have many in common."""

    def __init__(self, told: Reporter) -> None:
        self._told = told
        self._noted: set[str] = set()

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """A piece of work begins."""
        self._told.start(stage, detail, total, unit)

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """`count` units are done."""
        self._told.advance(count, values)

    def finish(self, summary: str = "") -> None:
        """The piece of work is done."""
        self._told.finish(summary)

    def note(self, text: str) -> None:
        """Something the user should know, once."""
        if text not in self._noted:
            self._noted.add(text)
            self._told.note(text)

    def piece(self, number: int, total: int, place: Place, left: float | None) -> None:
        """A piece of the comparison begins; a reporter that does not know pieces gets a note."""
        what = f"{place.row}, {counted(place.ipc, 'image')} per class, seed {place.seed}"
        if isinstance(self._told, ComparisonReporter):
            self._told.piece(number, total, what, left)
        else:
            self._told.note(f"{number} of {total}: {what}")


class Forecast:
    """Seconds that the rest may take, from the pieces that are done.

    columns: their keys. reference: the label of the row of random real images, which takes no time to distil.
    """

    def __init__(self, columns: Sequence[str], reference: str) -> None:
        self._columns, self._reference = columns, reference
        self._distil: dict[tuple[str, int], list[float]] = {}
        self._train: dict[tuple[str, int], list[float]] = {}

    def learn(self, distilled: Distilled, cells: Sequence[Cell]) -> None:
        """Take in what a piece took, in this process or an earlier one."""
        if distilled.failure:
            self._distil.setdefault((distilled.row, distilled.ipc), []).append(0.0)
            return
        self._distil.setdefault((distilled.row, distilled.ipc), []).append(distilled.distil_seconds)
        for cell in cells:
            seconds = cell.seconds * len(cell.accuracies)
            self._train.setdefault((cell.column, cell.ipc), []).append(seconds)

    def left(self, places: Sequence[Place]) -> float | None:
        """For these places; None as long as nothing like one of them was done."""
        total = 0.0
        for place in places:
            pieces = [self._distilling(place)]
            pieces += [self._training(column, place.ipc) for column in self._columns]
            known = [piece for piece in pieces if piece is not None]
            if len(known) < len(pieces):
                return None
            total += sum(known)
        return total

    def _distilling(self, place: Place) -> float | None:
        if (place.row, place.ipc) in self._distil:
            return statistics.fmean(self._distil[place.row, place.ipc])
        if place.row == self._reference:
            return 0.0
        # The same row with other images per class; or another row, which says roughly what a method takes.
        for same_row in (True, False):
            rates = [
                statistics.fmean(seconds) / ipc
                for (row, ipc), seconds in self._distil.items()
                if row != self._reference and (row == place.row or not same_row)
            ]
            if rates:
                return statistics.fmean(rates) * place.ipc
        return None

    def _training(self, column: str, ipc: int) -> float | None:
        if (column, ipc) in self._train:
            return statistics.fmean(self._train[column, ipc])
        rates = [
            statistics.fmean(found) / other for (key, other), found in self._train.items() if key == column
        ]
        return statistics.fmean(rates) * ipc if rates else None
