"""Image files as uint8 tensors: headers, decoding, and images that are decoded at each read.

Every file is converted in the same way:
- EXIF orientation is applied, and only the first frame of an animation is read;
- 16-bit grey is scaled to 8 bits (value / 257, rounded);
- transparency is composited on white, as on a page in a browser;
- the shorter side is resized to the stored size (bilinear, antialiased) and the centre square is cut out, as
  torchvision's Resize and CenterCrop do.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from condense.data.dataset import ImageSource, MemoryImages
from condense.data.headers import READERS, ImageFile, opened
from condense.errors import DataError


def decode(path: ImageFile, side: int, channels: int) -> np.ndarray:
    """Return one image file as (channels, side, side) uint8; channels is 1 (grey) or 3 (RGB).

    Raises DataError that names the file if it cannot be decoded.
    """
    with opened(path) as image:
        ImageOps.exif_transpose(image, in_place=True)
        flat = _flatten(image, path, channels)
        width, height = flat.size
        shorter = min(width, height)
        if shorter != side:
            width, height = (side * width // shorter, side * height // shorter)
            flat = flat.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - side) / 2), round((height - side) / 2)
        pixels = np.asarray(flat.crop((left, top, left + side, top + side)))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


@dataclass(frozen=True)
class FolderImages:
    """An ImageSource that decodes images from their files at each read, several at a time.

    Every image is (channels, side, side). No threads and no open files remain between reads.
    """

    paths: Sequence[ImageFile]
    side: int
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.side, self.side

    def read(self, indices: Tensor) -> Tensor:
        """Return images (B, C, S, S) uint8 for `indices` (B,).

        Raises DataError that names the file if one cannot be decoded.
        """
        result = torch.empty((len(indices), *self.shape), dtype=torch.uint8)
        pixels = result.numpy()

        def fill(item: tuple[int, int]) -> None:
            slot, index = item
            pixels[slot] = decode(self.paths[index], self.side, self.channels)

        with ThreadPoolExecutor(READERS) as pool:
            for _ in pool.map(fill, enumerate(indices.tolist())):
                pass
        return result


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


def _flatten(image: Image.Image, path: ImageFile, channels: int) -> Image.Image:
    """Return the image in mode L (1 channel) or RGB (3 channels), 8 bits each, without transparency."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        raise DataError(
            f"{path} holds values of 32 bits (mode {image.mode}): save it with 8 or 16 bits a channel"
        )
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(values.round().astype(np.uint8)).convert(mode)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colours = image.convert("RGBA")
        page = Image.new("RGBA", colours.size, (255, 255, 255, 255))
        return Image.alpha_composite(page, colours).convert(mode)
    return image if image.mode == mode else image.convert(mode)
