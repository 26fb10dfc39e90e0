"""CIFAR-10 and CIFAR-100: small pickles in the layout of their archives, damage, and a download that fails.

torchvision compares the MD5 sums of all files. Tests put None for the sums of the class, which stands for any file.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torchvision.datasets import CIFAR10, CIFAR100

import condense
from condense.data.cifar import load_cifar10, load_cifar100
from condense.data.options import DownloadOptions
from condense.errors import DataError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
OFF = DownloadOptions(download=False)


@pytest.fixture
def any_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    for dataset in (CIFAR10, CIFAR100):
        for part in ("train_list", "test_list"):
            monkeypatch.setattr(dataset, part, [[name, None] for name, _ in getattr(dataset, part)])
        monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": None})


def pixels_of(count: int, start: int) -> np.ndarray:
    """Images as rows (count, 3072): image i has red `start + i`, green 100, and its row number y as blue."""
    image = np.zeros((count, 3, 32, 32), dtype=np.uint8)
    image[:, 0] = (start + np.arange(count))[:, None, None]
    image[:, 1] = 100
    image[:, 2] = np.arange(32)[None, :, None]
    return image.reshape(count, 3072)


def dump(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_cifar10(folder: Path) -> None:
    """Five files of 10 training images and one of 10 test images; labels in turn, the last class first."""
    for number in range(1, 6):
        content = {"data": pixels_of(10, 10 * number), "labels": list(range(9, -1, -1))}
        dump(folder / f"data_batch_{number}", content)
    dump(folder / "test_batch", {"data": pixels_of(10, 200), "labels": list(range(10))})
    dump(folder / "batches.meta", {"label_names": NAMES, "num_cases_per_batch": 10})


def write_cifar100(folder: Path) -> None:
    labels = list(range(99, -1, -1)) * 2
    coarse = [label // 5 for label in labels]
    dump(
        folder / "train",
        {"data": pixels_of(200, 0), "fine_labels": labels, "coarse_labels": coarse},
    )
    dump(
        folder / "test",
        {"data": pixels_of(100, 0), "fine_labels": list(range(100)), "coarse_labels": [0] * 100},
    )
    names = {
        "fine_label_names": [f"fine {label}" for label in range(100)],
        "coarse_label_names": ["coarse"] * 20,
    }
    dump(folder / "meta", names)


@pytest.mark.usefixtures("any_sums")
def test_cifar10(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    for data_dir in (tmp_path, tmp_path / "cifar-10-batches-py"):
        dataset = load_cifar10(OFF, request_for("cifar10", data_dir))
        assert dataset.classes == tuple(NAMES)
        assert dataset.train.labels.tolist() == [*range(9, -1, -1)] * 5
        assert dataset.test.labels.tolist() == [*range(10)]
        assert dataset.train.images.shape == (3, 32, 32)
        assert dataset.size == 32
    image = dataset.train.images.read(torch.tensor([13]))[0]
    assert image.dtype == torch.uint8
    assert image[0].unique().tolist() == [23]  # the fourth image of the second file
    assert image[1].unique().tolist() == [100]
    assert image[2, :, 5].tolist() == list(range(32))
    assert dataset.notes == (
        "cifar-10-batches-py holds 50 training and 10 test images; CIFAR-10 has 50000 and 10000",
    )
    assert "Krizhevsky" in dataset.source


@pytest.mark.usefixtures("any_sums")
def test_cifar100_has_its_fine_labels(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_cifar100(tmp_path / "cifar-100-python")
    dataset = load_cifar100(OFF, request_for("cifar100"))
    assert dataset.classes[:2] == ("fine 0", "fine 1")
    assert dataset.train.labels.tolist() == [*range(99, -1, -1)] * 2
    assert dataset.class_counts() == [2] * 100
    assert "CIFAR-100 has 50000 and 10000" in dataset.notes[0]


def test_files_with_another_sum_are_not_read(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    """A pickle can run code, so nothing is read before the sums are compared."""
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder)
    with pytest.raises(DataError) as caught:
        load_cifar10(DownloadOptions(), request_for("cifar10"))
    text = str(caught.value)
    assert text.startswith(f"{folder / 'data_batch_1'} is not the published file: its MD5 sum is ")
    assert f"not c99cafc152244af753f735de768cd75f. Remove {folder} to have it fetched again" in text


@pytest.mark.usefixtures("any_sums")
@pytest.mark.parametrize("name", ["data_batch_4", "test_batch", "batches.meta"])
def test_a_missing_file_is_named(tmp_path: Path, name: str, request_for: Callable[..., Any]) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    write_cifar10(folder)
    (folder / name).unlink()
    with pytest.raises(
        DataError, match=rf"{name} is missing\. Remove .* Unpack https://www\.cs\.toronto\.edu"
    ):
        load_cifar10(DownloadOptions(), request_for("cifar10"))


def check_advice(text: str, data_dir: Path) -> None:
    assert "Unpack https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz so that" in text
    assert f"{data_dir / 'cifar-100-python' / 'meta'} is there" in text
    assert "--data-dir to the folder that holds cifar-100-python" in text


@pytest.mark.usefixtures("no_network")
def test_failing_download_says_what_would_do(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(DataError) as caught:
        load_cifar100(DownloadOptions(), request_for("cifar100"))
    text = str(caught.value)
    assert text.startswith(
        "CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz) could not be fetched:"
    )
    assert "no route" in text
    check_advice(text, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_switched_off(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(
        DataError, match=r"^CIFAR-100 is not in .* and the option download is off\."
    ) as caught:
        load_cifar100(OFF, request_for("cifar100"))
    check_advice(str(caught.value), tmp_path)


@pytest.mark.usefixtures("any_sums")
def test_download_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_for: Callable[..., Any]
) -> None:
    fetched: list[str] = []

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        fetched.append(url)
        write_cifar10(Path(root) / "cifar-10-batches-py")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fetch)
    for _ in range(2):
        assert len(load_cifar10(DownloadOptions(), request_for("cifar10")).train) == 50
    assert fetched == ["https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-batches-py"]


@pytest.mark.slow
@pytest.mark.usefixtures("any_sums")
def test_a_run_on_cifar10(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    distilled = condense.load(run_wmdd("cifar10").path)
    assert list(distilled.classes) == NAMES
    assert distilled.images.shape == (10, 3, 32, 32)


@pytest.mark.slow
@pytest.mark.usefixtures("any_sums")
def test_a_run_on_cifar100(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_cifar100(tmp_path / "cifar-100-python")
    distilled = condense.load(run_wmdd("cifar100").path)
    assert distilled.images.shape == (100, 3, 32, 32)
