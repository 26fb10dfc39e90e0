"""Tiny ImageNet: a small tree in the layout of its archive, damage, and a download that fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image

import condense
from condense.data.images import FolderImages
from condense.data.options import TinyImageNetOptions
from condense.data.tiny_imagenet import URL, load_tiny_imagenet
from condense.errors import DataError

OFF = TinyImageNetOptions(download=False)
# As in the archive, wnids.txt is not sorted.
NAMES = {"n02124075": "Egyptian cat", "n01443537": "goldfish", "n07734744": "mushroom"}
SORTED = ("n01443537", "n02124075", "n07734744")


def write_tree(root: Path) -> None:
    """4 training images and 1 validation image of each class; the red of an image is 60 times its class."""
    (root / "val" / "images").mkdir(parents=True)
    lines = []
    for label, wnid in enumerate(SORTED):
        colour = (60 * label, 100, 200)
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        for index in range(4):
            image = Image.new("RGB", (64, 64), colour)
            image = image.convert("L") if index == 3 else image  # some are grey
            image.save(folder / f"{wnid}_{index}.JPEG", quality=95)
        (folder.parent / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t62\t63\n")
        number = 2 - label  # the validation images are in another order than the classes
        Image.new("RGB", (64, 64), colour).save(root / "val" / "images" / f"val_{number}.JPEG", quality=95)
        lines.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(reversed(lines)))
    (root / "test" / "images").mkdir(parents=True)
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in NAMES))
    words = {"n00001740": "entity", **NAMES, "n01443537": "goldfish, Carassius auratus"}
    (root / "words.txt").write_text("".join(f"{wnid}\t{name}\n" for wnid, name in words.items()))


@pytest.mark.parametrize("below", ["tiny-imagenet-200", "."])
def test_tree_in_the_layout_of_the_archive(
    tmp_path: Path, below: str, request_for: Callable[..., Any]
) -> None:
    write_tree(tmp_path / below)
    dataset = load_tiny_imagenet(OFF, request_for("tiny-imagenet"))
    assert dataset.classes == ("n01443537 goldfish", "n02124075 Egyptian cat", "n07734744 mushroom")
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.test.labels.tolist() == [2, 1, 0]
    for split, index, red in ((dataset.train, 8, 120), (dataset.test, 0, 120), (dataset.test, 1, 60)):
        image = split.images.read(torch.tensor([index]))[0]
        assert image.shape == (3, 64, 64)
        wanted = torch.tensor([red, 100, 200]).float()
        assert torch.allclose(image.float().mean((1, 2)), wanted, atol=3)  # JPEG is not exact
    grey = dataset.train.images.read(torch.tensor([3]))[0]
    assert torch.equal(grey[0], grey[2])
    assert "holds 12 training and 3 test images; Tiny ImageNet has 100000 and 10000" in dataset.notes[0]


def test_images_are_enlarged_and_cropped(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    """The left half of an image is black and the right half white, and so it is in the centre of the enlarged one."""
    write_tree(tmp_path)
    half = Image.new("RGB", (64, 64), "white")
    half.paste("black", (0, 0, 32, 64))
    half.save(tmp_path / "train" / SORTED[0] / "images" / f"{SORTED[0]}_0.JPEG", quality=95)
    dataset = load_tiny_imagenet(TinyImageNetOptions(download=False, size=224), request_for("tiny-imagenet"))
    assert dataset.size == 224
    image = dataset.train.images.read(torch.tensor([0]))[0].float()
    assert image.shape == (3, 256, 256)  # 256/224 of the size
    seen = condense.centre_crop(image[None], 224)[0]
    assert seen[:, :, :108].max() < 16 and seen[:, :, 116:].min() > 239
    with pytest.raises(ValueError, match="size must be at least 8 pixels, not 7"):
        TinyImageNetOptions(size=7)


def test_images_beyond_the_limit_are_decoded_at_each_read(
    tmp_path: Path, request_for: Callable[..., Any]
) -> None:
    write_tree(tmp_path)
    options = TinyImageNetOptions(download=False, memory_limit_gib=0.0)
    dataset = load_tiny_imagenet(options, request_for("tiny-imagenet"))
    assert isinstance(dataset.train.images, FolderImages)


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str, request_for: Callable[..., Any]) -> None:
    root = tmp_path / "tiny-imagenet-200"
    write_tree(root)
    (root / name).unlink()
    with pytest.raises(DataError, match=rf"{re.escape(str(root / name))} is missing\. Unpack {URL} so that"):
        load_tiny_imagenet(TinyImageNetOptions(), request_for("tiny-imagenet"))


def test_a_class_without_images_is_named(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_tree(tmp_path)
    for path in (tmp_path / "train" / SORTED[1] / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=rf"{SORTED[1]}/images has no images \(\*\.JPEG\)\. Unpack"):
        load_tiny_imagenet(OFF, request_for("tiny-imagenet"))


@pytest.mark.parametrize("line", ["val_0.JPEG\tn00001740\t0\t0\t1\t1", "val_0.JPEG"])
def test_a_damaged_annotation_is_named(tmp_path: Path, line: str, request_for: Callable[..., Any]) -> None:
    write_tree(tmp_path)
    with (tmp_path / "val" / "val_annotations.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(
        DataError, match=r"val_annotations\.txt, line 4: expected the name of an image, a tab and"
    ):
        load_tiny_imagenet(OFF, request_for("tiny-imagenet"))


def test_a_missing_image_is_named(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    write_tree(tmp_path)
    (tmp_path / "val" / "images" / "val_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_1\.JPEG does not exist"):
        load_tiny_imagenet(OFF, request_for("tiny-imagenet"))


@pytest.mark.usefixtures("no_network")
def test_failing_download_says_what_would_do(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(DataError) as caught:
        load_tiny_imagenet(TinyImageNetOptions(), request_for("tiny-imagenet"))
    text = str(caught.value)
    assert text.startswith(
        f"Tiny ImageNet ({URL}) could not be fetched: <urlopen error no route>. Unpack {URL}"
    )
    assert f"so that {tmp_path / 'tiny-imagenet-200' / 'wnids.txt'} is there" in text
    assert list(tmp_path.iterdir()) == []


def test_download_switched_off(request_for: Callable[..., Any]) -> None:
    with pytest.raises(
        DataError, match=r"^Tiny ImageNet is not in .* and the option download is off\. Unpack"
    ):
        load_tiny_imagenet(OFF, request_for("tiny-imagenet"))


def test_download_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_for: Callable[..., Any]
) -> None:
    fetched: list[str] = []

    def fetch(url: str, root: str, md5: str) -> None:
        fetched.append(url)
        write_tree(Path(root) / "tiny-imagenet-200")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", fetch)
    for _ in range(2):
        dataset = load_tiny_imagenet(TinyImageNetOptions(), request_for("tiny-imagenet"))
        assert dataset.class_counts() == [4] * 3
    assert fetched == [URL]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-imagenet-200"]


@pytest.mark.slow
def test_a_run(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_tree(tmp_path / "tiny-imagenet-200")
    distilled = condense.load(run_wmdd("tiny-imagenet", {"dataset.size": 64}).path)
    assert distilled.classes[0] == "n01443537 goldfish"
    assert distilled.images.shape == (3, 3, 64, 64)


def test_a_run_on_enlarged_images_as_published(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_tree(tmp_path / "tiny-imagenet-200")
    assert condense.load(run_wmdd("tiny-imagenet").path).images.shape == (3, 3, 224, 224)
