"""Everything a comparison leaves behind for readers, written at once."""

from __future__ import annotations

from pathlib import Path

from condense.comparison.outcome import Outcome
from condense.comparison.report.chart import draw_png
from condense.comparison.report.markdown import render_markdown
from condense.comparison.report.page import render_page
from condense.comparison.saved import JSON, MARKDOWN, PAGE, PICTURE, to_dict
from condense.storage.files import write_bytes, write_json, write_text


def write_all(outcome: Outcome, folder: Path) -> None:
    """Write compare.json, compare.md, compare.png and compare.html into `folder`, each whole or not at all.

    The data comes first, so that a picture that cannot be drawn loses nothing. Raises StorageError.
    """
    write_json(folder / JSON, to_dict(outcome))
    write_text(folder / MARKDOWN, render_markdown(outcome))
    write_bytes(folder / PICTURE, draw_png(outcome))
    write_text(folder / PAGE, render_page(outcome, folder))
