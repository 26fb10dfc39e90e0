"""All files that a comparison writes for its readers."""

from __future__ import annotations

from pathlib import Path

from condense.comparison.outcome import Outcome
from condense.comparison.report.chart import draw_png
from condense.comparison.report.markdown import render_markdown
from condense.comparison.report.page import render_page
from condense.comparison.saved import JSON, MARKDOWN, PAGE, PICTURE, to_dict
from condense.comparison.summary import Summary
from condense.storage.files import write_bytes, write_json, write_text


def write_all(outcome: Outcome, summary: Summary, folder: Path) -> None:
    """Write compare.json, compare.md, compare.png and compare.html into `folder`, each whole or not at all.

    summary: of this outcome; all files show its numbers. compare.json comes first, so a picture that cannot be drawn
    loses no results. Raises StorageError.
    """
    write_json(folder / JSON, to_dict(outcome, summary))
    write_text(folder / MARKDOWN, render_markdown(outcome, summary))
    write_bytes(folder / PICTURE, draw_png(outcome, summary))
    write_text(folder / PAGE, render_page(outcome, summary, folder))
