"""ImageNet-1K: 1000 small class folders, alone and with the meta.bin or the devkit that torchvision reads."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image
from timm.data import ImageNetInfo

import condense
from condense.data.imagenet import load_imagenet
from condense.data.images import FolderImages
from condense.data.options import ImageNetOptions
from condense.errors import DataError

WNIDS = ImageNetInfo("imagenet-1k").label_names()
SMALL = ImageNetOptions(size=16)


def jpeg(label: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (label % 10 * 25, label // 10 % 10 * 25, label // 100 * 25)).save(
        buffer, "JPEG", quality=95
    )
    return buffer.getvalue()


def write_folders(root: Path) -> None:
    """One training and one validation image of each class; its colour is made of the digits of the label."""
    for label, wnid in enumerate(WNIDS):
        content = jpeg(label)
        for split in ("train", "val"):
            (root / split / wnid).mkdir(parents=True)
            (root / split / wnid / f"{wnid}_0.JPEG").write_bytes(content)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders that no test changes."""
    root = tmp_path_factory.mktemp("folders")
    write_folders(root)
    return root


def link(folders: Path, root: Path) -> Path:
    """Show the class folders below `root` too."""
    root.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        (root / split).symlink_to(folders / split, target_is_directory=True)
    return root


def write_meta(root: Path) -> None:
    torch.save(({wnid: (f"name {wnid}", "another") for wnid in WNIDS}, WNIDS), root / "meta.bin")


def write_devkit(root: Path) -> str:
    """Write the devkit's archive with the parts that torchvision reads. Return its name."""
    name = "ILSVRC2012_devkit_t12"
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(number, wnid, f"name {wnid}", "", 0) for number, wnid in enumerate(WNIDS, 1)]
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": np.array([*rows, (1001, "n00001740", "entity", "", 2)], dtype=kind)})
    truth = "\n".join(str(number) for number in range(1, 1001))
    parts = {"meta.mat": buffer.getvalue(), "ILSVRC2012_validation_ground_truth.txt": truth.encode()}
    with tarfile.open(root / f"{name}.tar.gz", "w:gz") as archive:
        for file, content in parts.items():
            entry = tarfile.TarInfo(f"{name}/data/{file}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return f"{name}.tar.gz"


def check(root: Path, request: Any) -> None:
    dataset = load_imagenet(SMALL, request)
    assert len(dataset.classes) == len(set(dataset.classes)) == 1000
    assert dataset.classes[0] == "n01440764 tench"
    assert dataset.classes[-1] == "n15075141 toilet tissue"
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == list(range(1000))
    assert dataset.size == 16
    for split in (dataset.train, dataset.test):
        image = split.images.read(torch.tensor([347]))[0]
        assert image.shape == (3, 16, 16)
        wanted = torch.tensor([175, 100, 75]).float()
        assert torch.allclose(image.float().mean((1, 2)), wanted, atol=3)  # JPEG is not exact
    assert dataset.notes == (
        f"{root.name} holds 1000 training and 1000 test images; ImageNet-1K has 1281167 and 50000",
    )


@pytest.mark.parametrize("below", ["imagenet-1k", "imagenet", "."])
def test_class_folders(folders: Path, tmp_path: Path, below: str, request_for: Callable[..., Any]) -> None:
    check(link(folders, tmp_path / below), request_for("imagenet-1k"))


def test_class_folders_with_the_meta_file(
    folders: Path, tmp_path: Path, request_for: Callable[..., Any]
) -> None:
    root = link(folders, tmp_path / "imagenet")
    write_meta(root)
    check(root, request_for("imagenet-1k"))


def test_class_folders_with_the_devkit(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_for: Callable[..., Any]
) -> None:
    """torchvision compares the MD5 sums of archives; None stands for any file."""
    root = link(folders, tmp_path / "imagenet")
    name = write_devkit(root)
    known = torchvision.datasets.imagenet.ARCHIVE_META
    monkeypatch.setitem(known, "devkit", (name, None))
    check(root, request_for("imagenet-1k"))
    assert (root / "meta.bin").is_file()


def test_photographs_are_not_held_in_memory(
    folders: Path, tmp_path: Path, request_for: Callable[..., Any]
) -> None:
    link(folders, tmp_path)
    dataset = load_imagenet(ImageNetOptions(memory_limit_gib=0.1), request_for("imagenet-1k"))
    assert isinstance(dataset.train.images, FolderImages)
    assert dataset.size == 224
    assert dataset.train.images.shape == (3, 256, 256)


def check_advice(text: str, data_dir: Path) -> None:
    target = data_dir / "imagenet-1k"
    assert "From https://image-net.org (an account is needed) put ILSVRC2012_devkit_t12.tar.gz, " in text
    assert f"into {target}, or class folders of 1000 WordNet ids as {target}/train/n01440764/*.JPEG" in text


def test_nothing_there(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"^ImageNet-1K is not in ") as caught:
        load_imagenet(SMALL, request_for("imagenet-1k"))
    check_advice(str(caught.value), tmp_path)


def test_a_missing_archive_is_named(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_meta(tmp_path)
    with pytest.raises(DataError, match=r"The archive ILSVRC2012_img_train\.tar is not present") as caught:
        load_imagenet(SMALL, request_for("imagenet-1k"))
    check_advice(str(caught.value), tmp_path)


def test_a_damaged_meta_file_is_named(folders: Path, tmp_path: Path, request_for: Callable[..., Any]) -> None:
    root = link(folders, tmp_path / "imagenet")
    for content in (b"", b"not a file of torch", b"PK\x03\x04 cut off"):
        (root / "meta.bin").write_bytes(content)
        with pytest.raises(
            DataError, match=r"torchvision cannot read ImageNet in .*Remove meta\.bin if it is"
        ):
            load_imagenet(SMALL, request_for("imagenet-1k"))


@pytest.mark.parametrize("meta", [False, True])
def test_other_classes_are_refused(tmp_path: Path, meta: bool, request_for: Callable[..., Any]) -> None:
    write_folders(tmp_path)
    if meta:
        write_meta(tmp_path)
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / split / WNIDS[7])
    with pytest.raises(DataError, match=rf"has 999 class folders, .*: {WNIDS[7]} is missing") as caught:
        load_imagenet(SMALL, request_for("imagenet-1k"))
    assert f"--dataset folder:{tmp_path} takes other classes" in str(caught.value)


def test_a_class_without_test_images_is_refused(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_folders(tmp_path)
    write_meta(tmp_path)
    shutil.rmtree(tmp_path / "val" / WNIDS[7])
    with pytest.raises(DataError, match=rf"1 class folders are only in one of .*: {WNIDS[7]}\."):
        load_imagenet(SMALL, request_for("imagenet-1k"))


@pytest.mark.thorough
@pytest.mark.slow
def test_a_run(folders: Path, tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    link(folders, tmp_path / "imagenet-1k")
    distilled = condense.load(run_wmdd("imagenet-1k", {"dataset.size": 16}).path)
    assert len(distilled.classes) == 1000
    assert distilled.images.shape == (1000, 3, 16, 16)
