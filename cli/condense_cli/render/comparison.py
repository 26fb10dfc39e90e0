"""A comparison in the terminal: its progress, its tables and its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from condense.comparison.amount import Amount
from condense.comparison.design import Design
from condense.comparison.outcome import Column
from condense.comparison.report.wording import (
    accuracy_text,
    ceiling_texts,
    column_title,
    costs,
    crossed,
    differences_of,
    failure_text,
    full_count,
    images_per_class,
    lead_text,
    protocols_text,
    published_note,
    published_texts,
    spread_over,
    tested_on,
)
from condense.comparison.saved import MARKDOWN, PAGE
from condense.comparison.summary import Line, Summary
from condense.comparison.workspace import Outlook
from condense.recipe.method import Teacher
from condense.text import counted, duration, magnitude, percent, setting_text
from condense_cli.render.progress import BarReporter, LineReporter
from condense_cli.render.tables import ACCURACY, HEADING, QUIET, pairs_table

if TYPE_CHECKING:
    from condense.comparison.work import ComparisonResult

FAILED = "red"
LABEL_WIDTH = 30  # maximum width of a column of labels, in characters; longer labels wrap
SPACE = 3  # characters around a cell, and between two cells


class PieceReporter:
    """A ComparisonReporter that passes everything on to bars or lines, and says which piece begins."""

    def __init__(self, told: BarReporter | LineReporter) -> None:
        self.start, self.advance, self.finish, self.note = told.start, told.advance, told.finish, told.note
        self._say = told.say

    def piece(self, number: int, total: int, what: str, left: float | None) -> None:
        """Say which piece begins, and how many seconds of work are left in all."""
        ahead = "" if left is None else f"; about {duration(left)} left in all"
        self._say(f"[{number}/{total}] {what}{ahead}")


def outcome_parts(result: ComparisonResult, width: int) -> list[RenderableType]:
    """Return the tables, leads, failures and the paths of the files. width: of the terminal, in characters."""
    outcome, summary = result.outcome, result.summary
    parts: list[RenderableType] = []
    for ipc in summary.ipcs:
        parts += ["", Text(f"{outcome.dataset}, {images_per_class(ipc)}", style=HEADING)]
        for columns in _side_by_side(result, ipc, width):
            parts += ["", Padding(_table(result, ipc, columns), (0, 0, 0, 1), expand=False)]
        leads = [lead for lead in summary.leads if lead.ipc == ipc]
        titles = {column.key: _title(column, summary) for column in summary.columns}
        parts += [""] if leads else []
        parts += [_indented(f"{titles[lead.column]}: {lead_text(lead)}") for lead in leads]
        for columns in _of_protocols(summary.columns):
            parts += ["", Padding(_costs(summary, ipc, columns), (0, 0, 0, 1), expand=False)]
    parts += ["", *(_indented(text, QUIET) for text in _legend(result))]
    if summary.failures:
        parts += ["", Text("Failed", style=f"{HEADING} {FAILED}")]
        parts += [_indented(failure_text(failure, outcome)) for failure in summary.failures]
    places = {"page": PAGE, "tables": MARKDOWN}
    return [*parts, "", *(f"  {what:<8}  {result.path / file}" for what, file in places.items())]


def _ruled(first: str) -> Table:
    """Return an empty table, whose first column is for the labels of rows."""
    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1), header_style=QUIET, show_edge=False, border_style=QUIET
    )
    table.add_column(first, overflow="fold", max_width=LABEL_WIDTH)
    return table


def _of_protocols(columns: Sequence[Column]) -> list[list[Column]]:
    """Return the columns in groups, which differ in nothing but the student."""
    groups: dict[tuple[str, int], list[Column]] = {}
    for column in columns:
        groups.setdefault((column.protocol, column.epochs), []).append(column)
    return list(groups.values())


def _costs(summary: Summary, ipc: int, columns: Sequence[Column]) -> Table:
    """Return the table of scores, seconds and bytes: a line for each row, from the lowest to the highest of columns."""
    several = f"{protocols_text(columns)}, {len(columns)} students"
    table = _ruled(_title(columns[0], summary) if len(columns) == 1 else several)
    texts = costs(summary)
    for title in texts:
        table.add_column(title, justify="right", overflow="fold", no_wrap=len(columns) == 1)
    for row in summary.rows:
        lines = [summary.line(row, ipc, column.key) for column in columns]
        table.add_row(Text(_label(row, summary)), *(Text(text(lines)) for text in texts.values()))
    return table


def _table(result: ComparisonResult, ipc: int, columns: Sequence[Column]) -> Table:
    outcome, summary = result.outcome, result.summary
    table = _ruled("trained on")
    for column in columns:
        table.add_column(_title(column, summary), overflow="fold")
        for head in _gap_heads(summary):
            table.add_column(head, overflow="fold", no_wrap=True)
    published = summary.shows_published(ipc)
    if published:
        needed = _published_width(summary, ipc, columns)
        table.add_column("published", overflow="fold", min_width=min(needed, LABEL_WIDTH))
    for row in summary.rows:
        cells = [Text(_label(row, summary))]
        for column in columns:
            cells += _cells(summary.line(row, ipc, column.key), summary, full_count(outcome))
        if published:
            cells.append(Text("\n".join(published_texts(summary, row, ipc, columns))))
        table.add_row(*cells)
    for teacher, reached in ceiling_texts(summary):
        of_column = [Text(reached), *(Text("") for _ in _gap_heads(summary))]
        unpublished = [Text("")] * published
        table.add_row(Text(_ceiling_label(teacher)), *of_column * len(columns), *unpublished, style=QUIET)
    return table


def _cells(line: Line, summary: Summary, full: int) -> list[Text]:
    failed = line.mean is None and bool(line.failure)
    cells = [Text(accuracy_text(line, full), style=FAILED if failed else ACCURACY if line.best else "")]
    cells += [Text("" if failed else gap(line)) for gap in differences_of(summary).values()]
    return cells


def _gap_heads(summary: Summary) -> list[str]:
    """Return the titles of the columns of differences, which are short where there is one."""
    whats = list(differences_of(summary))
    return ["difference"] if len(whats) == 1 and summary.compares else [f"to {what}" for what in whats]


def _ceiling_label(teacher: str) -> str:
    return f"all real images ({teacher})"


def _side_by_side(result: ComparisonResult, ipc: int, width: int) -> Iterator[list[Column]]:
    """Yield the columns in groups, each as large as the terminal has room for."""
    summary, full = result.summary, full_count(result.outcome)
    ceilings = [_ceiling_label(teacher) for teacher, _ in ceiling_texts(summary)]
    labels = max(map(cell_len, [*ceilings, *(_label(row, summary) for row in summary.rows)]))
    room = width - min(labels, LABEL_WIDTH) - SPACE - 1
    if summary.shows_published(ipc):
        room -= SPACE + _published_width(summary, ipc, summary.columns)
    chosen: list[Column] = []
    used = 0
    for column in summary.columns:
        texts = [_cells(summary.line(row, ipc, column.key), summary, full) for row in summary.rows]
        heads = [_title(column, summary), *_gap_heads(summary)]
        needed = sum(
            SPACE + max(cell_len(head), *(cell_len(text.plain) for text in column_texts))
            for head, column_texts in zip(heads, zip(*texts, strict=True), strict=False)
        )
        if chosen and used + needed > room:
            yield chosen
            chosen, used = [], 0
        chosen.append(column)
        used += needed
    yield chosen


def _published_width(summary: Summary, ipc: int, columns: Sequence[Column]) -> int:
    """Return how many characters the column of published accuracies needs."""
    found = [published_texts(summary, row, ipc, columns) for row in summary.rows]
    return max(cell_len(text) for texts in found for text in texts)


def _label(row: str, summary: Summary) -> str:
    return f"{row} (reference)" if row in summary.references else row


def _title(column: Column, summary: Summary) -> str:
    """Return the column's title; the student only where a protocol has several, because a terminal has little room."""
    return column_title(column, summary.columns, brief=True)


