"""metrics.jsonl: losses and accuracies over the steps and epochs of a run, one piece after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from condense.errors import cannot_read
from condense.executors.pieces import Piece
from condense.runtime import Reporter
from condense.storage.files import append_line, append_lines
from condense.storage.run_folder import RunFolder


def merge_metrics(folder: RunFolder, pieces: Sequence[Piece]) -> None:
    """Append the metrics of pieces that are done to those of the run, and remove their files.

    pieces: none for all whose metrics are left, in the order of their names. Raises StorageError if that fails.
    """
    files = [folder.metrics_of(piece.kind, piece.index, piece.name) for piece in pieces]
    for file in files or sorted(folder.path.glob("metrics/*.jsonl")):
        try:
            if file.exists():
                append_lines(folder.metrics, file.read_bytes())
                file.unlink()
        except OSError as error:
            raise cannot_read(file, error) from error
    with suppress(OSError):  # Pieces under way have files in it.
        (folder.path / "metrics").rmdir()


class MetricsReporter:
    """A Reporter that passes everything on, and appends the values of finished units (epochs) to a file.

    The recover stage writes its own lines, which name chunk and iteration.

    folder: of the run. path: of the file. Raises StorageError if the folder has gone.
    """

    def __init__(self, told: Reporter, folder: RunFolder, path: Path) -> None:
        self._told, self._folder, self._path = told, folder, path
        self._work: dict[str, str | int] = {}
        self._done = 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Report that a piece of work begins."""
        self._work, self._done = {"stage": stage, "detail": detail, "unit": unit}, 0
        self._told.start(stage, detail, total, unit)

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Report that `count` units are done."""
        self._done += count
        self._folder.check_there()
        if values and count:
            append_line(self._path, {**self._work, "done": self._done, **values})
        self._told.advance(count, values)

    def finish(self, summary: str = "") -> None:
        """Report that the piece of work is done."""
        self._told.finish(summary)

    def note(self, text: str) -> None:
        """Report something that the user should know."""
        self._told.note(text)
