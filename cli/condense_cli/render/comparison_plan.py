"""The plan of a comparison, before it starts: plain data in, renderables out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from condense.comparison.amount import Amount
from condense.comparison.design import Design
from condense.comparison.outcome import Column, Row
from condense.comparison.report.wording import column_title
from condense.comparison.workspace import Outlook
from condense.executors.pieces import Outline
from condense.recipe.method import Teacher
from condense.text import counted, magnitude, percent, setting_text
from condense_cli.render.comparison import LABEL_WIDTH
from condense_cli.render.tables import HEADING, pairs_table, pieces_pairs

# The setting that rows of several teachers differ in; their heading names it.
TEACHER_KEY = "teacher.model"


def plan_parts(
    design: Design, outlook: Outlook, amount: Amount | None, outlines: Sequence[Outline] | None
) -> list[RenderableType]:
    """Return what a comparison would do: its rows, what all rows share, and the work ahead."""
    validation = design.validation
    columns = [column.column for column in design.columns]
    scored = [column for column in columns if column.role == "score"]
    facts = [
        ("dataset", design.shared.dataset.name),
        ("ipc", ", ".join(map(str, design.ipcs))),
        ("seeds", ", ".join(map(str, design.seeds))),
        ("tested on", f"{percent(validation)} % of the training images" if validation else "the test images"),
        *(("teacher", _teacher_text(text, teacher)) for text, teacher in design.teachers.items()),
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
        **_rows(design.rows),
        "All rows": facts,
        "Work ahead": [("cells", cells), ("students", students), *_passes(amount)],
        "Pieces, done by --executor or --jobs": pieces_pairs(outlines),
    }
    parts: list[RenderableType] = []
    for title, pairs in sections.items():
        parts += [Text(title, style=HEADING), pairs_table(pairs, max_width=LABEL_WIDTH + 2), ""]
    notes = (Padding(Text(note), (0, 0, 0, 2), expand=False) for note in design.notes)
    return [*parts, *notes, f"  would lie in  {outlook.path}"]


def _rows(rows: Sequence[Row]) -> dict[str, list[tuple[str, str]]]:
    """Return each row with what it changes, or its summary, by heading: one for each teacher if there are several."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        settings = {
            key: value for key, value in row.settings.items() if not row.teacher or key != TEACHER_KEY
        }
        told = _changes(settings, row.without) or row.summary
        found.setdefault(f"Rows, teacher {row.teacher}" if row.teacher else "Rows", []).append(
            (row.stem, told)
        )
    return found


def _passes(amount: Amount | None) -> Iterator[tuple[str, str]]:
    """Yield how many images pass through networks, done or not, and how to get seconds."""
    if amount is None:
        yield "passes", "not known: a dry run does not look at the images of this dataset"
    else:
        for part, (forward, backward) in amount.parts().items():
            yield f"all {part}", f"{magnitude(forward)} images forward, {magnitude(backward)} backward"
    yield "time", "`condense plan --method METHOD` times one run on this machine"


def plan_data(
    design: Design, outlook: Outlook, amount: Amount | None, outlines: Sequence[Outline] | None
) -> dict[str, Any]:
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
            "pieces": {one.kind: one.count for one in outlines} if outlines is not None else None,
            "notes": design.notes,
            "command": design.command,
        }
    )
    return plan


def _teacher_text(text: str, teacher: Teacher) -> str:
    """Return a teacher as text. text: its network with options, "" where there is one teacher."""
    return f"{text or teacher.model.name}, {counted(teacher.epochs, 'epoch')}, seed {teacher.seed}"


def _column_text(column: Column) -> str:
    return f"{column_title(column, [column])}, {column.labels} labels, student {column.student}"


def _changes(settings: Mapping[str, Any], without: Sequence[str]) -> str:
    changed = [f"{key}={setting_text(value)}" for key, value in settings.items()]
    return ", ".join([*changed, *(f"without {name}" for name in without)])
