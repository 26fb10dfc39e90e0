"""An artifact made from a user's own folder is passed on: without the folder's place, and it can still be tested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import condense
from condense.errors import DataError

QUICK = {
    "protocol.labels": "hard",
    "protocol.epochs": 1,
    "student.model": "convnet",
    "student.model.width": 4,
}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    draws = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for name in ("cat", "dog"):
            folder = tmp_path / "private" / "pets" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(draws.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "private" / "pets"


def test_nothing_in_the_artifact_says_where_the_images_lay(pets: Path, tmp_path: Path) -> None:
    made = condense.run(
        method="random", dataset=f"folder:{pets}", ipc=2, students=1, settings=QUICK, out=tmp_path / "runs"
    )
    assert made.distilled.dataset == "folder:pets"
    files = [file for file in (made.path / "distilled").rglob("*") if file.is_file()]
    assert len(files) > 4
    assert not [file for file in files if b"private" in file.read_bytes()]
    # Beside its run it is tested on the folder that the run knows; elsewhere the folder has to be named.
    again = condense.evaluate(made.path, students=1)
    assert again.score.mean == made.accuracy
    moved = (made.path / "distilled").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="pets does not exist"):
        condense.evaluate(moved, students=1)
    elsewhere = condense.evaluate(moved, students=1, dataset=f"folder:{pets}")
    assert elsewhere.score.mean == made.accuracy
