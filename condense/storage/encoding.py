"""Encoding of images and soft labels as the bytes of files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from PIL import Image
from torch import Tensor

from condense.runtime import available_cores
from condense.storage.tensors import tensors_to_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")

# Threads beyond these wait for Python's lock, which compression and writing release, and the rest does not.
_MOST_THREADS = 8


def encode_png(image: Tensor) -> bytes:
    """Return an image (C, H, W) uint8, C 1 or 3, as a PNG file."""
    array = image.permute(1, 2, 0).cpu().contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


class PngFiles:
    """The PNG files of images, encoded when they are first asked for and kept from then on.

    Datasets that differ in their labels alone share one, so that no image is encoded twice.
    """

    def __init__(self, images: Tensor | None = None, files: Iterable[bytes] = ()) -> None:
        self._images, self._files = images, list(files)

    def of(self, images: Tensor) -> list[bytes]:
        """Return each image (n, C, H, W) uint8 as a PNG file. They are encoded side by side."""
        if self._images is not images:
            with in_threads() as each:
                self._images, self._files = images, list(each(encode_png, images))
        return self._files


@contextmanager
def in_threads() -> Iterator[Callable[[Callable[[Item], Result], Iterable[Item]], Iterable[Result]]]:
    """Yield `map`, whose calls run side by side in threads. The results are in order."""
    with ThreadPoolExecutor(max_workers=min(_MOST_THREADS, available_cores())) as pool:
        yield pool.map


def encode_soft_labels(logits: Tensor) -> bytes:
    """Return soft labels (n, K) float32 as the file labels.safetensors."""
    return tensors_to_bytes({"logits": logits})
