"""An artifact made from a user's own folder is passed on: without the folder's place, and it can still be tested."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import condense
from condense.data.load import load_dataset
from condense.errors import OptionError
from condense.recipe.config import RunConfig
from condense.recipe.registry import default_registry
from condense.runtime import SilentReporter

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
    with pytest.raises(OptionError, match="ask for real images in a folder, 'folder:pets'"):
        condense.evaluate(moved, students=1)
    elsewhere = condense.evaluate(moved, students=1, dataset=f"folder:{pets}")
    assert elsewhere.score.mean == made.accuracy


class Notes(SilentReporter):
    """Keeps what a user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(("settings", "split_by"), [({}, 3), ({"teacher.seed": 5}, 5)])
@pytest.mark.parametrize("where", [".", "distilled"])
def test_another_seed_of_the_students_keeps_the_split_of_the_run(
    where: str, settings: dict[str, Any], split_by: int, tmp_path: Path
) -> None:
    """Else students were tested on images that the distilled ones were made from."""
    root = tmp_path / "unsplit"
    draws = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for index in range(20):
            Image.fromarray(draws.integers(0, 255, (16, 16, 3), np.uint8)).save(root / name / f"{index}.png")
    made = condense.run(
        method="random",
        dataset=f"folder:{root}",
        ipc=2,
        seed=3,
        students=1,
        settings={**QUICK, **settings},
        out=tmp_path / "runs",
    )
    registry = default_registry()

    def held_out(config: RunConfig) -> torch.Tensor:
        dataset = load_dataset(config.recipe, config.machine, registry)
        return dataset.test.images.read(torch.arange(len(dataset.test)))

    other = replace(made.config.recipe, seed=4, teacher=replace(made.config.recipe.teacher, seed=None))
    assert not torch.equal(held_out(made.config), held_out(replace(made.config, recipe=other)))
    notes = Notes()
    again = condense.evaluate(made.path / where, students=1, seed=4, dataset=f"folder:{root}", reporter=notes)
    assert again.config.recipe.seed == 4
    assert torch.equal(held_out(again.config), held_out(made.config))
    assert [note for note in notes.notes if f"drawn by seed {split_by}, is held out" in note]
