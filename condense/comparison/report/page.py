"""compare.html: a comparison on one self-contained page, with its charts and images inside."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import markupsafe

from condense.comparison.outcome import Column, Distilled, Outcome, Row
from condense.comparison.report.chart import draw_keys, draw_svgs
from condense.comparison.report.differences import differences, settings_of
from condense.comparison.report.palette import COLOURS
from condense.comparison.report.wording import (
    KINDS,
    accuracy_text,
    ceiling_texts,
    column_title,
    costs,
    differences_of,
    failure_text,
    footnotes,
    full_count,
    images_per_class,
    lead_paragraph,
    lead_text,
    published_texts,
)
from condense.comparison.summary import Line, Summary
from condense.storage.templates import template
from condense.text import byte_size, duration, percent, setting_text

_PNG = b"\x89PNG\r\n\x1a\n"
_HYPHEN = re.compile(r"(?<![\w.])-(?=\d)")
_JOINT = re.compile(r"(?<=\w[.=_/-])(?=\w)")
_MANY_GRIDS = 12  # if there are more, only those of the first images-per-class are shown unfolded


def render_page(outcome: Outcome, summary: Summary, folder: Path) -> str:
    """Return the page as text. Text from outside is escaped, and the page refers to nothing outside itself.

    folder: the comparison's, with the pictures of the distilled images. The page says which pictures are missing.
    """
    settings = settings_of(outcome)
    grids = _grids(outcome, folder)
    page = template("comparison/report/compare.html.j2", minus=_minus, breakable=_breakable, percent=percent)
    return page.render(
        run=outcome,
        kind=KINDS[outcome.kind],
        lead=lead_paragraph(outcome),
        facts=_facts(outcome),
        colours=COLOURS,
        symbols=draw_keys(outcome),
        keys={row: f"key-{number}" for number, row in enumerate(summary.rows)},
        charts=_charts(outcome, summary),
        overview=_overview(outcome, summary),
        groups=_groups(outcome, summary),
        costs=list(costs(summary)),
        gaps=list(differences_of(summary)),
        ceilings=ceiling_texts(summary),
        summary=summary,
        footnotes=footnotes(outcome, summary),
        failures=[failure_text(failure, outcome) for failure in summary.failures],
        grids=grids,
        all_grids=sum(len(found) for _, found in grids) <= _MANY_GRIDS,
        rows=[(row, _changes(row)) for row in outcome.rows],
        settings=settings,
        differences=differences(settings),
    )


def _facts(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the tiles at the top: facts that are the same for all rows."""
    facts = [("Dataset", outcome.dataset), ("Real images", f"{outcome.images:,}")]
    facts.append(("Seeds × students", f"{len(outcome.seeds)} × {outcome.students}"))
    for name, teacher in (outcome.teachers or ({"": outcome.teacher} if outcome.teacher else {})).items():
        facts.append((f"Teacher: {name or teacher.model}", f"{percent(teacher.accuracy)} %"))
        if teacher.seconds:
            facts.append((f"Training of {name}" if name else "Teacher's training", duration(teacher.seconds)))
    return facts


def _charts(outcome: Outcome, summary: Summary) -> list[tuple[str, list[str]]]:
    """Return the plots by heading."""
    plots: dict[str, list[str]] = {}
    titles = {
        "rows": "Accuracy",
        "ipc": "Accuracy over images per class",
        "steps": "Accuracy over training length",
    }
    for panel, svg in draw_svgs(outcome, summary):
        plots.setdefault(titles[panel.axis], []).append(svg)
    return list(plots.items())


def _overview(outcome: Outcome, summary: Summary) -> dict[str, Any] | None:
    """Return all accuracies in one table, or None if the page has a single table, which shows the same.

    Columns are side by side and images-per-class below each other. If there is one column, images-per-class are side
    by side.
    """
    if len(summary.ipcs) * len(summary.columns) < 2:
        return None
    full = full_count(outcome)

    def block(title: str, places: list[tuple[int, str]]) -> dict[str, Any]:
        lines = [[summary.line(row, *place) for place in places] for row in summary.rows]
        cells = [
            [(accuracy_text(line, full), line.best, bool(line.excludes_zero)) for line in of_row]
            for of_row in lines
        ]
        return {"title": title, "rows": list(zip(summary.rows, cells, strict=True))}

    if len(summary.columns) == 1:
        titles = [images_per_class(ipc) for ipc in summary.ipcs]
        blocks = [block("", [(ipc, summary.columns[0].key) for ipc in summary.ipcs])]
    else:
        titles = [column_title(column, summary.columns) for column in summary.columns]
        keys = [column.key for column in summary.columns]
        blocks = [block(images_per_class(ipc), [(ipc, key) for key in keys]) for ipc in summary.ipcs]
    return {"titles": titles, "blocks": blocks}


