"""MNIST: small idx files, which files are not taken for it, and a download that fails.

tests/condense/data/test_fashion.py tests the code that it shares with Fashion-MNIST.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import condense
from condense.data.mnist import FILES, load_fashion_mnist, load_mnist
from condense.data.options import DownloadOptions
from condense.errors import DataError

OFF = DownloadOptions(download=False)


def write_idx(path: Path, array: np.ndarray) -> None:
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_files(folder: Path, *, first: int = 0, suffix: str = "") -> None:
    """20 training and 10 test images. All pixels of image i are first + i, and its label is i modulo 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        index = np.arange(20 if name.startswith("train") else 10)
        images = np.broadcast_to(first + index[:, None, None], (len(index), 28, 28))
        write_idx(folder / (name + suffix), images if "idx3" in name else index % 10)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_digits(tmp_path: Path, suffix: str, request_for: Callable[..., Any]) -> None:
    write_files(tmp_path / "MNIST" / "raw", suffix=suffix)
    dataset = load_mnist(OFF, request_for("mnist"))
    assert dataset.classes == tuple("0123456789")
    assert dataset.train.labels.tolist() == [*range(10), *range(10)]
    assert dataset.train.images.read(torch.tensor([13])).unique().tolist() == [13]
    assert dataset.train.images.shape == (1, 28, 28)
    assert dataset.mean == (0.1307,)
    assert dataset.notes == ("raw holds 20 training and 10 test images; MNIST has 60000 and 10000",)


def test_the_two_datasets_are_not_taken_for_each_other(
    tmp_path: Path, request_for: Callable[..., Any]
) -> None:
    """Their files have the same names."""
    write_files(tmp_path)
    with pytest.raises(DataError, match="MNIST is not in"):
        load_mnist(OFF, request_for("mnist"))
    write_files(tmp_path / "MNIST" / "raw", first=50)
    write_files(tmp_path / "FashionMNIST" / "raw", first=100)
    zero = torch.tensor([0])
    assert load_mnist(OFF, request_for("mnist")).train.images.read(zero).unique().tolist() == [50]
    fashion = load_fashion_mnist(OFF, request_for("fashion-mnist"))
    assert fashion.train.images.read(zero).unique().tolist() == [100]


def test_a_damaged_file_is_named(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_files(folder)
    (folder / FILES[2]).write_bytes((folder / FILES[2]).read_bytes()[:100])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte is cut off: 10x28x28 values are announced"):
        load_mnist(OFF, request_for("mnist"))


@pytest.mark.usefixtures("no_network")
def test_failing_download_says_what_would_do(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(DataError) as caught:
        load_mnist(DownloadOptions(), request_for("mnist"))
    text = str(caught.value)
    assert text.startswith("MNIST (https://ossci-datasets.s3.amazonaws.com/mnist/, ")
    assert (
        f"Put these four files, gzipped (.gz) or not, into {tmp_path / 'MNIST' / 'raw'}: {FILES[0]}, " in text
    )
    assert text.endswith("or point --data-dir to the folder that holds MNIST/raw")
    assert list(tmp_path.iterdir()) == []


def test_download_arrives_where_torchvision_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_for: Callable[..., Any]
) -> None:
    def fetch(url: str, download_root: str, filename: str, md5: str) -> None:
        write_files(Path(download_root))

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fetch)
    assert load_mnist(DownloadOptions(), request_for("mnist")).class_counts() == [2] * 10
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]
    assert len(torchvision.datasets.MNIST(tmp_path, download=False)) == 20


@pytest.mark.slow
def test_a_run(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_files(tmp_path / "MNIST" / "raw")
    distilled = condense.load(run_wmdd("mnist").path)
    assert list(distilled.classes) == list("0123456789")
    assert distilled.images.shape == (10, 1, 28, 28)


@pytest.mark.slow
def test_a_run_on_fashion_mnist(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_files(tmp_path)
    assert condense.load(run_wmdd("fashion-mnist").path).classes[0] == "T-shirt/top"
