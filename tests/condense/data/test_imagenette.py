"""Imagenette: a small generated tree in its layout, and a download that works, fails or is switched off."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.imagenette import CLASS_NAMES, load_imagenette
from condense.data.images import FolderImages
from condense.data.options import ImagenetteOptions
from condense.errors import DataError

WNIDS = ("n01440764", "n02102040", "n03888257")


def write_tree(root: Path, *, grey: bool = False) -> None:
    """2 training and 1 validation JPEGs of 60x40 for each of three classes, one colour per class."""
    for split, count in (("train", 2), ("val", 1)):
        for label, wnid in enumerate(WNIDS):
            folder = root / split / wnid
            folder.mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (60, 40), (40 * label, 100, 200))
                image = image.convert("L") if grey and index == 1 else image
                image.save(folder / f"{wnid}_{index}.JPEG", quality=95)
    (root / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")


def load(data_dir: Path, options: ImagenetteOptions | None = None) -> RealDataset:
    request = DatasetRequest(name="imagenette", argument="", data_dir=data_dir, seed=0)
    return load_imagenette(options or ImagenetteOptions(size=32), request)


def test_names_are_those_of_torchvision() -> None:
    published = torchvision.datasets.Imagenette._WNID_TO_CLASS
    assert {wnid: names[0] for wnid, names in published.items()} == CLASS_NAMES


@pytest.mark.parametrize("below", ["imagenette2-320", "imagenette2", "."])
def test_tree_in_the_layout_of_imagenette(tmp_path: Path, below: str) -> None:
    write_tree(tmp_path / below)
    dataset = load(tmp_path)
    assert dataset.classes == ("tench", "English springer", "parachute")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.test.labels.tolist() == [0, 1, 2]
    assert dataset.size == 32
    assert dataset.train.images.shape == (3, 32, 32)
    colours = dataset.train.images.read(torch.tensor([5]))[0].float().mean((1, 2))
    assert torch.allclose(colours, torch.tensor([80.0, 100.0, 200.0]), atol=3)  # JPEG is not exact
    assert dataset.mean == (0.485, 0.456, 0.406)
    text = "holds 6 training and 3 test images; Imagenette has 9469 and 3925"
    notes = [f"{(tmp_path / below).name} {text}"]
    if below == "imagenette2":
        notes.insert(0, f"{below} is used in place of imagenette2-320, which is not there")
    assert list(dataset.notes) == notes


def test_stored_size_leaves_room_for_crops(tmp_path: Path) -> None:
    write_tree(tmp_path / "imagenette2-320")
    dataset = load(tmp_path, ImagenetteOptions(memory_limit_gib=0.0))
    assert dataset.size == 224
    assert isinstance(dataset.train.images, FolderImages)
    assert dataset.train.images.shape == (3, 256, 256)
    assert dataset.test.images.read(torch.tensor([0])).shape == (1, 3, 256, 256)


def test_grey_photographs_become_rgb_and_are_mentioned(tmp_path: Path) -> None:
    write_tree(tmp_path / "imagenette2-320", grey=True)
    dataset = load(tmp_path)
    assert dataset.notes[0] == "3 of 9 images are grey: converted to RGB like the others"
    pixels = dataset.train.images.read(torch.tensor([1]))[0]
    assert torch.equal(pixels[0], pixels[1]) and torch.equal(pixels[0], pixels[2])


def test_smaller_variant_is_not_taken_for_a_larger_one(tmp_path: Path) -> None:
    write_tree(tmp_path / "imagenette2-160")
    with pytest.raises(DataError, match=r"Imagenette is not in .* and the option download is off"):
        load(tmp_path, ImagenetteOptions(download=False))
    dataset = load(tmp_path, ImagenetteOptions(download=False, variant="160px", size=32))
    assert len(dataset.train) == 6


def check_advice(text: str, data_dir: Path) -> None:
    folder = data_dir / "imagenette2-320"
    assert f"{folder}/train/n01440764/*.JPEG" in text
    assert f"{folder}/val/n01440764/*.JPEG" in text
    assert "--data-dir to the folder that holds imagenette2-320" in text


def test_failing_download_says_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torchvision.datasets.imagenette, "download_and_extract_archive", fail)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    text = str(caught.value)
    url = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"
    assert text.startswith(f"Imagenette ({url}) could not be fetched: <urlopen error no route>. Put")
    check_advice(text, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_switched_off(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, ImagenetteOptions(download=False))
    check_advice(str(caught.value), tmp_path)


def test_download_arrives_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def fetch(url: str, root: str, md5: str) -> None:
        fetched.append(url)
        write_tree(Path(root) / "imagenette2-320")

    monkeypatch.setattr(torchvision.datasets.imagenette, "download_and_extract_archive", fetch)
    for _ in range(2):
        assert load(tmp_path).class_counts() == [2, 2, 2]
    assert fetched == ["https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz"]
    assert [path.name for path in tmp_path.iterdir()] == ["imagenette2-320"]


def test_half_a_tree_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "imagenette2-320" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=r"imagenette2-320 lacks train/ or val/; complete it, or remove it"):
        load(tmp_path)


def test_broken_photograph_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path / "imagenette2-320")
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    path = tmp_path / "imagenette2-320" / "train" / WNIDS[0] / "broken.JPEG"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(
        DataError, match=r"broken\.JPEG cannot be decoded \(.*truncated.*\): replace or remove it"
    ):
        load(tmp_path)