def _groups(outcome: Outcome, summary: Summary) -> list[dict[str, Any]]:
    """Return the tables of each images-per-class, one for each column."""
    leads: dict[tuple[int, str], list[tuple[str, bool]]] = {}
    for lead in summary.leads:
        leads.setdefault((lead.ipc, lead.column), []).append((lead_text(lead), lead.clear))
    groups = []
    for ipc in summary.ipcs:
        tables = []
        for column in summary.columns:
            lines = summary.group(ipc, column.key)
            steps = sorted({line.steps for line in lines if line.steps})
            facts = [f"{column.labels.capitalize()} labels", f"student {column.student}"]
            if steps:
                facts.append(f"{' or '.join(f'{count:,}' for count in steps)} steps")
            tables.append(
                {
                    "title": column_title(column, summary.columns),
                    "about": ", ".join(facts),
                    "leads": leads.get((ipc, column.key), []),
                    "lines": [_view(outcome, summary, line, column) for line in lines],
                }
            )
        groups.append(
            {
                "title": images_per_class(ipc),
                "tables": tables,
                "published": summary.shows_published(ipc),
            }
        )
    return groups


def _view(outcome: Outcome, summary: Summary, line: Line, column: Column) -> dict[str, Any]:
    """Return a line as texts and marks."""
    known = line.mean is not None
    return {
        "row": line.row,
        "known": known,
        "best": line.best,
        "accuracy": accuracy_text(line, full_count(outcome)),
        "gaps": [gap(line) for gap in differences_of(summary).values()],
        "published": ", ".join(published_texts(summary, line.row, line.ipc, [column])),
        "failure": line.failure,
        "costs": {title: text([line]) for title, text in costs(summary).items()},
        "parts": " + ".join(f"{byte_size(count)} {part}" for part, count in line.parts.items() if count),
    }


def _grids(outcome: Outcome, folder: Path) -> list[tuple[str, list[dict[str, str]]]]:
    """Return the rows' pictures for each images-per-class, from the first seed that has a picture."""
    groups = []
    for ipc in outcome.ipcs:
        found = []
        for row in outcome.rows:
            runs = [run for run in outcome.distilled if (run.row, run.ipc) == (row.label, ipc)]
            if runs:
                found.append(_grid(row.label, ipc, runs, folder))
        if found:
            groups.append((images_per_class(ipc), found))
    return groups


def _grid(row: str, ipc: int, runs: list[Distilled], folder: Path) -> dict[str, str]:
    for run in runs:
        source = "" if run.failure else _embedded(folder, run.grid)
        if source:
            alt = f"Distilled images of {row}, {images_per_class(ipc)}, seed {run.seed}: a row for each class"
            return {"row": row, "seed": str(run.seed), "source": source, "alt": alt, "reason": ""}
    reason = next((run.failure for run in runs if run.failure), "the picture is missing")
    return {"row": row, "seed": "", "source": "", "alt": "", "reason": reason}


def _embedded(folder: Path, grid: str) -> str:
    """Return a PNG file as a data: URI, or "" if the folder does not have it."""
    place = (folder / grid).resolve()
    # A compare.json may come from a stranger, so the page shows only pictures from the comparison's folder.
    if not grid or not place.is_relative_to(folder.resolve()):
        return ""
    try:
        data = place.read_bytes()
    except OSError:
        return ""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii") if data.startswith(_PNG) else ""


def _changes(row: Row) -> str:
    """Return what a row changes of its method, in one line."""
    parts = [f"{key} = {setting_text(value)}" for key, value in row.settings.items()]
    return ", ".join([*parts, *(f"without {name}" for name in row.without)])


def _breakable(text: str) -> markupsafe.Markup:
    """Return a label that browsers can break between its parts, as in "recover.iterations=100"."""
    return markupsafe.Markup(_JOINT.sub("<wbr>", str(markupsafe.escape(text))))


def _minus(text: str) -> str:
    """Return the text with a minus sign for each hyphen before a number."""
    return _HYPHEN.sub("−", text)
