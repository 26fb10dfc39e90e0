"""metrics.jsonl: every loss and accuracy that is logged, beside whoever else is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from condense.runtime import Reporter
from condense.store import append_line


class MetricsReporter:
    """Passes everything on, and appends the values that come with finished units (epochs) to a file.

    The recover stage writes its own lines, which say chunk and iteration.
    """

    def __init__(self, told: Reporter, path: Path) -> None:
        self._told, self._path = told, path
        self._work: dict[str, str | int] = {}
        self._done = 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """A piece of work begins."""
        self._work, self._done = {"stage": stage, "detail": detail, "unit": unit}, 0
        self._told.start(stage, detail, total, unit)

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """`count` units are done."""
        self._done += count
        if values and count:
            append_line(self._path, {**self._work, "done": self._done, **values})
        self._told.advance(count, values)

    def finish(self, summary: str = "") -> None:
        """The piece of work is done."""
        self._told.finish(summary)

    def note(self, text: str) -> None:
        """Something the user should know."""
        self._told.note(text)
