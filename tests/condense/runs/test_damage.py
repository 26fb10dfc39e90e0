"""A flipped bit in a piece of a run is noticed when the run goes on, and the piece is made again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from condense.errors import StorageError


def flip(file: Path) -> None:
    """Change one bit in the middle of a file, whether other names lead to the file or not."""
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, 1)
        opened.write(bytes([byte ^ 1]))


KINDS = [
    "teacher.safetensors",
    "measurements.safetensors",
    "chunks/00001.safetensors",
    "students/method-*-1.json",
    "students/reference-*-0.json",
    "distilled/images/1-class-1/001.png",
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_piece_is_made_again(kind: str, copy: Any, site: Any) -> None:
    [file] = copy.path.glob(kind)
    before = file.read_bytes()
    flip(file)
    assert file.read_bytes() != before
    diary = site.diary()
    again = site.run(name="one", resume=True, reporter=diary)
    assert any(f"{file} is damaged" in event for event in diary.events)
    assert site.accuracies(again) == site.accuracies(copy)
    # The file of a student also holds the seconds that it took.
    assert kind.startswith("students") or file.read_bytes() == before
    quiet = site.diary()
    site.run(name="one", resume=True, reporter=quiet)
    assert not any("is damaged" in event for event in quiet.events)


def test_soft_labels_are_made_again(site: Any) -> None:
    options = {"name": "soft", "students": 1, "settings": {"protocol.labels": "soft"}}
    first = site.run("random", **options)
    file = first.path / "distilled" / "labels.safetensors"
    before = file.read_bytes()
    flip(file)
    again = site.run("random", resume=True, **options)
    assert file.read_bytes() == before
    assert site.accuracies(again) == site.accuracies(first)


@pytest.mark.usefixtures("another_teacher")
def test_a_teacher_that_comes_out_different_is_refused(copy: Any, site: Any) -> None:
    flip(copy.path / "teacher.safetensors")
    for _ in range(2):
        with pytest.raises(StorageError, match="has other weights, so the images of this run do not belong"):
            site.run(name="one", resume=True)
