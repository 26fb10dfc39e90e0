"""Imagewoof: a small tree in its layout, and a download that works or fails.

tests/condense/data/test_imagenette.py tests the code that it shares with Imagenette.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from timm.data import ImageNetInfo

import condense
from condense.data.imagenette import CLASS_NAMES, DOG_NAMES, load_imagenette, load_imagewoof
from condense.data.options import ImagenetteOptions
from condense.errors import DataError

SMALL = ImagenetteOptions(size=32, download=False)
URL = "https://s3.amazonaws.com/fast-ai-imageclas/imagewoof2-320.tgz"


def write_tree(root: Path) -> None:
    """2 training images and 1 validation image of 60x40 for each class, one colour per class."""
    for split, count in (("train", 2), ("val", 1)):
        for label, wnid in enumerate(DOG_NAMES):
            folder = root / split / wnid
            folder.mkdir(parents=True)
            for index in range(count):
                image = Image.new("RGB", (60, 40), (25 * label, 100, 200))
                image.save(folder / f"{wnid}_{index}.JPEG", quality=95)


def test_names_are_those_of_imagenet() -> None:
    info = ImageNetInfo("imagenet-1k")
    for names in (CLASS_NAMES, DOG_NAMES):
        assert {wnid: info.label_name_to_description(wnid).split(",")[0] for wnid in names} == names
        assert list(names) == sorted(names)


@pytest.mark.parametrize(
    ("below", "variant"), [("imagewoof2-320", "320px"), ("imagewoof2-160", "160px"), (".", "320px")]
)
def test_tree_in_its_layout(
    tmp_path: Path, below: str, variant: Any, request_for: Callable[..., Any]
) -> None:
    write_tree(tmp_path / below)
    options = ImagenetteOptions(size=32, download=False, variant=variant)
    dataset = load_imagewoof(options, request_for("imagewoof"))
    assert dataset.classes == tuple(DOG_NAMES.values())
    assert dataset.train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert dataset.test.labels.tolist() == list(range(10))
    colours = dataset.train.images.read(torch.tensor([15]))[0].float().mean((1, 2))
    assert torch.allclose(colours, torch.tensor([175.0, 100.0, 200.0]), atol=3)  # JPEG is not exact
    text = "holds 20 training and 10 test images; Imagewoof has 9025 and 3929"
    assert dataset.notes == (f"{(tmp_path / below).name} {text}",)


def test_the_folders_of_imagenette_are_not_taken_for_it(
    tmp_path: Path, request_for: Callable[..., Any]
) -> None:
    write_tree(tmp_path)
    with pytest.raises(
        DataError,
        match=r"has the class folder 'n02086240', which is not one of Imagenette's ten \(n01440764, .*folder:",
    ):
        load_imagenette(SMALL, request_for("imagenette"))


@pytest.mark.usefixtures("no_network")
def test_failing_download_says_what_would_do(tmp_path: Path, request_for: Callable[..., Any]) -> None:
    with pytest.raises(DataError) as caught:
        load_imagewoof(ImagenetteOptions(), request_for("imagewoof"))
    text = str(caught.value)
    folder = tmp_path / "imagewoof2-320"
    assert text.startswith(f"Imagewoof ({URL}) could not be fetched: <urlopen error no route>. Put")
    assert f"{folder}/train/n02086240/*.JPEG" in text
    assert "--data-dir to the folder that holds imagewoof2-320" in text
    assert list(tmp_path.iterdir()) == []


def test_download_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_for: Callable[..., Any]
) -> None:
    fetched: list[tuple[str, str]] = []

    def fetch(url: str, root: str, md5: str) -> None:
        fetched.append((url, md5))
        write_tree(Path(root) / "imagewoof2-320")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", fetch)
    for _ in range(2):
        options = ImagenetteOptions(size=32)
        assert load_imagewoof(options, request_for("imagewoof")).class_counts() == [2] * 10
    assert fetched == [(URL, "0f46d997ec2264e97609196c95897a44")]
    assert [path.name for path in tmp_path.iterdir()] == ["imagewoof2-320"]


@pytest.mark.slow
def test_a_run(tmp_path: Path, run_wmdd: Callable[..., Any]) -> None:
    write_tree(tmp_path / "imagewoof2-320")
    distilled = condense.load(run_wmdd("imagewoof", {"dataset.size": 32}).path)
    assert list(distilled.classes) == list(DOG_NAMES.values())
    assert distilled.images.shape == (10, 3, 32, 32)
