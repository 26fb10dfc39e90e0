"""The progress of a comparison: which piece is in progress, and how long the rest may take."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from condense.comparison.design import Place
from condense.comparison.outcome import Cell, Distilled
from condense.comparison.tasks import Task
from condense.runtime import Reporter


@runtime_checkable
class ComparisonReporter(Protocol):
    """A Reporter that is also told which piece of a comparison is in progress."""

    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        """Report that piece `number` of `total` begins. left: seconds for all remaining work; None if unknown."""


class Progress:
    """A Reporter that passes everything on, but each note only once: the runs of a comparison repeat many notes."""

    def __init__(self, told: Reporter) -> None:
        self._told = told
        self._noted: set[str] = set()

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Report that a piece of work begins."""
        self._told.start(stage, detail, total, unit)

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Report that `count` units are done."""
        self._told.advance(count, values)

    def finish(self, summary: str = "") -> None:
        """Report that the piece of work is done."""
        self._told.finish(summary)

    def note(self, text: str) -> None:
        """Report something that the user should know, once."""
        if text not in self._noted:
            self._noted.add(text)
            self._told.note(text)

    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        """Report that a piece of the comparison begins; a reporter without `piece` gets a note."""
        if isinstance(self._told, ComparisonReporter):
            self._told.piece(number, total, what, left)
        else:
            self._told.note(f"{number} of {total}: {what}")


class Forecast:
    """Estimates the seconds that the rest may take, from the pieces that are done.

    columns: their keys.
    references: the labels of the rows of random real images, which take no time to distil.
    """

    def __init__(self, columns: Sequence[str], references: Collection[str]) -> None:
        self._columns, self._references = columns, references
        self._distil: dict[tuple[str, int], list[float]] = {}
        self._train: dict[tuple[str, int], list[float]] = {}

    def learn_images(self, distilled: Distilled) -> None:
        """Record the seconds of the images of a place, whether this process or an earlier one made them."""
        self._distil.setdefault((distilled.row, distilled.ipc), []).append(distilled.distil_seconds or 0.0)

    def learn_students(self, cells: Sequence[Cell]) -> None:
        """Record the seconds of students, whether this process or an earlier one trained them."""
        for cell in cells:
            seconds = cell.seconds * len(cell.accuracies)
            self._train.setdefault((cell.column, cell.ipc), []).append(seconds)

    def left(self, tasks: Sequence[Task]) -> float | None:
        """Return the estimated seconds for these tasks; None if nothing similar to a part of one is done."""
        parts = [self._distilling(place) for task in tasks for place in task.images]
        parts += [
            self._training(column, place.ipc)
            for task in tasks
            for place in task.students
            for column in self._columns
        ]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def _distilling(self, place: Place) -> float | None:
        if (place.row, place.ipc) in self._distil:
            return statistics.fmean(self._distil[place.row, place.ipc])
        if place.row in self._references:
            return 0.0
        # Scale the same row's time at another ipc; without one, that of other rows, as a rough estimate.
        for same_row in (True, False):
            rates = [
                statistics.fmean(seconds) / ipc
                for (row, ipc), seconds in self._distil.items()
                if row not in self._references and (row == place.row or not same_row)
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
