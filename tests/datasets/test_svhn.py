"""SVHN: small .mat files, damage, and a download that fails.

torchvision compares the MD5 sum of each file. Tests put None for the sums of the class, which stands for any file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from torchvision.datasets import SVHN

import condense
from condense.data.options import DownloadOptions
from condense.data.svhn import load_svhn
from condense.errors import DataError

OFF = DownloadOptions(download=False)


@pytest.fixture
def any_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {split: [url, name, None] for split, (url, name, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", files)


def write_mat(path: Path, count: int) -> None:
    """`count` images (32, 32, 3, count): image i has red i, green 50, and its column number as blue. The labels are
    1 to 10 in turn, where 10 stands for the digit 0."""
    pixels = np.zeros((32, 32, 3, count), dtype=np.uint8)
    pixels[:, :, 0] = np.arange(count)
    pixels[:, :, 1] = 50
    pixels[:, :, 2] = np.arange(32)[None, :, None]
    labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"X": pixels, "y": labels})


def write_svhn(folder: Path) -> None:
    write_mat(folder / "train_32x32.mat", 20)
    write_mat(folder / "test_32x32.mat", 10)


@pytest.mark.usefixtures("any_sums")
@pytest.mark.parametrize("below", ["svhn", "."])
def test_digits(tmp_path: Path, below: str, request_for: Callable[..., Any]) -> None:
    write_svhn(tmp_path / below)
    dataset = load_svhn(OFF, request_for("svhn"))
    assert dataset.classes == tuple("0123456789")
    assert dataset.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 2
    assert len(dataset.test) == 10
    assert dataset.train.images.shape == (3, 32, 32)
    image = dataset.train.images.read(torch.tensor([13]))[0]
    assert image.dtype == torch.uint8
    assert image[0].unique().tolist() == [13]
    assert image[1].unique().tolist() == [50]
    assert image[2, 7].tolist() == list(range(32))
    assert "holds 20 training and 10 test images; SVHN has 73257 and 26032" in dataset.notes[0]


def test_a_file_with_another_sum_is_named(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_svhn(tmp_path / "svhn")
    with pytest.raises(
        DataError, match=r"train_32x32\.mat is not the published file: its MD5 sum is .* Put train"
    ):
        load_svhn(OFF, request_for("svhn"))


@pytest.mark.usefixtures("any_sums")
def test_a_missing_file_is_named(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(
        DataError, match=r"test_32x32\.mat is missing\. Put train_32x32\.mat and test_32x32\.mat"
    ):
        load_svhn(DownloadOptions(), request_for("svhn"))


@pytest.mark.usefixtures("no_network")
def test_failing_download_says_what_would_do(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(DataError) as caught:
        load_svhn(DownloadOptions(), request_for("svhn"))
    text = str(caught.value)
    assert text.startswith("SVHN (http://ufldl.stanford.edu/housenumbers) could not be fetched: ")
    assert "no route" in text
    assert (
        f"from http://ufldl.stanford.edu/housenumbers into {tmp_path / 'svhn'}, or point --data-dir" in text
    )
    assert list(tmp_path.iterdir()) == []


def test_download_switched_off(request_for: Callable[..., Any]) -> None:
    with pytest.raises(
        DataError, match=r"^SVHN is not in .* and the option download is off\. Put train_32x32\.mat"
    ):
        load_svhn(OFF, request_for("svhn"))


@pytest.mark.usefixtures("any_sums")
def test_download_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_for: Callable[..., Any]
) -> None:
    fetched: list[str] = []

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        fetched.append(filename)
        write_mat(Path(root) / filename, 20)

    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", fetch)
    for _ in range(2):
        assert load_svhn(DownloadOptions(), request_for("svhn")).class_counts() == [2] * 10
    assert fetched == ["train_32x32.mat", "test_32x32.mat"]
    assert [path.name for path in tmp_path.iterdir()] == ["svhn"]


@pytest.mark.slow
@pytest.mark.usefixtures("any_sums")
def test_a_run(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_svhn(tmp_path / "svhn")
    distilled = condense.load(run_wmdd("svhn").path)
    assert list(distilled.classes) == list("0123456789")
    assert distilled.images.shape == (10, 3, 32, 32)
