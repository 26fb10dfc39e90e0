"""PNG files: lossless, encoded once, in order."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from condense.storage import artifact, encoding
from condense.storage.distilled import DistilledDataset
from condense.storage.encoding import PngFiles, in_threads


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The images that have been encoded since the test began."""
    seen: list[Tensor] = []
    encode = encoding.encode_png

    def counting(image: Tensor) -> bytes:
        seen.append(image)
        return encode(image)

    monkeypatch.setattr(encoding, "encode_png", counting)
    return seen


def small() -> DistilledDataset:
    images = torch.randint(
        0, 256, (4, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return DistilledDataset(
        images=images,
        labels=torch.arange(2).repeat_interleave(2),
        slots=torch.arange(2).repeat(2),
        weights=torch.full((4,), 0.5),
        classes=("a", "b"),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        ipc=2,
    )


def test_files_are_in_the_order_of_the_images_and_hold_their_pixels() -> None:
    images = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 1, 3, 3)
    for image, png in zip(images, PngFiles().of(images), strict=True):
        assert np.array_equal(np.array(Image.open(io.BytesIO(png))), image[0].numpy())


def test_no_image_is_encoded_twice(tmp_path: Path, encoded: list[Tensor]) -> None:
    """Counting the bytes, saving, and the same images with other labels."""
    data = small()
    sizes = data.sizes()
    artifact.save(data, tmp_path / "saved")
    other = replace(data, label_mode="soft", soft_labels=torch.zeros(4, 2))
    assert other.sizes()["images"] == sizes["images"] == sum(map(len, data.png_images))
    assert len(encoded) == 4


def test_images_that_were_read_are_not_encoded(tmp_path: Path, encoded: list[Tensor]) -> None:
    data = small()
    artifact.save(data, tmp_path / "saved")
    encoded.clear()
    loaded = artifact.load(tmp_path / "saved")
    assert loaded.png_images == data.png_images
    assert loaded.sizes() == data.sizes()
    assert encoded == []


def test_other_images_are_encoded_anew() -> None:
    data = small()
    before = data.png_images
    turned = replace(data, images=data.images.flip(-1).contiguous())
    assert turned.png_images == [encoding.encode_png(image) for image in turned.images]
    assert turned.png_images != before
    assert data.png_images == before


@pytest.mark.parametrize("count", [0, 1, 50])
def test_threads_keep_the_order_and_pass_errors_on(count: int) -> None:
    square: Callable[[int], int] = lambda value: value * value  # noqa: E731
    with in_threads() as each:
        assert list(each(square, range(count))) == [value * value for value in range(count)]
    with in_threads() as each, pytest.raises(ZeroDivisionError):
        list(each(lambda value: 1 // value, [1, 0]))
