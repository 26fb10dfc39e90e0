"""The picture shows the pixels that the dataset holds, each class in its row."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from condense.errors import StorageError
from condense.storage.distilled import DistilledDataset
from condense.storage.grid import grid_png, image_grid, save_grid


def plain(shades: list[list[int]], *, side: int = 28, channels: int = 1, names: list[str] | None = None):
    """Images of one shade each: shades[class][slot]."""
    values = torch.tensor(shades, dtype=torch.uint8)
    classes, ipc = values.shape
    return DistilledDataset(
        images=values.view(-1, 1, 1, 1).expand(-1, channels, side, side).contiguous(),
        labels=torch.arange(classes).repeat_interleave(ipc),
        slots=torch.arange(ipc).repeat(classes),
        weights=torch.full((classes * ipc,), 1 / ipc),
        classes=tuple(names or [f"c{index}" for index in range(classes)]),
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        ipc=ipc,
    )


def shades_by_place(picture: Image.Image, area: int = 56 * 56) -> list[int]:
    """The grey shades that fill `area` pixels, as they are read: by rows, left to right. White is the paper."""
    pixels = pil_to_tensor(picture)
    grey = (pixels == pixels[0]).all(dim=0)  # texts are not: their ink has a tint
    places = []
    for shade in range(255):
        where = (grey & (pixels[0] == shade)).nonzero()
        if len(where) >= area:
            places.append((where.median(dim=0).values.tolist(), shade))
    return [shade for _, shade in sorted(places)]


def test_a_row_for_each_class_and_a_column_for_each_slot() -> None:
    shades = [[40, 60, 80], [100, 130, 160], [180, 200, 220]]
    picture = image_grid(plain(shades), columns=1)
    assert picture.mode == "RGB"
    assert shades_by_place(picture) == [40, 60, 80, 100, 130, 160, 180, 200, 220]


def test_classes_side_by_side_are_read_downwards() -> None:
    picture = image_grid(plain([[40], [80], [120], [160]]), columns=2)
    assert shades_by_place(picture) == [40, 120, 80, 160]
    assert picture.width < image_grid(plain([[40], [80], [120], [160]]), columns=4).width


@pytest.mark.parametrize(
    ("side", "drawn"), [(8, 56), (28, 56), (32, 64), (56, 56), (64, 64), (96, 96), (224, 96)]
)
def test_the_side_at_which_images_are_drawn(side: int, drawn: int) -> None:
    picture = pil_to_tensor(image_grid(plain([[70], [150]], side=side, channels=3)))
    where = (picture == 70).all(dim=0).nonzero()
    assert (where.max(dim=0).values - where.min(dim=0).values + 1).tolist() == [drawn, drawn]


def test_small_images_are_enlarged_without_smoothing() -> None:
    data = plain([[0], [0]], side=28, channels=3)
    data.images[0] = torch.randint(0, 255, (3, 28, 28), generator=torch.Generator().manual_seed(0))
    picture = pil_to_tensor(image_grid(data, columns=1))
    enlarged = data.images[0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    width = picture.shape[2]
    assert torch.equal(picture[:, 20:76, width - 20 - 56 : width - 20], enlarged)


def test_colours_stay_what_they_are() -> None:
    data = plain([[0], [0]], channels=3)
    data.images[0, 0] = 250
    assert (250, 0, 0) in [colour for _, colour in image_grid(data).getcolors(10_000)]


def test_large_datasets_are_cut_and_say_so() -> None:
    shades = [[5 * index + slot for slot in range(4)] for index in range(40)]
    picture = image_grid(plain(shades), max_classes=4, max_slots=2, columns=1)
    assert shades_by_place(picture) == [0, 1, 50, 51, 100, 101, 150, 151]
    whole = image_grid(plain([row[:2] for row in shades[:4]]), columns=1)
    assert picture.height > whole.height  # the line below


def test_pictures_are_of_a_size_to_look_at() -> None:
    for classes, ipc in ((10, 1), (100, 1), (10, 10), (2, 50), (100, 50)):
        picture = image_grid(plain([[9] * ipc] * classes, side=64))
        assert picture.width <= 1300
        assert 0.25 < picture.width / picture.height < 4


@pytest.mark.parametrize("name", ["x" * 500, "two\nlines", "日本", "", "W" * 30 + " " + "i" * 30])
def test_any_class_name_can_be_drawn(name: str) -> None:
    ordinary = image_grid(plain([[0], [9]], names=["a", "b"]), columns=1)
    picture = image_grid(plain([[0], [9]], names=[name, "b"]), columns=1)
    assert picture.height == ordinary.height
    assert picture.width < ordinary.width + 200


def test_the_picture_is_saved_as_it_is(tmp_path: Path) -> None:
    data = plain([[0, 50], [100, 150]])
    save_grid(data, tmp_path / "run" / "grid.png")
    content = (tmp_path / "run" / "grid.png").read_bytes()
    assert content == grid_png(data) == grid_png(data)
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert torch.equal(pil_to_tensor(image), pil_to_tensor(image_grid(data)))
    with pytest.raises(StorageError, match="cannot write"):
        save_grid(data, tmp_path)
