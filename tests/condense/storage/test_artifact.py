"""An artifact that is broken, incomplete or changed is refused with a text that says where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condense.errors import DataError, StorageError
from condense.storage.artifact import load, save
from condense.storage.distilled import DistilledDataset


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Classes "b" and "a" with two grey images of 12x8 each, and soft labels."""
    data = DistilledDataset(
        images=torch.randint(
            0, 256, (4, 1, 8, 12), generator=torch.Generator().manual_seed(7), dtype=torch.uint8
        ),
        labels=torch.tensor([0, 0, 1, 1]),
        slots=torch.tensor([0, 1, 0, 1]),
        weights=torch.full((4,), 0.5),
        classes=("b", "a"),
        mean=(0.5,),
        std=(0.5,),
        ipc=2,
        label_mode="soft",
        soft_labels=torch.zeros(4, 2),
    )
    save(data, tmp_path / "d")
    return tmp_path / "d"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "distilled.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def without_checksums(folder: Path) -> None:
    """Make it an artifact of an earlier version, whose distilled.json has no checksums."""
    content = json.loads((folder / "distilled.json").read_text())
    edit(
        folder,
        labels_sha256="",
        classes=[
            {key: value for key, value in entry.items() if key != "sha256"} for entry in content["classes"]
        ],
    )


def refused(folder: Path, text: str) -> None:
    with pytest.raises(StorageError, match=text) as caught:
        load(folder)
    assert str(folder) in str(caught.value)


def test_missing_files(saved: Path) -> None:
    (saved / "labels.safetensors").unlink()
    refused(saved, r"there is no file .*labels\.safetensors")
    (saved / "images" / "1-a" / "001.png").unlink()
    refused(saved, r"1-a holds 1 images, but distilled\.json says 2; .* copy it again")
    shutil.rmtree(saved / "images")
    refused(saved, "holds 0 images")


def test_images_that_do_not_belong(saved: Path) -> None:
    shutil.copy(saved / "images" / "0-b" / "000.png", saved / "images" / "0-b" / "002.png")
    refused(saved, r"holds 3 images, but distilled\.json says 2")
    (saved / "images" / "0-b" / "001.png").rename(saved / "images" / "0-b" / "x.png")
    (saved / "images" / "0-b" / "002.png").unlink()
    refused(saved, r"x\.png is not named by a slot number")


@pytest.mark.parametrize(("size", "mode"), [((12, 9), "L"), ((12, 8), "RGB")])
def test_an_image_of_another_kind(saved: Path, size: tuple[int, int], mode: str) -> None:
    without_checksums(saved)
    Image.new(mode, size).save(saved / "images" / "1-a" / "000.png")
    refused(saved, rf"000\.png is {mode} {size[0]}x{size[1]} but distilled\.json says L 12x8")


@pytest.mark.parametrize("content", [b"", b"GIF89a no", "cut"])
def test_a_broken_image(saved: Path, content: bytes | str) -> None:
    without_checksums(saved)
    path = saved / "images" / "1-a" / "000.png"
    path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:60])
    refused(saved, r"000\.png is not a readable PNG image")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"format": 1}, "has format version 1, but this version of condense reads 2; use the version"),
        ({"format": 3}, "has format version 3, but this version of condense reads 2; use the version"),
        ({"mean": "x"}, "is not a description of a distilled dataset: .*mean"),
        ({"classes": [{"name": "b"}]}, "is not a description of a distilled dataset: .*folder"),
        ({"classes": []}, "names no classes"),
        (
            {"classes": [{"name": "b", "folder": "../..", "images": 1, "weights": [1.0]}]},
            "names '../..' as a folder",
        ),
        (
            {"classes": [{"name": "b", "folder": "0-b", "images": 2, "weights": [1.0]}]},
            "class 'b' has 1 weights for 2 images",
        ),
    ],
)
def test_a_description_that_does_not_fit(saved: Path, changes: dict[str, Any], text: str) -> None:
    edit(saved, **changes)
    refused(saved, text)


def test_a_description_that_is_no_object(saved: Path) -> None:
    (saved / "distilled.json").write_text("[]")
    refused(saved, "has format version None")


@pytest.mark.parametrize("name", ["images/0-b/001.png", "images/1-a/000.png", "labels.safetensors"])
def test_a_flipped_bit_is_noticed(name: str, saved: Path) -> None:
    file = saved / name
    content = bytearray(file.read_bytes())
    for place in (0, len(content) // 2, len(content) - 1):
        content[place] ^= 1
        file.write_bytes(content)
        refused(saved, f"{file.name} is damaged: its bytes are not those that were written")
        content[place] ^= 1
    file.write_bytes(content)
    load(saved)


def test_an_artifact_without_checksums_can_be_read(saved: Path) -> None:
    before = load(saved)
    without_checksums(saved)
    assert torch.equal(load(saved).images, before.images)


def test_a_checksum_for_every_image(saved: Path) -> None:
    content = json.loads((saved / "distilled.json").read_text())
    content["classes"][0]["sha256"].pop()
    edit(saved, classes=content["classes"])
    refused(saved, "class 'b' has 1 checksums for 2 images")


def test_labels_of_another_kind(saved: Path) -> None:
    without_checksums(saved)
    save_file({"other": torch.zeros(4, 2)}, saved / "labels.safetensors")
    refused(saved, r"labels\.safetensors holds no 'logits' but \['other'\]")
    save_file({"logits": torch.zeros(4, 3)}, saved / "labels.safetensors")
    with pytest.raises(DataError, match=r"soft labels must be \(4, 2\)"):
        load(saved)
