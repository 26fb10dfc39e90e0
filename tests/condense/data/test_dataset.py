"""Splits and datasets: lookups by class, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.data.dataset import MemoryImages, RealDataset, Split, default_data_dir
from condense.errors import DataError


def split(labels: list[int], channels: int = 1, height: int = 8, width: int = 8) -> Split:
    pixels = torch.zeros(len(labels), channels, height, width, dtype=torch.uint8)
    return Split(MemoryImages(pixels), torch.tensor(labels, dtype=torch.int64))


def dataset(**changes: Any) -> RealDataset:
    given = {
        "name": "toy",
        "classes": ("cat", "dog"),
        "train": split([0, 1, 1]),
        "test": split([1, 0]),
        "size": 8,
        "mean": (0.5,),
        "std": (0.5,),
    }
    return RealDataset(**{**given, **changes})


def test_images_in_memory_are_read_by_index() -> None:
    pixels = torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2)
    images = MemoryImages(pixels)
    assert len(images) == 2
    assert images.shape == (3, 2, 2)
    assert torch.equal(images.read(torch.tensor([1, 0, 1])), torch.stack([pixels[1], pixels[0], pixels[1]]))


@given(st.lists(st.integers(0, 5), max_size=30))
@settings(deadline=None)
def test_the_images_of_each_class(labels: list[int]) -> None:
    found = split(labels)
    for label in range(7):
        expected = [index for index, other in enumerate(labels) if other == label]
        assert found.of_class(label).tolist() == expected


def test_images_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="3 images but 2 labels"):
        Split(MemoryImages(torch.zeros(3, 1, 2, 2, dtype=torch.uint8)), torch.tensor([0, 1]))


def test_what_a_dataset_says_of_itself() -> None:
    assert dataset().channels == 1
    assert dataset().class_counts() == [1, 2]
    assert len(dataset().train) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classes": ("cat",), "train": split([0])},
            "dataset 'toy' has 1 class; condensing needs at least two",
        ),
        ({"classes": (), "train": split([])}, "has 0 class"),
        ({"train": split([1, 1])}, "class 'cat' of dataset 'toy' has no training images"),
        ({"classes": ("cat", "dog", "eel")}, "class 'eel' of dataset 'toy' has no training images"),
        ({"test": split([])}, "has no test images, so nothing could be measured"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean and std need 1 values each"),
        ({"std": ()}, "mean and std need 1 values each"),
        (
            {"train": split([0, 1, 2])},
            "the training labels of dataset 'toy' reach from 0 to 2, and its 2 classes",
        ),
        ({"train": split([0, 1, -1])}, "the training labels of dataset 'toy' reach from -1 to 1"),
        ({"test": split([0, 5])}, "the test labels of dataset 'toy' reach from 0 to 5"),
        (
            {"train": split([0, 1], height=7)},
            "the training images of dataset 'toy' are 1x7x8, where 1 channels",
        ),
        ({"test": split([0, 1], width=6)}, "the test images of dataset 'toy' are 1x8x6.*at least 8x8"),
        ({"test": split([0, 1], channels=3)}, "the test images of dataset 'toy' are 3x8x8"),
    ],
)
def test_datasets_that_cannot_be_used(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataset(**changes)


def test_training_images_are_the_normalised_centres() -> None:
    pixels = torch.randint(256, (3, 1, 10, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = dataset(train=Split(MemoryImages(pixels), torch.tensor([0, 1, 1])))
    expected = (pixels[[2, 0], :, 1:9, 2:10].float() / 255 - 0.5) / 0.5
    torch.testing.assert_close(images.training_images(torch.tensor([2, 0])), expected)


def test_the_folder_of_datasets_is_chosen_or_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert default_data_dir({"CONDENSE_DATA_DIR": "/data"}) == Path("/data")
    assert default_data_dir({"CONDENSE_DATA_DIR": ""}) == default_data_dir({})
    if sys.platform != "linux":
        pytest.skip("other systems keep caches elsewhere")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_data_dir({}) == Path.home() / ".cache" / "condense" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_dir({}) == tmp_path / "condense" / "data"
