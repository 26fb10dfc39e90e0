"""Fashion-MNIST: the embedded part, the idx files, the download and what is said when it fails."""

from __future__ import annotations

import gzip
import hashlib
import struct
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision

from condense.data import fashion
from condense.data.dataset import DatasetRequest
from condense.data.fashion import load_fashion_mini, read_mini
from condense.data.idx import read_idx
from condense.data.mnist import FILES, load_fashion_mnist
from condense.data.options import DownloadOptions
from condense.errors import DataError, StorageError
from condense.recipe.specs import NoOptions

# Where Debian's dataset-fashion-mnist installs the idx files.
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_files = pytest.mark.skipif(
    not (DEBIAN / f"{FILES[0]}.gz").exists(),
    reason="the idx files of Debian's dataset-fashion-mnist are not installed",
)
EMBEDDED = files("condense.data") / "files" / "fashion_mini.npz"


def request_for(name: str, data_dir: Path) -> DatasetRequest:
    return DatasetRequest(name=name, argument="", data_dir=data_dir, seed=0)


@pytest.fixture(scope="module")
def tool(tools: Callable[[str], ModuleType]) -> ModuleType:
    return tools("make_fashion_mini")


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_files(folder: Path, suffixes: tuple[str, ...] = ("", "", "", "")) -> None:
    """20 training and 10 test images; all pixels of image i are i."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, suffix in zip(FILES, suffixes, strict=True):
        count = 20 if name.startswith("train") else 10
        index = np.arange(count)
        array = np.broadcast_to(index[:, None, None], (count, 28, 28)) if "idx3" in name else index % 10
        write_idx(folder / (name + suffix), array)


def test_mini_has_its_counts() -> None:
    dataset = load_fashion_mini(NoOptions(), request_for("fashion-mini", Path("nowhere")))
    assert dataset.name == "fashion-mini"
    assert dataset.class_counts() == [500] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [100] * 10
    assert dataset.train.images.shape == dataset.test.images.shape == (1, 28, 28)
    assert dataset.train.images.read(torch.tensor([0])).dtype == torch.uint8
    assert dataset.size == 28
    assert dataset.classes[0] == "T-shirt/top"
    assert dataset.classes[9] == "Ankle boot"
    assert dataset.licence.startswith("MIT") and "1708.07747" in dataset.source


def test_mini_has_no_image_twice() -> None:
    images = read_mini(EMBEDDED)[0].flatten(1)
    # Fashion-MNIST itself holds a few doubles; an index drawn twice would give many.
    assert len(np.unique(images.numpy(), axis=0)) > 4990


def test_mini_file_is_the_one_that_was_released() -> None:
    content = EMBEDDED.read_bytes()
    assert len(content) <= 4 * 2**20
    assert (
        hashlib.sha256(content).hexdigest()
        == "88a506891384ea8675ac12b91802f926d75043800bd4a75110c100ff6f90eff1"
    )
    licence = (files("condense.data") / "files" / "fashion_mini.LICENSE").read_text()
    assert "Copyright (c) 2017 Zalando SE" in licence


@needs_files
def test_tool_makes_the_embedded_file(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool.main([str(DEBIAN), str(tmp_path / "made.npz")])
    assert f"MINI_DIGEST = {fashion.MINI_DIGEST}" in capsys.readouterr().out
    read_mini(tmp_path / "made.npz")  # checks the digest


def test_tool_writes_the_same_bytes_at_any_time(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [np.arange(size, dtype=np.uint8) for size in (9, 3, 6, 2)]
    before = tool.pack(arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert tool.pack(arrays) == before


@needs_files
def test_mini_is_part_of_the_right_splits() -> None:
    whole = [read_idx(DEBIAN / f"{name}.gz", dimensions=3 if "idx3" in name else 1) for name in FILES]
    mini = read_mini(EMBEDDED)
    for start in (0, 2):
        known = {
            (image.numpy().tobytes(), int(label))
            for image, label in zip(*whole[start : start + 2], strict=True)
        }
        for image, label in zip(*mini[start : start + 2], strict=True):
            assert (image.numpy().tobytes(), int(label)) in known


def test_tool_refuses_a_class_that_is_too_small(tool: ModuleType) -> None:
    with pytest.raises(SystemExit, match="class 3 has 1 images in the train split; 2 are needed"):
        tool.choose(np.array([0, 0, 1, 1, 2, 2, 3]), "train", 2)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_damaged_mini(tmp_path: Path, damage: str) -> None:
    content = bytearray(EMBEDDED.read_bytes())
    path = tmp_path / "mini.npz"
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "empty":
        content = bytearray()
    path.write_bytes(content)
    if damage == "other":
        arrays = {
            name: array.numpy() for name, array in zip(fashion.MINI_ARRAYS, read_mini(EMBEDDED), strict=True)
        }
        arrays["train_labels"][0] += 1
        np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"mini\.npz is damaged; installing condense again brings it back"):
        read_mini(path)


@needs_files
def test_normalisation_is_that_of_the_training_pixels() -> None:
    pixels = read_idx(DEBIAN / f"{FILES[0]}.gz", dimensions=3).double() / 255
    assert fashion.MEAN[0] == pytest.approx(float(pixels.mean()), abs=5e-5)
    assert fashion.STD[0] == pytest.approx(float(pixels.std()), abs=5e-5)


@needs_files
def test_full_dataset_as_debian_installs_it() -> None:
    dataset = load_fashion_mnist(DownloadOptions(download=False), request_for("fashion-mnist", DEBIAN))
    assert dataset.class_counts() == [6000] * 10
    assert torch.bincount(dataset.test.labels).tolist() == [1000] * 10
    assert dataset.notes == ()


@pytest.mark.parametrize("below", [".", "FashionMNIST/raw"])
def test_files_may_be_gzipped_or_not(tmp_path: Path, below: str) -> None:
    write_files(tmp_path / below, ("", ".gz", ".gz", ""))
    dataset = load_fashion_mnist(DownloadOptions(), request_for("fashion-mnist", tmp_path))
    assert dataset.train.labels.tolist() == [*range(10), *range(10)]
    assert dataset.train.images.read(torch.tensor([13])).flatten().tolist() == [13] * 784
    assert len(dataset.test) == 10
    folder = tmp_path / below
    assert dataset.notes == (
        f"{folder.name} holds 20 training and 10 test images; Fashion-MNIST has 60000 and 10000",
    )


@pytest.mark.parametrize(
    ("name", "array", "text"),
    [
        (
            FILES[0],
            np.zeros((20, 32, 32)),
            "train-images-idx3-ubyte holds images of 32x32 pixels instead of 28x28",
        ),
        (FILES[0], np.zeros((19, 28, 28)), "train-images-idx3-ubyte has 19 entries, but the file .* has 20"),
        (FILES[3], np.full(10, 10), "t10k-labels-idx1-ubyte holds the label 10; Fashion-MNIST has 0 to 9"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, name: str, array: np.ndarray, text: str) -> None:
    write_files(tmp_path)
    write_idx(tmp_path / name, array)
    with pytest.raises(DataError, match=text):
        load_fashion_mnist(DownloadOptions(), request_for("fashion-mnist", tmp_path))


def check_advice(text: str, data_dir: Path) -> None:
    assert "Put these four files, gzipped (.gz) or not, into" in text
    assert f"{data_dir} or {data_dir / 'FashionMNIST' / 'raw'}" in text
    assert all(name in text for name in FILES)
    assert "--data-dir" in text


def test_failing_download_says_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)
    (tmp_path / FILES[0]).write_bytes(b"one of four is not enough")
    with pytest.raises(DataError) as caught:
        load_fashion_mnist(DownloadOptions(), request_for("fashion-mnist", tmp_path))
    text = str(caught.value)
    assert text.startswith("Fashion-MNIST (http://fashion-mnist.s3-website")
    assert "could not be fetched: " in text and "no route" in text
    assert "\n" not in text
    check_advice(text, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILES[0]]


def test_download_switched_off(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_fashion_mnist(DownloadOptions(download=False), request_for("fashion-mnist", tmp_path))
    assert str(caught.value).startswith(f"Fashion-MNIST is not in {tmp_path} and the option download is off.")
    check_advice(str(caught.value), tmp_path)


def test_download_arrives_where_torchvision_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[str] = []

    def fetch(url: str, download_root: str, filename: str, md5: str) -> None:
        print("Downloading", url)  # noqa: T201 (as older torchvision did)
        fetched.append(filename)
        write_files(Path(download_root))

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fetch)
    data_dir = tmp_path / "new" / "data"
    for _ in range(2):
        dataset = load_fashion_mnist(DownloadOptions(), request_for("fashion-mnist", data_dir))
        assert dataset.class_counts() == [2] * 10
    assert fetched == [f"{name}.gz" for name in FILES]  # once
    assert [path.name for path in data_dir.iterdir()] == ["FashionMNIST"]
    torchvision.datasets.FashionMNIST(data_dir, download=False)
    assert capsys.readouterr().out == ""


def test_data_dir_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StorageError, match=r"file cannot be written \(File exists\), so Fashion-MNIST .* not fetched"
    ):
        load_fashion_mnist(DownloadOptions(), request_for("fashion-mnist", tmp_path / "file"))


def test_full_disk_is_no_network_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fail)
    with pytest.raises(
        StorageError, match=r"Fashion-MNIST .* could not be stored in .*No space left on device"
    ):
        load_fashion_mnist(DownloadOptions(), request_for("fashion-mnist", tmp_path))
