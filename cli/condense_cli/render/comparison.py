"""A comparison in the terminal: its progress and its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from condense.comparison.outcome import Column, Outcome, Row
from condense.comparison.report.chosen import chosen_texts
from condense.comparison.report.wording import (
    accuracy_text,
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
from condense.comparison.summary import Lead, Line, Summary
from condense.text import duration, percent
from condense_cli.render.progress import BarReporter, LineReporter
from condense_cli.render.tables import ACCURACY, HEADING, QUIET

if TYPE_CHECKING:
    from condense.comparison.work import ComparisonResult

FAILED = "red"
LABEL_WIDTH = 34  # maximum width of a column of labels, in characters; longer labels wrap
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
        parts += [""] if leads else []
        parts += [_indented(_lead(lead, outcome, summary)) for lead in leads]
        for columns in _of_protocols(summary.columns):
            parts += ["", Padding(_costs(result, ipc, columns), (0, 0, 0, 1), expand=False)]
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


def _costs(result: ComparisonResult, ipc: int, columns: Sequence[Column]) -> Table:
    """Return the table of scores, seconds and bytes: a line for each row, from the lowest to the highest of columns.

    Scores are those of one student: where there are several, their range says little and makes the table too wide.
    """
    summary, several = result.summary, len(columns) > 1
    title = f"{len(columns)} students"
    if several and len(_of_protocols(summary.columns)) > 1:
        title = f"{protocols_text(columns)}, {title}"
    table = _ruled(title if several else _title(columns[0], summary))
    texts = costs(summary, scores=not several)
    for head in texts:
        table.add_column(head, justify="right", overflow="fold", no_wrap=True)

    def cells(row: str) -> list[Text]:
        lines = [summary.line(row, ipc, column.key) for column in columns]
        return [Text(text(lines)) for text in texts.values()]

    for teacher, rows in _by_teacher(result.outcome):
        _add_rows(table, teacher, rows, summary, cells)
    return table


def _by_teacher(outcome: Outcome) -> list[tuple[str, list[Row]]]:
    """Return the rows of each teacher, by the teacher's network where there are several, else by ""."""
    rows = outcome.rows
    teachers = dict.fromkeys(row.teacher for row in rows)
    return [(teacher, [row for row in rows if row.teacher == teacher]) for teacher in teachers]


def _add_rows(
    table: Table, teacher: str, rows: Sequence[Row], summary: Summary, cells: Callable[[str], list[Text]]
) -> None:
    """Add rows to a table, below a line with their teacher where there are several. cells: of the row with a label."""
    if teacher:
        table.add_row(Text(f"teacher {teacher}", style=QUIET))
    for row in rows:
        table.add_row(Text(_label(row, summary)), *cells(row.label))


def _lead(lead: Lead, outcome: Outcome, summary: Summary) -> str:
    """Return who leads in a column. Where there are several teachers, the line begins with theirs."""
    rows = {row.label: row for row in outcome.rows}
    row, following = rows[lead.row], rows[lead.next]
    title = next(_title(column, summary) for column in summary.columns if column.key == lead.column)
    place = f"{title}, teacher {row.teacher}" if row.teacher else title
    return f"{place}: {lead_text(replace(lead, row=row.stem, next=following.stem))}"


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

    def cells(row: str) -> list[Text]:
        found: list[Text] = []
        for column in columns:
            found += _cells(summary.line(row, ipc, column.key), summary, full_count(outcome))
        if published:
            found.append(Text("\n".join(published_texts(summary, row, ipc, columns))))
        return found

    for teacher, rows in _by_teacher(outcome):
        _add_rows(table, teacher, rows, summary, cells)
        if teacher in summary.ceilings:
            reached = Text(percent(summary.ceilings[teacher]))
            of_column = [reached, *(Text("") for _ in _gap_heads(summary))]
            table.add_row(Text(_ceiling_label(teacher)), *of_column * len(columns), style=QUIET)
    return table


def _cells(line: Line, summary: Summary, full: int) -> list[Text]:
    failed = line.mean is None and bool(line.failure)
    cells = [Text(accuracy_text(line, full), style=FAILED if failed else ACCURACY if line.best else "")]
    cells += [Text("" if failed else gap(line)) for gap in differences_of(summary).values()]
    return cells


def _gap_heads(summary: Summary) -> list[str]:
    """Return the titles of the columns of differences, which are short where there is one."""
    if summary.teachers:
        return [*([f"to {summary.first}"] if summary.compares else []), "to first teacher"]
    return ["difference"] if summary.compares else []


def _ceiling_label(teacher: str) -> str:
    """Return the label of what the teacher reached; it stands below the teacher's name where there are several."""
    return "  all real images" if teacher else "all real images (teacher)"


def _side_by_side(result: ComparisonResult, ipc: int, width: int) -> Iterator[list[Column]]:
    """Yield the columns in groups, each as large as the terminal has room for."""
    summary, full = result.summary, full_count(result.outcome)
    teachers = [f"teacher {teacher}" for teacher in summary.teachers]
    ceilings = [_ceiling_label(teacher) for teacher in summary.ceilings]
    rows = [_label(row, summary) for row in result.outcome.rows]
    labels = max(map(cell_len, [*teachers, *ceilings, *rows]))
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


def _label(row: Row, summary: Summary) -> str:
    """Return the label of a row, which stands below its teacher where there are several."""
    label = f"{row.stem} (reference)" if row.label in summary.references else row.stem
    return f"  {label}" if row.teacher else label


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
        first = f"the first teacher, {summary.teachers[0]}"
        yield f"To first teacher: points to the same row under {first}, paired by seed{star}."
    if published := published_note(outcome, summary):
        yield published
    yield from chosen_texts(outcome)
    if summary.scored and not crossed(summary.columns):
        yield "LRS, ARS: DD-Ranking's scores, 0 to 1: how good the images are, apart from labels and augmentation."
    yield "Stored: images, labels and a teacher that answers in training. Compression: the real images over it."
    if crossed(summary.columns):
        what = "costs and the scores" if summary.scored else "costs"
        yield f"Of several students, the lowest to the highest. The {what} of each are in {MARKDOWN} and on the page."
        yield f"Students: every network learns from the same images. Protocol: {protocols_text(summary.columns)}."
        return
    students = {column.protocol: column.student for column in summary.columns}
    yield f"Students: {', '.join(f'{protocol} {student}' for protocol, student in students.items())}."