def _indented(text: str, style: str = "") -> Padding:
    return Padding(Text(text, style=style), (0, 0, 0, 2), expand=False)


def _legend(result: ComparisonResult) -> Iterator[str]:
    outcome, summary = result.outcome, result.summary
    full = full_count(outcome)
    several = f" ± half the 95 % interval over {spread_over(outcome)}" if full > 1 else ""
    yield f"Percent right on {tested_on(outcome).rstrip(',')}, after the last epoch{several}."
    star = "; * its 95 % interval excludes 0" if len(outcome.seeds) > 1 else ""
    if summary.compares:
        same = " under the same teacher" if summary.teachers else ""
        yield f"Difference: points to {summary.first}{same}, paired by seed{star}."
    if summary.teachers:
        yield f"To teacher {summary.teachers[0]}: points to the same row under that teacher, paired by seed{star}."
    if published := published_note(outcome, summary):
        yield published
    if summary.scored:
        yield "LRS, ARS: DD-Ranking's scores, 0 to 1: how good the images are, apart from labels and augmentation."
    yield "Stored: images, labels and a teacher that answers in training. Compression: the real images over it."
    if crossed(summary.columns):
        yield f"Scores and costs of several students: the lowest to the highest; each is in {MARKDOWN} and on the page."
        yield f"Students: every network learns from the same images. Protocol: {protocols_text(summary.columns)}."
        return
    students = {column.protocol: column.student for column in summary.columns}
    yield f"Students: {', '.join(f'{protocol} {student}' for protocol, student in students.items())}."


