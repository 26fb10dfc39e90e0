"""Damaged files of a cell are made again, and the table stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("kind", ["distilled/images/*/000.png", "students/*-0.json"])
def test_a_damaged_file_of_a_cell_is_made_again(kind: str, site: Any) -> None:
    first = site.compare("random")
    files = sorted(Path(site.out).rglob(f"cells/*/{kind}")) or sorted(Path(site.out).rglob(kind))
    file = files[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    # Students that are missing are trained on the images, so images are looked at.
    if kind.startswith("distilled"):
        for student in file.parents[3].glob("students/*.json"):
            student.unlink()
    again = site.compare("random")
    assert [cell.accuracies for cell in again.outcome.cells] == [
        cell.accuracies for cell in first.outcome.cells
    ]
    assert not again.failures
