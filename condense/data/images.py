"""Image files to uint8 tensors: headers, decoding, and images that are decoded when asked for.

How a file becomes an image, whatever its kind:
- EXIF orientation is applied; of an animation the first frame is taken;
- 16-bit grey is scaled to 8 bits (value / 257, rounded);
- transparency is composited on white, as a page in a browser would show it;
- the shorter side is resized to the stored size (bilinear, antialiased) and the centre square is cut out, as
  torchvision's Resize and CenterCrop do.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from condense.data.dataset import ImageSource, MemoryImages
from condense.errors import DataError, StorageError

# What PIL reads in itself: EPS, for one, would be handed to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
_READERS = min(8, os.cpu_count() or 1)
_CHUNK = 64


@dataclass(frozen=True)
class Header:
    """What is known of an image without decoding it. sides: the shorter and the longer one in pixels."""

    sides: tuple[int, int]
    grey: bool


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """The headers of image files, in order. Raises DataError naming the first file that is no image."""

    def read(start: int) -> list[Header]:
        return [_read_header(path) for path in paths[start : start + _CHUNK]]

    with ThreadPoolExecutor(_READERS) as pool:
        return [header for chunk in pool.map(read, range(0, len(paths), _CHUNK)) for header in chunk]


def decode(path: Path, side: int, channels: int) -> np.ndarray:
    """(channels, side, side) uint8 of one image file; channels is 1 (grey) or 3 (RGB).

    Raises DataError naming the file where it cannot be decoded.
    """
    with _opened(path) as image:
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
    """Images that are decoded from their files whenever they are read, several at a time.

    Every image is (channels, side, side). An ImageSource. It holds no threads or open files between reads.
    """

    paths: Sequence[Path]
    side: int
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.side, self.side

    def read(self, indices: Tensor) -> Tensor:
        """(B, C, S, S) uint8 for `indices` (B,). Raises DataError naming a file that cannot be decoded."""
        result = torch.empty((len(indices), *self.shape), dtype=torch.uint8)
        pixels = result.numpy()

        def fill(item: tuple[int, int]) -> None:
            slot, index = item
            pixels[slot] = decode(self.paths[index], self.side, self.channels)

        with ThreadPoolExecutor(_READERS) as pool:
            for _ in pool.map(fill, enumerate(indices.tolist())):
                pass
        return result


def image_bytes(count: int, side: int, channels: int) -> int:
    """What `count` decoded images take in memory."""
    return count * channels * side * side


def load_images(paths: Sequence[Path], *, side: int, channels: int, limit_bytes: int) -> ImageSource:
    """The images in memory where they fit into `limit_bytes`, else decoded whenever they are read."""
    images = FolderImages(tuple(paths), side, channels)
    if image_bytes(len(paths), side, channels) > limit_bytes:
        return images
    pixels = torch.empty((len(paths), *images.shape), dtype=torch.uint8)
    for start in range(0, len(paths), 1024):
        indices = torch.arange(start, min(start + 1024, len(paths)))
        pixels[start : start + 1024] = images.read(indices)
    return MemoryImages(pixels)


def _read_header(path: Path) -> Header:
    with _opened(path) as image:
        width, height = image.size
        return Header(sides=(min(width, height), max(width, height)), grey=_is_grey(image))


def _is_grey(image: Image.Image) -> bool:
    """Whether the file says that its image has no colour; pixels are not looked at."""
    if image.mode in ("P", "PA"):
        palette = image.getpalette("RGB") or [0, 0, 0]
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in _GREY_MODES or image.mode.startswith("I;16")


def _flatten(image: Image.Image, path: Path, channels: int) -> Image.Image:
    """The image in mode L (1 channel) or RGB (3 channels), 8 bits each, without transparency."""
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


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The image file, closed at the end; what goes wrong inside is raised as an error that names the file."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} is no image (readable are {', '.join(_FORMATS)}): remove it from the class folder"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist (a broken link, or removed meanwhile)") from error
    except PermissionError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    # What PIL raises for damaged files: broken streams, headers, fields, compressed data, absurd sizes.
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise DataError(f"{path} cannot be decoded ({error}): replace or remove it") from error
