"""idx files: what is read, and what each kind of damage says."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch

from condense.data.idx import read_idx
from condense.errors import DataError, StorageError


def idx(values: bytes, *shape: int, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + values


def written(folder: Path, content: bytes, name: str = "some-idx-ubyte") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_labels_and_images_by_hand(tmp_path: Path) -> None:
    labels = read_idx(written(tmp_path, idx(b"\x02\x00\xff", 3), "labels"), dimensions=1)
    assert labels.dtype == torch.uint8
    assert labels.tolist() == [2, 0, 255]
    images = read_idx(written(tmp_path, idx(bytes(range(12)), 2, 3, 2), "images"), dimensions=3)
    assert images.shape == (2, 3, 2)
    assert images[1].tolist() == [[6, 7], [8, 9], [10, 11]]


@pytest.mark.parametrize("name", ["labels.gz", "labels"])
def test_gzip_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, gzip.compress(idx(b"\x07", 1), mtime=0), name)
    assert read_idx(path, dimensions=1).tolist() == [7]


def test_result_can_be_written_to(tmp_path: Path) -> None:
    labels = read_idx(written(tmp_path, idx(b"\x07", 1)), dimensions=1)
    labels += 1
    assert labels.tolist() == [8]


@pytest.mark.parametrize(
    ("content", "dimensions", "text"),
    [
        (b"", 1, "is not an idx file"),
        (b"\x89PNG\r\n\x1a\n", 1, "is not an idx file: it should begin with two zero bytes, not '89 50'"),
        (idx(b"\0\0\0\0", 1, kind=0x0D), 1, "holds values of idx type 0x0d; images and labels have 0x08"),
        (idx(b"\0", 1), 3, r"has 1 dimension where 3 were expected \(images, idx3\)"),
        (idx(b"\0", 1, 1, 1), 1, r"has 3 dimensions where 1 was expected \(labels, idx1\)"),
        (idx(b"", 5)[:6], 1, "is cut off within its header of 8 bytes"),
        (idx(b"\0" * 11, 2, 3, 2), 3, "is cut off: 2x3x2 values are announced, 11 are there: fetch it again"),
        (idx(b"\0" * 5, 4), 1, "is too long: 4 values are announced, 5 are there"),
        (idx(b"", 0), 1, "holds no values"),
        (gzip.compress(idx(b"\0" * 99, 99), mtime=0)[:-12], 1, "is a damaged gzip file"),
        (gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 20, 1, "is a damaged gzip file"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, dimensions: int, text: str) -> None:
    with pytest.raises(DataError, match=f"some-idx-ubyte {text}"):
        read_idx(written(tmp_path, content), dimensions=dimensions)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing does not exist"):
        read_idx(tmp_path / "nothing", dimensions=1)


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read: Is a directory"):
        read_idx(tmp_path, dimensions=1)
