"""What the chart of a comparison shows, apart from how it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from condense.comparison.outcome import Column, Outcome
from condense.comparison.report.wording import column_title, images_per_class
from condense.comparison.statistics import Interval
from condense.comparison.summary import Line, Summary

# "ipc": accuracy over images per class. "rows": a single images-per-class, a row below the other.
# "steps": accuracy over the steps of a student's training.
Axis = Literal["ipc", "rows", "steps"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """x: images per class, steps, or the row's number from 0. mean: a fraction, with its interval."""

    x: float
    mean: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One row's points, by x. number: of the row, from 0, which decides how it is drawn."""

    row: str
    number: int
    floor: bool
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot. ceiling: the teacher's accuracy. description: for those who cannot see it."""

    axis: Axis
    title: str
    series: tuple[Series, ...]
    ceiling: float | None
    description: str


def panels(outcome: Outcome, summary: Summary) -> tuple[Panel, ...]:
    """Those with anything to show: one for each column; then, for each protocol that was trained for more than one
    length, one for each images-per-class over steps.
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
            series.append(Series(row=row, number=number, floor=row == summary.floor, points=tuple(points)))
    return Panel(
        axis=axis,
        title=title,
        series=tuple(series),
        ceiling=summary.ceiling,
        description=f"{description}, with 95 % intervals. The numbers are in the tables.",
    )


def _lengths(summary: Summary) -> list[list[Column]]:
    """The columns of each protocol and student that come with more than one training length."""
    groups: dict[tuple[str, str], list[Column]] = {}
    for column in summary.columns:
        groups.setdefault((column.protocol, column.student), []).append(column)
    return [columns for columns in groups.values() if len({column.epochs for column in columns}) > 1]
