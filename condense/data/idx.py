"""The idx files of MNIST and its relatives, gzipped or not.

The format: two zero bytes, one byte for the type of the values (0x08 is uint8), one for the number of
dimensions, each dimension as a big-endian uint32, then the values in row-major order.
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
    """The uint8 values of an idx file: labels (n,) where `dimensions` is 1, images (n, H, W) where it is 3.

    Whether the file is gzipped is read from its first bytes, whatever its name. Raises DataError for a file
    that is missing, no idx file, of another type or number of dimensions, or of the wrong length, and
    StorageError for one that may not be read.
    """
    data = _bytes_of(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(
            f"{path} is no idx file: it should begin with two zero bytes, not {data[:2].hex(' ')!r}"
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
