"""A run whose directory is moved or removed says so at once, and makes nothing anew in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from condense.errors import StorageError
from condense.runtime import SilentReporter


class Mover(SilentReporter):
    """Moves a folder away at the first unit of the works whose stage and detail begin with a text."""

    def __init__(self, text: str, folder: Path) -> None:
        self._text, self._folder, self._work = text, folder, ""
        self.after = 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._work = f"{stage}: {detail}"

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        if self.moved.exists():
            self.after += count
        elif self._work.startswith(self._text):
            self._folder.rename(self.moved)

    @property
    def moved(self) -> Path:
        return self._folder.with_name("moved")


@pytest.mark.parametrize("when", ["squeeze", "measure", "recover", "evaluate"])
def test_a_run_directory_that_is_moved_is_missed_at_once(when: str, site: Any) -> None:
    options: dict[str, Any] = {"settings": {"teacher.epochs": 3, "protocol.epochs": 3}, "name": "one"}
    whole = site.run(**{**options, "name": "whole"})
    path = site.out / "one"
    mover = Mover(when, path)
    with pytest.raises(StorageError, match="has gone: the run directory was moved or removed"):
        site.run(reporter=mover, **options)
    assert not path.exists()
    assert mover.after <= 2
    mover.moved.rename(path)
    result = site.run(resume=True, **options)
    assert site.accuracies(result) == site.accuracies(whole)
    assert site.tree(result.path / "distilled") == site.tree(whole.path / "distilled")