def plan_parts(design: Design, outlook: Outlook, amount: Amount | None) -> list[RenderableType]:
    """Return what a comparison would do: its rows, what all rows share, and the work ahead."""
    validation = design.validation
    columns = [column.column for column in design.columns]
    scored = [column for column in columns if column.role == "score"]
    facts = [
        ("dataset", design.shared.dataset.name),
        ("ipc", ", ".join(map(str, design.ipcs))),
        ("seeds", ", ".join(map(str, design.seeds))),
        ("tested on", f"{percent(validation)} % of the training images" if validation else "the test images"),
        *(("teacher", _teacher_text(teacher)) for teacher in design.teachers.values()),
        *((f"column {number}", _column_text(column)) for number, column in enumerate(scored, 1)),
    ]
    further = len(columns) - len(scored)
    if further:
        facts.append(("scores", f"{counted(further, 'further column')} for DD-Ranking's scores"))
    cells = f"{outlook.cells} ({outlook.cells_done} done): a row, distilled for one ipc and seed"
    students = (
        f"{outlook.students} ({outlook.students_done} done): {design.students} for each cell and column"
    )
    sections = {
        "Rows": [(row.label, _changes(row.settings, row.without) or row.summary) for row in design.rows],
        "All rows": facts,
        "Work ahead": [("cells", cells), ("students", students), *_passes(amount)],
    }
    parts: list[RenderableType] = []
    for title, pairs in sections.items():
        parts += [Text(title, style=HEADING), pairs_table(pairs, max_width=LABEL_WIDTH + 2), ""]
    return [*parts, *(_indented(note) for note in design.notes), f"  would lie in  {outlook.path}"]


def _passes(amount: Amount | None) -> Iterator[tuple[str, str]]:
    """Yield how many images pass through networks, done or not, and how to get seconds."""
    if amount is None:
        yield "passes", "not known: a dry run does not look at the images of this dataset"
    else:
        for part, (forward, backward) in amount.parts().items():
            yield f"all {part}", f"{magnitude(forward)} images forward, {magnitude(backward)} backward"
    yield "time", "`condense plan --method METHOD` times one run on this machine"


def plan_data(design: Design, outlook: Outlook, amount: Amount | None) -> dict[str, Any]:
    """Return what a comparison would do as plain data."""
    import msgspec

    plan: dict[str, Any] = msgspec.to_builtins(
        {
            "path": str(outlook.path),
            "kind": design.kind,
            "rows": design.rows,
            "reference": design.reference,
            "columns": [column.column for column in design.columns],
            "ipcs": design.ipcs,
            "seeds": design.seeds,
            "cells": {"all": outlook.cells, "done": outlook.cells_done},
            "students": {"all": outlook.students, "done": outlook.students_done},
            "passes": {
                part: {"forward": forward, "backward": backward}
                for part, (forward, backward) in (amount.parts() if amount else {}).items()
            },
            "notes": design.notes,
            "command": design.command,
        }
    )
    return plan


def _teacher_text(teacher: Teacher) -> str:
    return f"{teacher.model.name}, {counted(teacher.epochs, 'epoch')}, seed {teacher.seed}"


def _column_text(column: Column) -> str:
    return f"{column_title(column, [column])}, {column.labels} labels, student {column.student}"


def _changes(settings: Mapping[str, Any], without: Sequence[str]) -> str:
    changed = [f"{key}={setting_text(value)}" for key, value in settings.items()]
    return ", ".join([*changed, *(f"without {name}" for name in without)])
