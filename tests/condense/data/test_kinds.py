"""The kind of images in a folder: chosen, or found from the sizes and colours that the files name."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from condense.data.headers import choose_channels, choose_sizes, read_header
from condense.data.kinds import kind_of_folder
from condense.data.options import FolderOptions


def kind(root: Path, **options: Any) -> str:
    return kind_of_folder(FolderOptions(**options), str(root))


def write(path: Path, size: tuple[int, int] = (28, 28), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)
    return path


def tree(root: Path, size: tuple[int, int] = (28, 28), mode: str = "L") -> Path:
    """Two classes of two images, in a training and a test split."""
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for index in range(2):
                write(root / split / name / f"{index}.png", size, mode)
    return root


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [
        ((28, 28), "L", "small-grey"),
        ((28, 28), "1", "small-grey"),
        ((28, 28), "LA", "small-grey"),
        ((28, 28), "I;16", "small-grey"),
        ((28, 28), "RGB", "small-colour"),
        ((28, 28), "RGBA", "small-colour"),
        ((127, 300), "L", "small-grey"),
        ((127, 127), "RGB", "small-colour"),
        ((128, 128), "RGB", "photographs"),
        ((128, 128), "L", "photographs"),
        ((500, 375), "RGB", "photographs"),
    ],
)
def test_small_images_of_one_size_are_told_by_their_colour(
    size: tuple[int, int], mode: str, expected: str, tmp_path: Path
) -> None:
    assert kind(tree(tmp_path, size, mode)) == expected


def test_a_palette_of_colours_is_colour(tmp_path: Path) -> None:
    image = Image.new("P", (28, 28))
    image.putpalette([0, 0, 0, 200, 10, 10])
    tree(tmp_path)
    image.save(tmp_path / "train" / "cat" / "9.png")
    assert kind(tmp_path) == "small-colour"


def test_one_image_in_colour_makes_small_images_colour(tmp_path: Path) -> None:
    write(tree(tmp_path) / "train" / "dog" / "9.png", mode="RGB")
    assert kind(tmp_path) == "small-colour"


def test_small_images_of_several_sizes_are_small_until_one_has_the_side_of_a_photograph(
    tmp_path: Path,
) -> None:
    """They are loaded at the side of the largest; with a photograph among them all are loaded at 224 pixels."""
    write(tree(tmp_path) / "train" / "dog" / "9.png", (30, 30))
    assert kind(tmp_path) == "small-grey"
    write(tmp_path / "train" / "dog" / "8.png", (128, 140))
    assert kind(tmp_path) == "photographs"


def test_one_photograph_behind_many_small_images_of_several_sizes_decides(tmp_path: Path) -> None:
    """It is not among the images that are looked at first, and all are loaded at 224 pixels because of it."""
    root = tree(tmp_path)
    for number in range(70):
        write(root / "train" / "dog" / f"{number:03d}.png", (28 + number % 2, 28))
        write(root / "train" / "dog" / f"{number:03d}x.png", (30, 30))
    assert kind(tmp_path) == "small-grey"
    write(root / "train" / "dog" / "zzz.png", (140, 128))
    assert kind(tmp_path) == "photographs"
    assert kind(tmp_path, size=30) == "small-grey"


def test_a_size_that_is_chosen_decides(tmp_path: Path) -> None:
    large, small = tree(tmp_path / "large", (500, 375), "RGB"), tree(tmp_path / "small")
    assert kind(large, size=64) == "small-colour"
    assert kind(large, size=127) == "small-colour"
    assert kind(large, size=128) == "photographs"
    assert kind(small, size=127) == "small-grey"
    assert kind(small, size=128) == "photographs"
    write(small / "train" / "dog" / "9.png", (30, 30))
    assert kind(small, size=28) == "small-grey"


@pytest.mark.parametrize("chosen", ["small-grey", "small-colour", "photographs"])
def test_a_kind_that_is_chosen_is_not_looked_for(chosen: str) -> None:
    assert kind(Path("there is no such folder"), like=chosen) == chosen


def test_a_tree_without_splits_is_looked_at_as_well(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / name / "deeper" / "1.png")
    assert kind(tmp_path) == "small-grey"


def test_test_images_do_not_count(tmp_path: Path) -> None:
    write(tree(tmp_path) / "val" / "dog" / "9.png", (500, 500), "RGB")
    assert kind(tmp_path) == "small-grey"


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tree(tmp_path / "digits")
    assert kind(Path("~/digits")) == "small-grey"


def test_what_cannot_be_loaded_counts_as_photographs(tmp_path: Path) -> None:
    """Loading it says what is wrong; a dry run does not fail for it."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text" / "cat").mkdir(parents=True)
    (tmp_path / "text" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "file.png").write_bytes(b"")
    for root in (tmp_path / "empty", tmp_path / "text", tmp_path / "file.png", tmp_path / "nowhere"):
        assert kind(root) == "photographs"


