"""idx files, the format of MNIST and Fashion-MNIST.

torchvision's reader serves files that it fetched itself. This one also reads gzipped files and says what is wrong
with a damaged one. The format: http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from condense.errors import DataError, StorageError

_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 0x08


def read_idx(path: Path, *, dimensions: int) -> Tensor:
    """Return the uint8 values of an idx file: labels (n,) if `dimensions` is 1, images (n, H, W) if it is 3.

    The first bytes, not the name, tell whether the file is gzipped. Raises DataError if the file is missing,
    is not an idx file, or has another type, number of dimensions or length. Raises StorageError if it may not
    be read.
    """
    data = _bytes_of(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(
            f"{path} is not an idx file: it should begin with two zero bytes, not {data[:2].hex(' ')!r}"
        )
    kind, count = data[2], data[3]
    if kind != _UINT8:
        raise DataError(f"{path} holds values of idx type 0x{kind:02x}; images and labels have 0x08 (uint8)")
    if count != dimensions:
        found = f"{count} dimension" + ("" if count == 1 else "s")
        wanted = f"{dimensions} {'was' if dimensions == 1 else 'were'} expected{_hint(dimensions)}"
        raise DataError(f"{path} has {found} where {wanted}")
    start = 4 + 4 * count
    if len(data) < start:
        raise DataError(f"{path} is cut off within its header of {start} bytes: fetch it again")
    shape = struct.unpack(f">{count}I", data[4:start])
    announced, there = math.prod(shape), len(data) - start
    if there != announced:
        size = "x".join(str(side) for side in shape)
        fault = "is cut off" if there < announced else "is too long"
        raise DataError(f"{path} {fault}: {size} values are announced, {there} are there: fetch it again")
    if announced == 0:
        raise DataError(f"{path} holds no values")
    return torch.frombuffer(bytearray(data[start:]), dtype=torch.uint8).reshape(shape)


def _hint(dimensions: int) -> str:
    kinds = {1: "labels, idx1", 3: "images, idx3"}
    return f" ({kinds[dimensions]})" if dimensions in kinds else ""


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}): fetch it again") from error
