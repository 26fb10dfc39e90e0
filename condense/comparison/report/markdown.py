"""compare.md: the tables for a paper, an issue or a chat."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from condense.comparison.outcome import Outcome
from condense.comparison.report.wording import (
    KINDS,
    UNKNOWN,
    accuracy_text,
    ceiling_texts,
    column_title,
    costs,
    crossed,
    differences_of,
    failure_text,
    footnotes,
    full_count,
    lead_paragraph,
    lead_text,
    published_texts,
)
from condense.comparison.summary import Line, Summary
from condense.text import byte_size

_MARKUP = re.compile(r"([\\`_<>\[\]|#~]|(?<!\s)\*|\*(?!\s))")  # a star between spaces is not emphasis
_PARTS = ("images", "labels", "teacher")  # of the stored bytes
_INSIDE_WORD = re.compile(r"(?<=\w)\\_(?=\w)")  # a_b is not emphasis


def render_markdown(outcome: Outcome, summary: Summary) -> str:
    """Return the file as text: accuracies, leads, scores and costs, failures, and the command that repeats it."""
    parts = [f"# {KINDS[outcome.kind]}: {_escaped(outcome.name)}", _escaped(lead_paragraph(outcome))]
    if not outcome.finished:
        parts.append("**Not finished:** the numbers below are those found so far.")
    if outcome.notes:
        parts.append(_bullets(outcome.notes))
    parts += ["## Accuracy, %", _accuracies(outcome, summary)]
    parts.append(_bullets(footnotes(outcome, summary)))
    if summary.leads:
        parts += ["## Who leads", _bullets(_leads(summary))]
    parts += ["## Scores and costs", _costs(summary)]
    if summary.failures:
        parts += ["## What failed", _bullets(failure_text(failure, outcome) for failure in summary.failures)]
    parts.append("## How to repeat it")
    if outcome.command:
        parts.append(f"    {' '.join(outcome.command.split())}")
    if outcome.versions:
        parts.append(_escaped(", ".join(f"{name} {version}" for name, version in outcome.versions.items())))
    return "\n\n".join(parts) + "\n"


def _accuracies(outcome: Outcome, summary: Summary) -> str:
    """Return a table with a line for each images-per-class and row; the columns are side by side."""
    full, gaps = full_count(outcome), differences_of(summary)
    header = ["ipc", "trained on"]
    for column in summary.columns:
        header.append(column_title(column, summary.columns))
        header += [f"difference to {what}" for what in gaps]
    published = any(map(summary.shows_published, summary.ipcs))
    header += ["published"] if published else []
    body = []
    for ipc in summary.ipcs:
        for row in summary.rows:
            label = _escaped(row) + (" (reference)" if row in summary.references else "")
            cells = [str(ipc), label]
            for column in summary.columns:
                line = summary.line(row, ipc, column.key)
                text = accuracy_text(line, full)
                cells.append(f"**{text}**" if line.best else text)
                cells += [gap(line) for gap in gaps.values()]
            if published:
                cells.append(_escaped(", ".join(published_texts(summary, row, ipc, summary.columns))))
            body.append(cells)
    for teacher, reached in ceiling_texts(summary):
        label = f"{_escaped(teacher)}, on all real images (ceiling)"
        of_columns = [reached, *[""] * len(gaps)] * len(summary.columns)
        body.append(["all", label, *of_columns, *[""] * published])
    return _table([_escaped(title) for title in header], body, numbers=2)


def _costs(summary: Summary) -> str:
    """Return a table of scores and costs with a line for each images-per-class, column and row."""
    texts = costs(summary)
    header = ["ipc", "student" if crossed(summary.columns) else "protocol", "trained on", *texts, *_PARTS]
    body = [
        [
            str(line.ipc),
            _escaped(column_title(column, summary.columns)),
            _escaped(line.row),
            *(text([line]) for text in texts.values()),
            *(_size(line, part) for part in _PARTS),
        ]
        for ipc in summary.ipcs
        for column in summary.columns
        for line in summary.group(ipc, column.key)
    ]
    return _table(header, body, numbers=3)


def _leads(summary: Summary) -> list[str]:
    titles = {column.key: column_title(column, summary.columns) for column in summary.columns}
    return [f"ipc {lead.ipc}, {titles[lead.column]}: {lead_text(lead)}" for lead in summary.leads]


def _size(line: Line, part: str) -> str:
    return byte_size(line.parts[part]) if part in line.parts else UNKNOWN


def _table(header: Sequence[str], body: Iterable[Sequence[str]], *, numbers: int) -> str:
    """Return a table in Markdown. numbers: the first of the columns that are aligned to the right."""
    rule = ["---" if position < numbers else "---:" for position in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))


def _bullets(texts: Iterable[str]) -> str:
    return "\n".join(f"- {_escaped(text)}" for text in texts)


def _escaped(text: str) -> str:
    """Return the text on one line, so that no renderer takes any of it for markup."""
    return _INSIDE_WORD.sub("_", _MARKUP.sub(r"\\\1", " ".join(text.split())))
