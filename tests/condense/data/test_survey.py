"""Files as they come: what can be read is, and a broken file is named before any work, or left out and named."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condense.data import survey as module
from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.folder import load_folder
from condense.data.images import examine
from condense.data.options import FolderOptions
from condense.data.survey import survey
from condense.data.tree import read_tree
from condense.errors import CondenseError, DataError, StorageError
from condense.runtime import SilentReporter


class Told(SilentReporter):
    """Notes what was begun, how far it came, and how it ended."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self.lines.append(f"{stage}: {total} {unit}s")

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        self.done += count

    def finish(self, summary: str = "") -> None:
        self.lines.append(summary)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CONDENSE_CACHE_DIR", str(folder))
    return folder


def encoded(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


JPEG, PNG = encoded(noise(40, 30), "JPEG"), encoded(noise(40, 30))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of three training images and one test image."""
    for split, count in (("train", 3), ("val", 1)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                noise(20, 16, 10 * label + index).save(folder / f"{index}.png")
    return tmp_path / "pets"


def request(root: Path, reporter: SilentReporter | None = None, loaders: int = 0) -> DatasetRequest:
    return DatasetRequest(
        name=f"folder:{root}",
        argument=str(root),
        data_dir=Path("nowhere"),
        seed=0,
        reporter=reporter or SilentReporter(),
        loaders=loaders,
    )


def load(root: Path, reporter: SilentReporter | None = None, **options: Any) -> RealDataset:
    return load_folder(FolderOptions(**options), request(root, reporter))


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 255]) + content[position + 1 :]


BROKEN: dict[str, tuple[bytes, str]] = {
    "truncated.jpg": (JPEG[: len(JPEG) // 2], "cannot be decoded (image file is truncated"),
    "nearly-whole.jpg": (JPEG[:-200], "cannot be decoded (image file is truncated"),
    "header-only.jpg": (JPEG[:200], "cannot be decoded"),
    "truncated.png": (PNG[: len(PNG) // 2], "cannot be decoded"),
    "damaged.png": (flipped(PNG, len(PNG) // 2), "cannot be decoded"),
    "truncated.gif": (encoded(noise(40, 30), "GIF")[:1500], "cannot be decoded"),
    "truncated.webp": (encoded(noise(40, 30), "WEBP")[:-100], "cannot be decoded"),
    "truncated.tif": (encoded(noise(40, 30), "TIFF")[:-100], "cannot be decoded"),
    "truncated.bmp": (encoded(noise(40, 30), "BMP")[:-100], "cannot be decoded"),
    "empty.jpg": (b"", "is not an image (readable are JPEG, PNG"),
    "text.jpg": (b"no image", "is not an image (readable are JPEG, PNG"),
    "page.pdf": (b"%PDF-1.4", "is not an image (readable are JPEG, PNG"),
    "values.tif": (encoded(Image.new("F", (4, 4)), "TIFF"), "holds values of 32 bits (mode F)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_before_any_work(tree: Path, name: str) -> None:
    content, fault = BROKEN[name]
    path = tree / "train" / "dog" / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(tree)
    assert str(caught.value).startswith(f"{path} {fault}")
    assert str(caught.value).endswith(". --skip-broken leaves broken files out")


def huge(_: Path) -> bytes:
    """A PNG of 50000 x 50000 pixels: a few kilobytes that would need 2.5 GB."""
    small = encoded(Image.new("L", (1, 1)))
    header = b"IHDR" + (50_000).to_bytes(4, "big") * 2 + small[24:29]
    import zlib

    return small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]


def test_an_image_that_would_fill_the_memory_is_broken(tree: Path) -> None:
    (tree / "train" / "dog" / "bomb.png").write_bytes(huge(tree))
    with pytest.raises(
        DataError, match=r"bomb\.png cannot be decoded \(Image size \(2500000000 pixels\) exceeds"
    ):
        load(tree)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "kind", "fault"),
    [
        (a_pipe, DataError, "is not a file"),
        (a_link_to("nowhere"), DataError, "does not exist (a broken link, or removed meanwhile)"),
        (a_link_to("odd"), StorageError, "cannot be read: Too many levels of symbolic links"),
        (a_link_to(".."), DataError, "is a link to a folder that it lies in, "),
        (a_link_to("/dev/null"), DataError, "is not a file"),
    ],
)
def test_what_is_not_a_file_is_named(
    tree: Path, make: Callable[[Path], None], kind: type[CondenseError], fault: str
) -> None:
    make(tree / "train" / "dog" / "odd")
    with pytest.raises(kind) as caught:
        load(tree)
    assert str(caught.value).startswith(f"{tree}/train/dog/odd {fault}")
    without = load(tree, skip_broken=True)
    assert len(without.train) == 6
    assert without.notes[0].startswith("1 of ")
    assert f"broken and left out: train/dog/odd {fault}" in without.notes[0]


def test_a_file_that_may_not_be_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open

    def forbidding(path: Path, **more: Any) -> Any:
        if path.name == "1.png" and path.parent.name == "dog":
            raise PermissionError(13, "Permission denied")
        return opened(path, **more)

    monkeypatch.setattr(Image, "open", forbidding)
    with pytest.raises(StorageError, match=r"dog/1\.png cannot be read: Permission denied\. --skip-broken"):
        load(tree)
    assert len(load(tree, skip_broken=True).train) == 5
    monkeypatch.setattr(Image, "open", opened)
    # The index does not remember broken files, so that a permission that was given is noticed.
    assert len(load(tree).train) == 6


def test_the_first_broken_file_is_named_and_the_others_are_listed(tree: Path) -> None:
    for name in ("train/cat/7.png", "train/dog/8.jpg", "val/dog/9.png"):
        (tree / name).write_bytes(JPEG[:300])
    with pytest.raises(DataError) as caught:
        load(tree)
    text = str(caught.value)
    assert text.startswith(f"{tree}/train/cat/7.png cannot be decoded (")
    assert (
        "): replace or remove it. 2 of 11 files are broken as well: train/dog/8.jpg cannot be decoded ("
        in text
    )
    assert text.index("train/dog/8.jpg") < text.index("; val/dog/9.png cannot be decoded (")


def test_at_most_twenty_are_listed(tree: Path) -> None:
    for index in range(30):
        (tree / "train" / "dog" / f"broken-{index:02}").touch()
    [note] = load(tree, skip_broken=True).notes
    assert note.startswith("30 of 38 files are broken and left out: train/dog/broken-00 is not an image (")
    assert "broken-19" in note
    assert "broken-20" not in note
    assert note.endswith("; and 10 more")


@pytest.mark.parametrize("unsplit", [False, True])
def test_without_broken_files_a_tree_is_as_if_they_had_never_been(tree: Path, unsplit: bool) -> None:
    root = tree / "train" if unsplit else tree
    plain = load(root)
    for name in BROKEN:
        (tree / "train" / "cat" / name).write_bytes(BROKEN[name][0])
        (tree / "train" / "dog" / f"0{name}").write_bytes(BROKEN[name][0])
    (tree / "train" / "cat" / "loop").symlink_to("..")
    found = load(root, skip_broken=True)
    assert (found.classes, found.size, found.mean, found.std) == (
        plain.classes,
        plain.size,
        plain.mean,
        plain.std,
    )
    for one, other in ((plain.train, found.train), (plain.test, found.test)):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(
            one.images.read(torch.arange(len(one))), other.images.read(torch.arange(len(other)))
        )
    assert found.notes[0].startswith(f"{2 * len(BROKEN) + 1} of ")
    assert found.notes[1:] == plain.notes


def test_nothing_is_said_where_nothing_is_broken(tree: Path) -> None:
    assert load(tree, skip_broken=True).notes == load(tree).notes == ()


def test_a_class_without_a_whole_file(tree: Path) -> None:
    for path in (tree / "train" / "dog").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"class 'dog' of dataset .* has no training images"):
        load(tree, skip_broken=True)
    with pytest.raises(DataError, match=r"class 'dog' in .*/train has no image that can be read"):
        load(tree / "train", skip_broken=True)


def test_names_in_any_script_and_of_any_bytes(tree: Path) -> None:
    names = ["猫.jpg", "חתול.jpg", "قطة.jpg", "кот.jpg", "🐈.jpg", "a b'\".jpg", "two\nlines.jpg"]
    for name in names:
        (tree / "train" / "cat" / name).write_bytes(JPEG)
    (tree / "train" / "cat" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(JPEG)
    assert load(tree).class_counts() == [11, 3]
    (tree / "train" / "cat" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    (tree / "train" / "cat" / "two\nlines.jpg").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"/train/cat/caf\\xe9\.jpg is not an image .* train/cat/two\\nlines\.jpg is"
    ):
        load(tree)


def test_class_names_in_any_script_but_not_of_any_bytes(tree: Path) -> None:
    (tree / "train" / "dog").rename(tree / "train" / "собака")
    (tree / "val" / "dog").rename(tree / "val" / "собака")
    assert load(tree).classes == ("cat", "собака")
    (tree / "train" / os.fsdecode(b"h\xf6nd")).mkdir()
    with pytest.raises(DataError, match=r"the class folder .*/train/h\\xf6nd is not UTF-8.*: rename it"):
        load(tree)


def test_images_that_are_whole_in_unusual_ways(tree: Path) -> None:
    """CMYK, 16 bit, palettes, transparency, animation, EXIF, one pixel, a line of pixels: nothing to complain of."""
    folder = tree / "train" / "dog"
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = noise(20, 16).quantize(16)
    for name, content in {
        "cmyk.jpg": encoded(noise(20, 16).convert("CMYK"), "JPEG"),
        "sixteen.png": encoded(Image.fromarray(np.full((16, 20), 40_000, np.uint16))),
        "palette.png": encoded(palette, transparency=3),
        "animation.gif": encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(90)]),
        "turned.jpg": encoded(noise(20, 16), "JPEG", exif=turned),
        "pixel.png": encoded(noise(1, 1)),
        "line.png": encoded(noise(3000, 1)),
        "progressive.jpg": encoded(noise(20, 16), "JPEG", progressive=True),
        "trailing.jpg": encoded(noise(20, 16), "JPEG") + b"what a camera appends",
    }.items():
        (folder / name).write_bytes(content)
    dataset = load(tree)
    assert dataset.class_counts() == [3, 12]
    assert dataset.train.images.shape == (3, 16, 16)  # the largest of the shorter sides


def test_files_are_decoded_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def looking(path: Path) -> Any:
        seen.append(f"{path.parent.name}/{path.name}")
        return examine(path)

    monkeypatch.setattr(module, "examine", looking)
    first = Told()
    load(tree, first)
    assert len(seen) == first.done == 8
    assert first.lines == ["index: 8 files", ""]
    again = Told()
    load(tree, again)
    assert len(seen) == 8
    assert again.lines == []
    (tree / "train" / "dog" / "3.png").write_bytes(PNG)
    (tree / "train" / "cat" / "1.png").write_bytes(PNG)
    (tree / "train" / "cat" / "2.png").unlink()
    (tree / "val" / "dog" / "broken.png").touch()
    for _ in range(2):
        load(tree, told := Told(), skip_broken=True)
    assert sorted(seen[8:]) == ["cat/1.png", "dog/3.png", "dog/broken.png", "dog/broken.png"]
    assert told.lines == ["index: 1 files", "1 of 1 file cannot be decoded"]


def test_what_was_decoded_before_an_interruption_is_kept(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(Told):
        def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
            super().advance(count, values)
            if self.done == 6:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "_OF_THREADS", 3)
    with pytest.raises(KeyboardInterrupt):
        load(tree, Interrupting())
    load(tree, told := Told())
    assert told.lines == ["index: 2 files", ""]


def test_an_index_that_cannot_be_kept_is_said(tree: Path, own_cache: Path) -> None:
    own_cache.rmdir()
    own_cache.write_text("a file in its place")
    [note] = load(tree).notes
    assert note.startswith(
        "the index of files is not kept, so that the next run decodes them again: cannot write"
    )


def test_processes_find_what_threads_find(
    tree: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTHWHILE", 1)
    monkeypatch.setattr(module, "PIECE", 3)
    for name, (content, _) in BROKEN.items():
        (tree / "train" / "dog" / name).write_bytes(content)
    found = []
    for loaders in (0, 2):
        for file in (own_cache / "indexes").glob("*"):
            file.unlink()
        found.append(survey(read_tree(tree), request(tree, loaders=loaders), skip_broken=True))
    one, other = found
    assert (one.sides, one.grey, one.total) == (other.sides, other.grey, other.total)
    assert (one.total, one.grey, one.sides) == (8, 0, {(16, 20)})
    assert one.tree.notes == other.tree.notes
    assert list(one.tree.train.paths) == list(other.tree.train.paths)
