"""The headers of image files, and what follows from them: the sizes and channels of a dataset."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from condense.data.preprocessing import Preprocessing
from condense.errors import DataError, StorageError

# Formats that PIL reads by itself. It would hand EPS, for example, to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
_DEFAULT = Preprocessing(size=224, resize_share=256 / 224, mean=(), std=())
_LARGEST_AUTOMATIC = 256
# Images of at least this side length are stored larger than networks see them, and count as photographs.
SMALLEST_PHOTOGRAPH = 128
# Threads that read headers or decode images.
READERS = min(8, os.cpu_count() or 1)
_CHUNK = 64


class EncodedImage(io.BytesIO):
    """An image file that lies inside another file. As text, it is `where` it lies, for messages."""

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(data)
        self.where = where

    def __str__(self) -> str:
        return self.where


ImageFile = Path | EncodedImage


@dataclass(frozen=True)
class Header:
    """The facts about an image that need no decoding.

    sides: the shorter and the longer side length in pixels.
    grey: whether the file says that the image has no colour.
    """

    sides: tuple[int, int]
    grey: bool


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """Return the headers of image files, in order.

    Raises DataError that names the first file that is not an image.
    """

    def read(start: int) -> list[Header]:
        return [read_header(path) for path in paths[start : start + _CHUNK]]

    with ThreadPoolExecutor(READERS) as pool:
        return [header for chunk in pool.map(read, range(0, len(paths), _CHUNK)) for header in chunk]


def choose_sizes(
    size: int, resize_share: float, headers: Sequence[Header], preprocessing: Preprocessing | None = None
) -> tuple[int, int]:
    """Return two side lengths in pixels: the one that networks see, and the one of stored images.

    size, resize_share: as in FolderOptions; 0 is automatic.
    preprocessing: what is automatic for large images; by default 224 pixels, cut out of 256.
    """
    usual = preprocessing or _DEFAULT
    sides = {header.sides for header in headers}
    if size == 0 and len(sides) == 1 and min(sides)[0] <= _LARGEST_AUTOMATIC:
        size = min(sides)[0]
        resize_share = resize_share or 1.0
    size = size or usual.size
    if resize_share == 0:
        resize_share = usual.resize_share if size >= SMALLEST_PHOTOGRAPH else 1.0
    return size, round(size * resize_share)


def choose_channels(headers: Sequence[Header]) -> tuple[int, tuple[str, ...]]:
    """Return 1 if every image is grey, otherwise 3, with a note if grey and colour are mixed."""
    grey = sum(header.grey for header in headers)
    if grey == len(headers):
        return 1, ()
    return 3, (f"{grey} of {len(headers)} images are grey: converted to RGB like the others",) if grey else ()


def read_header(path: ImageFile) -> Header:
    with opened(path) as image:
        width, height = image.size
        return Header(sides=(min(width, height), max(width, height)), grey=_is_grey(image))


def _is_grey(image: Image.Image) -> bool:
    """Return whether the file says that its image has no colour. Pixels are not read."""
    if image.mode in ("P", "PA"):
        palette = image.getpalette("RGB") or [0, 0, 0]
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in _GREY_MODES or image.mode.startswith("I;16")


@contextlib.contextmanager
def opened(path: ImageFile) -> Iterator[Image.Image]:
    """Yield the opened image file and close it. Errors inside the block become errors that name the file."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path} is not an image (readable are {', '.join(_FORMATS)}): remove it from the class folder"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist (a broken link, or removed meanwhile)") from error
    except PermissionError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    # PIL raises these for damaged files: broken streams, headers, fields, compressed data, absurd sizes.
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
