"""What the checks of a plugin found: a report in, plain data or renderables out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from condense.text import counted
from condense_cli.render.listing import BAD, NAME
from condense_cli.render.tables import QUIET

if TYPE_CHECKING:
    from condense.testing import Report

_STYLES = {"passed": "green", "failed": BAD, "skipped": QUIET}


def data_of(report: Report) -> dict[str, Any]:
    """Return a report as plain data: a row for each check, and below it what was found of each thing."""
    rows = [
        {
            **dataclasses.asdict(row),
            "findings": [
                {"subject": finding.subject, "state": finding.state, "text": finding.text}
                for finding in report.of(row.check)
            ],
        }
        for row in report.rows()
    ]
    return {"subject": report.subject, "passed": not report.failed, "checks": rows}


def report_table(report: Report) -> list[RenderableType]:
    """Return a row for each check with what it means and what it found, and a last line on the whole."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=QUIET, pad_edge=False)
    for column, share in (("CHECK", 0), ("STATE", 0), ("WHAT IT MEANS", 2), ("WHAT IT FOUND", 3)):
        table.add_column(column, overflow="fold", ratio=share or None, no_wrap=not share)
    for row in report.rows():
        state = Text(row.state, style=_STYLES[row.state])
        table.add_row(Text(row.check, style=NAME), state, Text(row.meaning, style=QUIET), Text(row.text))
    failed = len({finding.check for finding in report.failed})
    whole = f"{counted(failed, 'check')} failed" if failed else "every check passed"
    return [table, "", Text(f"{report.subject}: {whole}", style=BAD if failed else "")]
