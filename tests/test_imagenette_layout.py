"""The whole pipeline on colour photographs' layout: Imagenette's folders at 64x64, ResNet-18, a few iterations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

import condense
from condense.data.imagenette import CLASS_NAMES
from condense.runs.result import RunResult

TRAINING, TESTS = 2, 1
SETTINGS: dict[str, Any] = {
    "iterations": 2,
    "recover.batch": 10,
    "log_every": 1,
    "select.students": 0,
    "teacher.epochs": 1,
    "teacher.batch_size": 10,
    "protocol.epochs": 1,
}

pytestmark = pytest.mark.slow


def write_photographs(root: Path) -> None:
    """JPEGs of several sizes, one of them grey: stripes in another direction and colour for each class."""
    draws = np.random.default_rng(0)
    for split, count in (("train", TRAINING), ("val", TESTS)):
        for label, wnid in enumerate(CLASS_NAMES):
            folder = root / split / wnid
            folder.mkdir(parents=True)
            for index in range(count):
                height, width = draws.integers(70, 110, 2)
                y, x = np.mgrid[:height, :width]
                angle = np.pi * label / len(CLASS_NAMES)
                stripes = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / 4)
                colour = np.array([label * 25, 255 - label * 25, 128])
                pixels = stripes[:, :, None] * colour + draws.integers(0, 20, (height, width, 3))
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image = image.convert("L") if (split, label, index) == ("train", 3, 0) else image
                image.save(folder / f"{wnid}_{index}.JPEG", quality=90)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_photographs(folder / "imagenette2-320")
    return folder


def assert_complete(result: RunResult, classes: list[str], teacher: str) -> None:
    assert result.config.recipe.teacher.model.name == teacher
    assert [score.label for score in result.scores] == ["wmdd", "random real images"]
    assert all(0 <= score.mean <= 1 for score in result.scores)
    assert result.teacher_accuracy is not None
    lines = [json.loads(line) for line in (result.path / "metrics.jsonl").read_text().splitlines()]
    recovered = [line for line in lines if line["stage"] == "recover"]
    assert len(recovered) == 2 * len(list((result.path / "chunks").iterdir()))
    distilled = condense.load(result.path)
    assert list(distilled.classes) == classes
    assert distilled.images.shape == (10, 3, 64, 64)
    # What others read is what was made, under the same labels.
    folder = ImageFolder(str(result.path / "distilled" / "images"))
    for index, (image, label) in enumerate(folder):
        assert label == int(distilled.labels[index])
        assert np.array_equal(np.asarray(image), distilled.images[index].permute(1, 2, 0).numpy())
    assert any("grey" in note for note in result.notes)
    assert result.grid.is_file()
    assert result.report.is_file()


@pytest.mark.thorough
def test_imagenette(data_dir: Path, tmp_path: Path) -> None:
    result = condense.run(
        method="wmdd",
        dataset="imagenette",
        data_dir=data_dir,
        ipc=1,
        students=1,
        device="cpu",
        out=tmp_path,
        settings={"dataset.size": 64, **SETTINGS},
    )
    assert_complete(result, list(CLASS_NAMES.values()), "resnet18")
    assert any("holds 20 training and 10 test images" in note for note in result.notes)
    found = condense.evaluate(result.path, students=1, device="cpu")
    assert found.score.mean == result.accuracy


def test_the_same_folders_as_any_others(data_dir: Path, tmp_path: Path) -> None:
    result = condense.run(
        method="wmdd",
        dataset=f"folder:{data_dir / 'imagenette2-320'}",
        ipc=1,
        students=1,
        device="cpu",
        out=tmp_path,
        settings={"dataset.size": 64, **SETTINGS},
    )
    # At 64 pixels these are small images, and a folder of them has a smaller teacher.
    assert_complete(result, list(CLASS_NAMES), "convnet")
