"""An artifact that comes from somebody with bad intentions is refused in one sentence, quickly and without its harm."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condense.errors import CondenseError, StorageError
from condense.storage.artifact import load, save
from condense.storage.distilled import DistilledDataset
from condense.storage.hub import push

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and files with holes")
IMAGE = "images/0-b/000.png"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Classes "b" and "a" with two grey images of 8x8 each, and soft labels; without checksums."""
    data = DistilledDataset(
        images=torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8),
        labels=torch.tensor([0, 0, 1, 1]),
        slots=torch.tensor([0, 1, 0, 1]),
        weights=torch.full((4,), 0.5),
        classes=("b", "a"),
        mean=(0.5,),
        std=(0.5,),
        ipc=2,
        label_mode="soft",
        soft_labels=torch.zeros(4, 2),
        settings={"recipe": {"method": "x"}, "evaluation": {"protocol": {"epochs": 1}}},
    )
    save(data, tmp_path / "d")
    edit(tmp_path / "d", lambda content: [entry.pop("sha256") for entry in content["classes"]])
    edit(tmp_path / "d", lambda content: content.pop("labels_sha256"))
    assert len(load(tmp_path / "d")) == 4
    return tmp_path / "d"


def edit(folder: Path, change: Callable[[Any], object]) -> None:
    path = folder / "distilled.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(folder: Path, text: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CondenseError, match=text) as caught:
        load(folder)
    assert len(str(caught.value)) < 1000
    # In KiB: nothing large was read or decoded.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def png(width: int, height: int) -> bytes:
    """A PNG file that says that it is grey and this large, without any pixel."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def hole(path: Path, size: int) -> None:
    """Write a file that has a size and takes no space."""
    with path.open("wb") as file:
        file.truncate(size)


@pytest.mark.parametrize("side", [13_000, 50_000, 2**31 - 1])
def test_an_image_that_would_fill_the_memory(saved: Path, side: int) -> None:
    (saved / IMAGE).write_bytes(png(side, side))
    refused(saved, rf"000\.png is an image {side}x{side} but distilled\.json says L 8x8")


def test_an_image_that_would_fill_the_memory_and_is_announced(saved: Path) -> None:
    (saved / IMAGE).write_bytes(png(50_000, 50_000))
    edit(saved, lambda content: content.update(width=50_000, height=50_000))
    refused(saved, "height must lie between 1 and 8192, not 50000")


def test_images_beyond_the_memory_of_the_computer(saved: Path) -> None:
    def large(content: Any) -> None:
        content.update(ipc=10**4, width=8192, height=8192)
        content["classes"][0].update(images=10**4, weights=[1e-4] * 10**4)

    edit(saved, large)
    refused(saved, r"10002 images of 8192x8192 need .* of memory while they are read, and this computer has")


@pytest.mark.parametrize(
    ("file", "size"),
    [(IMAGE, 8 * 10**9), ("labels.safetensors", 20 * 10**9), ("distilled.json", 20 * 10**9)],
)
def test_a_file_of_many_gigabytes(saved: Path, file: str, size: int) -> None:
    hole(saved / file, size)
    refused(saved, rf"{Path(file).name} has {size // 10**9}\.0 GB, and at most .* can be right there")


def test_json_that_is_deep(saved: Path) -> None:
    path = saved / "distilled.json"
    text = path.read_text()
    for deep in ("[" * 100_000 + "]" * 100_000, '{"x":' + "[" * 65 + "]" * 65 + "," + text[1:]):
        path.write_text(deep)
        refused(saved, r"distilled\.json has more than 64 lists and groups inside each other")
    path.write_text('{"x":' + "[" * 62 + "]" * 62 + "," + text[1:])
    assert len(load(saved)) == 4


@pytest.mark.parametrize(
    "what", [IMAGE, "images/0-b", "images", "labels.safetensors", "distilled.json", "README.md"]
)
def test_a_link_that_leads_out(saved: Path, tmp_path: Path, what: str) -> None:
    shutil.move(saved / what, tmp_path / "elsewhere")
    (saved / what).symlink_to(tmp_path / "elsewhere")
    refused(saved, rf"{what} is a link that leads out of .*, to .*elsewhere; put the file itself there")
    with pytest.raises(StorageError, match="is a link that leads out"):
        push(saved, "owner/name")


def test_links_inside_and_those_of_the_cache_of_the_hub_are_read(saved: Path, tmp_path: Path) -> None:
    (saved / "images" / "0-b").rename(saved / "images" / "real")
    (saved / "images" / "0-b").symlink_to("real")
    assert len(load(saved)) == 4
    snapshot = tmp_path / "datasets--o--n" / "snapshots" / "0123"
    blobs = tmp_path / "datasets--o--n" / "blobs"
    snapshot.parent.mkdir(parents=True)
    blobs.mkdir()
    shutil.move(saved, snapshot)
    shutil.move(snapshot / "images" / "real" / "000.png", blobs / "abc")
    (snapshot / "images" / "real" / "000.png").symlink_to(
        os.path.relpath(blobs / "abc", snapshot / "images" / "real")
    )
    assert len(load(snapshot)) == 4


@pytest.mark.parametrize("what", [IMAGE, "labels.safetensors"])
def test_a_pipe_blocks_nobody(saved: Path, what: str) -> None:
    (saved / what).unlink()
    os.mkfifo(saved / what)
    refused(saved, "is not a file")


def change_class(**changes: Any) -> Callable[[Any], None]:
    return lambda content: content["classes"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_class(folder="x" * 5000), "as a folder of images"),
        (change_class(folder="x\0y"), r"'x\\x00y' as a folder of images"),
        (change_class(folder="0\x1b[2J"), "as a folder of images"),
        (change_class(folder="1-a"), "2 classes have the folder '1-a'"),
        (change_class(name="a"), "2 classes have the name 'a'"),
        (change_class(images=0, weights=[]), "must have between 1 and 2 images"),
        (change_class(images=-1, weights=[]), "must have between 1 and 2 images"),
        (change_class(images=10**30, weights=[]), "must have between 1 and 2 images"),
        (lambda content: content.update(ipc=10**30), "ipc must lie between 1 and 1000000"),
        (lambda content: content.update(ipc=-5), "ipc must lie between 1 and 1000000, not -5"),
        (lambda content: content.update(width=0), "width must lie between 1 and 8192"),
        (lambda content: content.update(channels=7), "channels must be 1 or 3, not 7"),
        (lambda content: content.update(images_per_stored=0), "images_per_stored must lie between"),
        (lambda content: content.update(teacher_bytes=-1), "teacher_bytes"),
        (lambda content: content.update(bytes={"images": 10**30}), "is a number of bytes"),
        (
            lambda content: content.update(mean=[0.0], std=[1e30]),
            r"std of pixels must lie between 0\.001 and 1",
        ),
        (
            lambda content: content.update(mean=[0.5], std=[0.0]),
            r"std of pixels must lie between 0\.001 and 1",
        ),
        (lambda content: content.update(mean=[-1e30]), r"mean of pixels must lie in \[0, 1\]"),
        (lambda content: content["settings"].update(evaluation=[1]), "settings.evaluation must be a group"),
        (lambda content: content["settings"].update(recipe=None), "settings.recipe must be a group"),
        (lambda content: content["settings"]["evaluation"].update(protocol="x"), "protocol must be a group"),
    ],
)
def test_numbers_and_names_that_lie(saved: Path, change: Callable[[Any], object], text: str) -> None:
    edit(saved, change)
    refused(saved, text)


def test_no_class_has_images(saved: Path) -> None:
    edit(saved, lambda content: [entry.update(images=0, weights=[]) for entry in content["classes"]])
    for file in saved.rglob("*.png"):
        file.unlink()
    refused(saved, "class 'b' must have between 1 and 2 images")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_labels_that_are_no_numbers(saved: Path, value: float) -> None:
    save_file({"logits": torch.full((4, 2), value)}, saved / "labels.safetensors")
    refused(saved, "some soft labels are not finite numbers")


def test_labels_whose_header_promises_more(saved: Path) -> None:
    (saved / "labels.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    refused(saved, "is not a valid safetensors file")


@pytest.mark.parametrize("name", ["٠.png", "9" * 100 + ".png", "-1.png"])
def test_slots_that_are_no_numbers(saved: Path, name: str) -> None:
    (saved / IMAGE).rename((saved / IMAGE).with_name(name))
    refused(saved, "is not named by a slot number")


def test_an_image_in_another_form(saved: Path) -> None:
    Image.new("RGBA", (8, 8)).save(saved / IMAGE)
    refused(saved, r"is RGBA 8x8 but distilled\.json says L 8x8")
