"""The headers of image files, and what follows from them: the sizes and channels of a dataset."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from condense.data.preprocessing import Preprocessing
from condense.errors import DataError, StorageError
from condense.text import shown_path

# Formats that PIL reads by itself. It would hand EPS, for example, to Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
_DEFAULT = Preprocessing(size=224, resize_share=256 / 224, mean=(), std=())
_LARGEST_AUTOMATIC = 256
# Images of at least this side length are stored larger than networks see them, and count as photographs.
SMALLEST_PHOTOGRAPH = 128


class EncodedImage(io.BytesIO):
    """An image file that lies inside another file. As text, it is `where` it lies, for messages."""

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(data)
        self.where = where

    def __str__(self) -> str:
        return self.where

    def read_bytes(self) -> bytes:
        """Return the whole file, as `Path.read_bytes` does."""
        return self.getvalue()


ImageFile = Path | EncodedImage


@dataclass(frozen=True)
class Header:
    """The facts about an image that need no decoding.

    sides: the shorter and the longer side length in pixels.
    grey: whether the file says that the image has no colour.
    """

    sides: tuple[int, int]
    grey: bool


def choose_sizes(
    size: int,
    resize_share: float,
    sides: Collection[tuple[int, int]],
    preprocessing: Preprocessing | None = None,
) -> tuple[int, int]:
    """Return two side lengths in pixels: the one that networks see, and the one of stored images.

    size, resize_share: as in FolderOptions; 0 is automatic.
    sides: all pairs of a shorter and a longer side length that images have.
    preprocessing: what is automatic for large images; by default 224 pixels, cut out of 256.
    """
    usual = preprocessing or _DEFAULT
    different = set(sides)
    largest = max((shorter for shorter, _ in different), default=usual.size)
    alike = len(different) == 1 and largest <= _LARGEST_AUTOMATIC
    if size == 0 and (alike or largest < SMALLEST_PHOTOGRAPH):
        size = largest
        resize_share = resize_share or 1.0
    size = size or usual.size
    if resize_share == 0:
        resize_share = usual.resize_share if size >= SMALLEST_PHOTOGRAPH else 1.0
    return size, round(size * resize_share)


def choose_channels(grey: int, total: int) -> tuple[int, tuple[str, ...]]:
    """Return 1 if all of `total` images are grey, otherwise 3, with a note if grey and colour are mixed."""
    return (1, ()) if grey == total else (3, grey_note(grey, total))


def grey_note(grey: int, total: int) -> tuple[str, ...]:
    """Return a note that grey images become RGB, if there are any."""
    return (f"{grey} of {total} images are grey: converted to RGB like the others",) if grey else ()


def enlargement_note(asked: int, size: int, sides: Collection[tuple[int, int]]) -> tuple[str, ...]:
    """Return a note that small images are enlarged, if a side length that nobody asked for does so.

    asked: `size` as in FolderOptions; 0 is automatic.
    size: the side length in pixels that networks see.
    sides: as in `choose_sizes`.
    """
    shorter = [side for side, _ in sides]
    if asked or not shorter:
        return ()
    least, largest = min(shorter), max(shorter)
    if largest < size:
        return (
            f"images have different sizes, with shorter sides of at most {largest} pixels, and are all enlarged to "
            f"{size}: --set dataset.size={largest} is {(size / largest) ** 2:.1f} times less work",
        )
    if least < SMALLEST_PHOTOGRAPH <= size:
        return (
            f"images have different sizes, with shorter sides of {least} to {largest} pixels, and the smaller ones are "
            f"enlarged to {size}: --set dataset.size=N chooses another side length",
        )
    return ()


def read_header(path: ImageFile) -> Header:
    """Return the header of an image file. Raises DataError or StorageError that names the file."""
    with opened(path) as image:
        return header_of(image)


def header_of(image: Image.Image) -> Header:
    """Return the facts about an opened image. Pixels are not read."""
    width, height = image.size
    return Header(sides=(min(width, height), max(width, height)), grey=_is_grey(image))


def _is_grey(image: Image.Image) -> bool:
    """Return whether the file says that its image has no colour. Pixels are not read."""
    if image.mode in ("P", "PA"):
        palette = image.getpalette("RGB") or [0, 0, 0]
        return palette[0::3] == palette[1::3] == palette[2::3]
    return image.mode in _GREY_MODES or image.mode.startswith("I;16")


def shown_image(path: ImageFile) -> str:
    """Return where an image file lies, as text that any terminal and file can hold."""
    return path.where if isinstance(path, EncodedImage) else shown_path(path)


@contextlib.contextmanager
def opened(path: ImageFile) -> Iterator[Image.Image]:
    """Yield the opened image file and close it. Errors inside the block become errors that name the file."""
    name = shown_image(path)
    try:
        # Opening a pipe would wait for its other end.
        if isinstance(path, Path) and not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{name} is not a file: remove it from the class folder")
        with Image.open(path, formats=_FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image (readable are {', '.join(_FORMATS)}): remove it from the class folder"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist (a broken link, or removed meanwhile)") from error
    # PIL raises these for damaged files: broken streams, headers, fields, compressed data, absurd sizes. With an errno
    # it is the system that refuses.
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise StorageError(f"{name} cannot be read: {error.strerror}") from error
        raise DataError(f"{name} cannot be decoded ({error}): replace or remove it") from error
