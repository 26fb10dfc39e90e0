"""The data of each plot in the chart of a comparison."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from condense.comparison.outcome import Column, Outcome
from condense.comparison.report.wording import column_title, images_per_class
from condense.comparison.summary import Line, Summary
from condense.engine.intervals import Interval

# "ipc": accuracy over images per class. "rows": accuracy at one images-per-class, the rows below each other.
# "steps": accuracy over the steps of a student's training.
Axis = Literal["ipc", "rows", "steps"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One accuracy of one row.

    x: images per class, steps, or the row's number from 0.
    mean, interval: the accuracy and its 95 % interval, fractions.
    """

    x: float
    mean: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """The points of one row.

    row: the row's label.
    number: the row's number from 0, which decides how it is drawn.
    reference: whether the row shows random real images.
    points: sorted by x.
    """

    row: str
    number: int
    reference: bool
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot.

    axis: what x is.
    title: of the plot.
    series: one for each row that has points.
    ceiling: the teacher's accuracy in [0, 1], or None.
    description: for readers who cannot see the plot.
    """

    axis: Axis
    title: str
    series: tuple[Series, ...]
    ceiling: float | None
    description: str


def panels(outcome: Outcome, summary: Summary) -> tuple[Panel, ...]:
    """Return the plots that have anything to show.

    There is one for each column. For each protocol with several training lengths, there is one over steps for each
    images-per-class.
    """
    found = [_of_column(summary, column) for column in summary.columns]
    for columns in _lengths(summary):
        found += [_of_steps(summary, columns, ipc) for ipc in summary.ipcs]
    return tuple(panel for panel in found if panel.series)


def _of_column(summary: Summary, column: Column) -> Panel:
    title = column_title(column, summary.columns)
    if len(summary.ipcs) == 1:
        (ipc,) = summary.ipcs
        lines = {
            row: [(number, summary.line(row, ipc, column.key))] for number, row in enumerate(summary.rows)
        }
        title = f"{title}, {images_per_class(ipc)}"
        return _panel(summary, "rows", title, lines, f"{title}: accuracy of each row")
    lines = {row: [(ipc, summary.line(row, ipc, column.key)) for ipc in summary.ipcs] for row in summary.rows}
    return _panel(
        summary, "ipc", title, lines, f"{title}: accuracy over images per class, a line for each row"
    )


def _of_steps(summary: Summary, columns: Iterable[Column], ipc: int) -> Panel:
    first, *_ = columns = tuple(columns)
    student = f", {first.student}" if len({column.student for column in summary.columns}) > 1 else ""
    title = f"{first.protocol}{student}, {images_per_class(ipc)}, by training length"
    lines = {}
    for row in summary.rows:
        found = [summary.line(row, ipc, column.key) for column in columns]
        lines[row] = [(line.steps, line) for line in found if line.steps]
    return _panel(
        summary, "steps", title, lines, f"{title}: accuracy over the steps of a training, a line for each row"
    )


def _panel(
    summary: Summary, axis: Axis, title: str, lines: dict[str, list[tuple[int, Line]]], description: str
) -> Panel:
    series = []
    for number, row in enumerate(summary.rows):
        points = sorted(
            (
                Point(x=x, mean=line.mean, interval=line.interval)
                for x, line in lines[row]
                if line.mean is not None
            ),
            key=lambda point: point.x,
        )
        if points:
            series.append(
                Series(row=row, number=number, reference=row in summary.references, points=tuple(points))
            )
    return Panel(
        axis=axis,
        title=title,
        series=tuple(series),
        ceiling=summary.ceiling,
        description=f"{description}, with 95 % intervals. The numbers are in the tables.",
    )


def _lengths(summary: Summary) -> list[list[Column]]:
    """Return the columns of each protocol and student that have several training lengths."""
    groups: dict[tuple[str, str], list[Column]] = {}
    for column in summary.columns:
        groups.setdefault((column.protocol, column.student), []).append(column)
    return [columns for columns in groups.values() if len({column.epochs for column in columns}) > 1]
