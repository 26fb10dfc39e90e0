"""Image files as uint8 tensors: decoding, and images that are decoded at each read.

Every file is converted in the same way:
- EXIF orientation is applied, and only the first frame of an animation is read;
- 16-bit grey is scaled to 8 bits (value / 257, rounded);
- transparency is composited on white, as on a page in a browser;
- of an image that is more than 20 times as long as wide, the middle 20 widths are taken;
- the shorter side is resized to the stored size (bilinear, antialiased) and the centre square is cut out, as
  torchvision's Resize and CenterCrop do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import get_worker_info

from condense.data.dataset import ImageSource, MemoryImages
from condense.data.headers import Header, ImageFile, header_of, opened, shown_image
from condense.data.paths import Paths
from condense.errors import DataError
from condense.runtime import available_cores

T = TypeVar("T")
R = TypeVar("R")

# An image that is longer is cut before it is resized: one of 1 x 10000 pixels would grow to 224 x 2240000.
LONGEST = 20


def decode(path: ImageFile, side: int, channels: int) -> np.ndarray:
    """Return one image file as (channels, side, side) uint8; channels is 1 (grey) or 3 (RGB).

    Raises DataError that names the file if it cannot be decoded, and StorageError if it cannot be read.
    """
    with opened(path) as image:
        flat = _middle(_flatten(image, path, channels))
        width, height = flat.size
        shorter = min(width, height)
        if shorter != side:
            width, height = (side * width // shorter, side * height // shorter)
            flat = flat.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - side) / 2), round((height - side) / 2)
        pixels = np.asarray(flat.crop((left, top, left + side, top + side)))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def examine(path: Path) -> Header:
    """Return the header of an image file that can be decoded; all of it is decoded. Raises what `decode` raises."""
    with opened(path) as image:
        header = header_of(image)
        _flatten(image, path, 3)
    return header


@dataclass(frozen=True)
class FolderImages:
    """An ImageSource that decodes images from their files at each read, several at a time.

    Every image is (channels, side, side). No threads and no open files remain between reads, so that other processes
    can read as well.
    """

    by_processes: ClassVar[bool] = True

    paths: Sequence[ImageFile]
    side: int
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.side, self.side

    def take(self, chosen: Tensor) -> FolderImages:
        """Return the images at the positions `chosen` (m,) int64."""
        if isinstance(self.paths, Paths):
            return replace(self, paths=self.paths.take(chosen.numpy()))
        return replace(self, paths=tuple(self.paths[index] for index in chosen.tolist()))

    def read(self, indices: Tensor) -> Tensor:
        """Return images (B, C, S, S) uint8 for `indices` (B,).

        Raises DataError that names the file if one cannot be decoded, and StorageError if one cannot be read.
        """
        result = torch.empty((len(indices), *self.shape), dtype=torch.uint8)
        pixels = result.numpy()

        def fill(item: tuple[int, int]) -> None:
            slot, index = item
            pixels[slot] = decode(self.paths[index], self.side, self.channels)

        in_threads(fill, list(enumerate(indices.tolist())))
        return result


def in_threads(task: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return task(item) for each item, computed by as many threads as there are cores.

    A process that `condense.data.loaders` started has one core to itself, and computes them in a row.
    """
    if get_worker_info() is not None or len(items) < 2:
        return [task(item) for item in items]
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(task, items))


def image_bytes(count: int, side: int, channels: int) -> int:
    """Return the memory in bytes that `count` decoded images need."""
    return count * channels * side * side


def load_images(paths: Sequence[ImageFile], *, side: int, channels: int, limit_bytes: int) -> ImageSource:
    """Return the images, in memory if they fit into `limit_bytes`, otherwise decoded at each read."""
    images = FolderImages(paths, side, channels)
    if image_bytes(len(paths), side, channels) > limit_bytes:
        return images
    pixels = torch.empty((len(paths), *images.shape), dtype=torch.uint8)
    for start in range(0, len(paths), 1024):
        indices = torch.arange(start, min(start + 1024, len(paths)))
        pixels[start : start + 1024] = images.read(indices)
    return MemoryImages(pixels)


def _middle(image: Image.Image) -> Image.Image:
    """Return the image, or the middle of one that is very long."""
    width, height = image.size
    most = LONGEST * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, width - left, height - top))


def _flatten(image: Image.Image, path: ImageFile, channels: int) -> Image.Image:
    """Return the upright image in mode L (1 channel) or RGB (3 channels), 8 bits each, without transparency."""
    ImageOps.exif_transpose(image, in_place=True)
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise DataError(
            f"{shown_image(path)} holds values of 32 bits (mode {image.mode}): save it with 8 or 16 bits a channel"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(values.round().astype(np.uint8)).convert(mode)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colours = image.convert("RGBA")
        page = Image.new("RGBA", colours.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, colours).convert(mode)
    return image if image.mode == mode else image.convert(mode)