def test_hidden_files_and_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    write(tree(tmp_path) / "train" / "cat" / ".9.png", (500, 500), "RGB")
    write(tmp_path / "train" / ".cache" / "9.png", (500, 500), "RGB")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    assert kind(tmp_path) == "small-grey"


def test_a_hidden_folder_in_a_class_folder_is_passed_over(tmp_path: Path) -> None:
    write(tree(tmp_path) / "train" / "cat" / ".thumbnails" / "9.png", (500, 500), "RGB")
    assert kind(tmp_path) == "small-grey"


def test_every_class_is_looked_at(tmp_path: Path) -> None:
    """Also behind classes with more images than are looked at in all."""
    for index in range(100):
        write(tmp_path / "train" / "a" / f"{index:03}.png", (2, 2))
    write(tmp_path / "train" / "b" / "1.png", (2, 2), "RGB")
    assert kind(tmp_path) == "small-colour"


def damaged(root: Path) -> Path:
    """A PNG file whose header is of a length that PNG does not have, with a checksum that is right."""
    chunk = b"IHDR" + struct.pack(">I", 28)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (root / "train" / "cat" / "9.png").write_bytes(content)
    return root


def test_a_damaged_image_is_passed_over(tmp_path: Path) -> None:
    assert kind(damaged(tree(tmp_path))) == "small-grey"


def as_loaded(root: Path, **options: Any) -> str:
    """The kind of the images as they are loaded: the side that networks see, and the channels."""
    headers = [read_header(path) for path in root.rglob("*") if path.is_file()]
    size, _ = choose_sizes(FolderOptions(**options).size, 0.0, {header.sides for header in headers})
    if size >= 128:
        return "photographs"
    grey = sum(header.grey for header in headers)
    return "small-grey" if choose_channels(grey, len(headers))[0] == 1 else "small-colour"


@pytest.mark.parametrize(
    ("sizes", "mode"),
    [
        ([(28, 28)], "L"),
        ([(28, 28)], "P"),
        ([(28, 28)], "RGB"),
        ([(40, 28), (28, 40)], "L"),
        ([(28, 40), (28, 28)], "L"),
        ([(28, 28), (27, 27)], "RGB"),
        ([(300, 128)], "RGB"),
    ],
)
def test_the_kind_is_that_of_the_images_as_they_are_loaded(
    sizes: list[tuple[int, int]], mode: str, tmp_path: Path
) -> None:
    for index, size in enumerate(sizes):
        write(tmp_path / "train" / "cat" / f"{index}.png", size, mode)
        write(tmp_path / "train" / "dog" / f"{index}.png", size, mode)
    assert kind(tmp_path) == as_loaded(tmp_path)


def test_finding_a_kind_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from condense.data.options import FolderOptions\n"
        "from condense.data.kinds import kind_of_folder\n"
        f"assert kind_of_folder(FolderOptions(), {str(tree(tmp_path))!r}) == 'small-grey'\n"
        "sys.exit('imported torch' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
