"""Decoding: every kind of file against pixels known by hand, resizing against torchvision, damage."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from condense.data.headers import read_header
from condense.data.images import FolderImages, decode, load_images
from condense.errors import DataError, StorageError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(folder: Path, image: Image.Image, name: str = "x.png", **settings: Any) -> Path:
    path = folder / name
    image.save(path, **settings)
    return path


def colours(pixels: np.ndarray) -> list[list[int]]:
    """The colour of each pixel, row by row."""
    return pixels.reshape(pixels.shape[0], -1).T.tolist()


@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (33, 33), (20, 90), (16, 27), (10, 15)])
@pytest.mark.parametrize("side", [16, 17])
def test_resize_and_crop_as_torchvision_does(tmp_path: Path, height: int, width: int, side: int) -> None:
    image = noise(height, width)
    slow = functional.center_crop(functional.resize(image, side), [side, side])
    assert np.array_equal(decode(saved(tmp_path, image), side, 3), np.asarray(slow).transpose(2, 0, 1))


def test_images_of_the_right_size_are_untouched(tmp_path: Path) -> None:
    image = noise(8, 8)
    assert np.array_equal(decode(saved(tmp_path, image), 8, 3), np.asarray(image).transpose(2, 0, 1))


def test_transparency_is_composited_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 2), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    image.putpixel((0, 1), (0, 0, 0, 51))  # a fifth of black on white is 204
    path = saved(tmp_path, image)
    assert colours(decode(path, 2, 3)) == [list(RED), list(WHITE), [204, 204, 204], list(RED)]
    assert not read_header(path).grey


def test_grey_with_transparency(tmp_path: Path) -> None:
    image = Image.new("LA", (2, 2), (100, 255))
    image.putpixel((1, 1), (100, 0))
    path = saved(tmp_path, image)
    assert colours(decode(path, 2, 1)) == [[100], [100], [100], [255]]
    assert read_header(path).grey


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([*WHITE, *RED])
    image.putpixel((0, 0), 0)
    path = saved(tmp_path, image)
    assert colours(decode(path, 2, 3)) == [list(WHITE), list(RED), list(RED), list(RED)]
    assert not read_header(path).grey
    transparent = saved(tmp_path, image, "t.png", transparency=1)
    assert colours(decode(transparent, 2, 3)) == [list(WHITE)] * 4
    image.putpalette([9, 9, 9, 70, 70, 70])
    grey = saved(tmp_path, image, "g.png")
    assert colours(decode(grey, 2, 1)) == [[9], [70], [70], [70]]
    assert read_header(grey).grey


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.pgm"])
def test_sixteen_bits_become_eight(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 257 * 100], [65535, 257 * 3 + 200]], dtype=np.uint16)
    path = saved(tmp_path, Image.fromarray(values), name)
    assert read_header(path).grey
    assert colours(decode(path, 2, 1)) == [[0], [100], [255], [4]]
    assert colours(decode(path, 2, 3)) == [[0] * 3, [100] * 3, [255] * 3, [4] * 3]


def test_black_and_white_and_cmyk(tmp_path: Path) -> None:
    assert colours(decode(saved(tmp_path, Image.new("1", (2, 2), 1)), 2, 1)) == [[255]] * 4
    path = saved(tmp_path, Image.new("CMYK", (2, 2), (0, 255, 255, 0)), "x.tif")
    assert colours(decode(path, 2, 3)) == [list(RED)] * 4


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2), WHITE)
    image.putpixel((0, 0), RED)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the upper left corner goes to the upper right
    path = saved(tmp_path, image, exif=exif)
    assert colours(decode(path, 2, 3)) == [list(WHITE), list(RED), list(WHITE), list(WHITE)]


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), RED), Image.new("RGB", (2, 2), WHITE)]
    path = saved(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    assert colours(decode(path, 2, 3)) == [list(RED)] * 4


def test_many_files_keep_their_order(tmp_path: Path) -> None:
    paths = [saved(tmp_path, Image.new("L", (1 + index, 3), index), f"{index}.png") for index in range(150)]
    for limit in (0, 150):
        images = load_images(paths, side=1, channels=1, limit_bytes=limit)
        assert isinstance(images, FolderImages) == (limit == 0)
        assert len(images) == 150
        assert images.read(torch.arange(149, -1, -1)).flatten().tolist() == list(range(149, -1, -1))
    assert images.read(torch.empty(0, dtype=torch.int64)).shape == (0, 1, 1, 1)


def test_they_can_be_sent_to_another_process(tmp_path: Path) -> None:
    images = FolderImages((saved(tmp_path, noise(4, 4)),), 4, 3)
    images.read(torch.tensor([0]))
    assert pickle.loads(pickle.dumps(images)) == images


def test_damage_is_named(tmp_path: Path) -> None:
    whole = saved(tmp_path, noise(64, 64), "x.jpg").read_bytes()
    for name, content, text in [
        ("cut.jpg", whole[:2000], r"cut\.jpg cannot be decoded \(.*truncated.*\): replace or remove it"),
        ("cut.png", saved(tmp_path, noise(64, 64)).read_bytes()[:2000], r"cut\.png cannot be decoded"),
        ("empty.png", b"", r"empty\.png is not an image \(readable are JPEG, PNG,.*\): remove it"),
        ("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"page\.eps is not an image"),
    ]:
        (tmp_path / name).write_bytes(content)
        images = FolderImages((tmp_path / name,), 8, 3)
        with pytest.raises(DataError, match=text):
            images.read(torch.tensor([0]))


def test_values_without_a_known_range(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("F", (2, 2), 0.5), "x.tif")
    with pytest.raises(DataError, match=r"x\.tif holds values of 32 bits \(mode F\): save it with 8 or 16"):
        decode(path, 2, 1)


def test_missing_and_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read_header(tmp_path / "gone.png")

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", forbidden)
    (tmp_path / "x.png").touch()
    with pytest.raises(StorageError, match=r"x\.png cannot be read: Permission denied"):
        read_header(tmp_path / "x.png")


def test_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, noise(20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"x\.png cannot be decoded \(Image size"):
        read_header(path)
