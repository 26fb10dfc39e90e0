"""Class folders as a dataset: sizes, channels, normalisation, memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset
from condense.data.folder import load_folder, statistics
from condense.data.headers import choose_sizes
from condense.data.images import FolderImages
from condense.data.options import FolderOptions
from condense.data.preprocessing import Preprocessing
from condense.errors import DataError


def write(path: Path, colour: int | tuple[int, int, int], size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path)


def load(root: Path, seed: int = 0, **settings: float) -> RealDataset:
    request = DatasetRequest(name=f"folder:{root}", argument=str(root), data_dir=Path("nowhere"), seed=seed)
    return load_folder(FolderOptions(**settings), request)  # type: ignore[arg-type]


def grey_tree(root: Path, first: int = 0, second: int = 255) -> None:
    for split in ("train", "val"):
        write(root / split / "cat" / "1.png", first)
        write(root / split / "dog" / "1.png", second)


def test_grey_tree_by_hand(tmp_path: Path) -> None:
    grey_tree(tmp_path)
    dataset = load(tmp_path)
    assert dataset.name == f"folder:{tmp_path}"
    assert dataset.classes == ("cat", "dog")
    assert dataset.notes == ()
    assert dataset.size == 10  # the shorter side, since all images have one size
    assert isinstance(dataset.train.images, MemoryImages)
    assert dataset.train.images.shape == (1, 10, 10)
    # Half of the pixels are 0, half are 1.
    assert dataset.mean == pytest.approx((0.5,))
    assert dataset.std == pytest.approx((0.5,))
    assert dataset.test.images.read(torch.tensor([1])).flatten().tolist() == [255] * 100


def test_grey_and_colour_mixed_become_rgb_and_are_mentioned_once(tmp_path: Path) -> None:
    grey_tree(tmp_path, 51, 51)
    write(tmp_path / "train" / "dog" / "2.png", (255, 0, 0))
    dataset = load(tmp_path)
    assert dataset.notes == ("4 of 5 images are grey: converted to RGB like the others",)
    assert dataset.train.images.shape == (3, 10, 10)
    # Three training images: two of 0.2 in all channels, one red.
    assert dataset.mean == pytest.approx((1.4 / 3, 0.4 / 3, 0.4 / 3))


def test_small_images_of_different_sizes_have_the_side_of_the_largest(tmp_path: Path) -> None:
    grey_tree(tmp_path)
    write(tmp_path / "train" / "dog" / "2.png", 9, size=(56, 40))
    dataset = load(tmp_path)
    assert dataset.size == 40 and dataset.train.images.shape == (1, 40, 40)
    assert dataset.notes == ()
    assert load(tmp_path, size=64).size == 64


def test_images_of_different_sizes_that_are_enlarged_are_mentioned(tmp_path: Path) -> None:
    grey_tree(tmp_path)
    write(tmp_path / "train" / "dog" / "2.png", 9, size=(150, 140))
    (note,) = load(tmp_path).notes
    # The shorter sides are 10 and 140; 224 / 140 = 1.6, and 1.6 squared is 2.56.
    assert "at most 140 pixels" in note and "enlarged to 224" in note
    assert "--set dataset.size=140 is 2.6 times less work" in note
    assert load(tmp_path, size=140).notes == load(tmp_path, size=224).notes == ()
    write(tmp_path / "train" / "dog" / "3.png", 9, size=(300, 260))
    (note,) = load(tmp_path).notes
    assert "10 to 260 pixels" in note and "the smaller ones are enlarged to 224" in note


def test_photographs_of_different_sizes_are_not_mentioned(tmp_path: Path) -> None:
    for number, size in enumerate([(130, 200), (300, 260)]):
        for split in ("train", "test"):
            for name in ("cat", "dog"):
                write(tmp_path / split / name / f"{number}.png", 9, size=size)
    dataset = load(tmp_path)
    assert dataset.size == 224 and dataset.notes == ()


def test_constant_images_have_a_usable_deviation(tmp_path: Path) -> None:
    grey_tree(tmp_path, 255, 255)
    dataset = load(tmp_path)
    assert dataset.mean == pytest.approx((1.0,))
    assert dataset.std == pytest.approx((1 / 255,))


def test_statistics_are_those_of_all_pixels() -> None:
    pixels = torch.randint(
        0, 256, (150, 3, 7, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    mean, std = statistics(MemoryImages(pixels))
    unit = pixels.double() / 255
    assert mean == pytest.approx(unit.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(unit.transpose(0, 1).flatten(1).std(1, correction=0).tolist())


def test_statistics_look_at_2000_images_at_most() -> None:
    class Counting(MemoryImages):
        def read(self, indices: torch.Tensor) -> torch.Tensor:
            asked.extend(indices.tolist())
            return super().read(indices)

    asked: list[int] = []
    images = Counting(torch.zeros(2500, 1, 1, 1, dtype=torch.uint8))
    statistics(images)
    first, asked = asked, []
    assert len(set(first)) == len(first) == 2000
    statistics(images)
    assert asked == first


@pytest.mark.parametrize(
    ("size", "share", "sides", "expected"),
    [
        (0, 0.0, [(64, 64)], (64, 64)),
        (0, 0.0, [(48, 64)], (48, 48)),
        (0, 0.0, [(256, 256)], (256, 256)),
        (0, 0.0, [(257, 257)], (224, 256)),
        (0, 0.0, [(64, 64), (48, 64)], (64, 64)),
        (0, 0.0, [(127, 127), (1, 3000)], (127, 127)),
        (0, 0.0, [(128, 128), (48, 64)], (224, 256)),
        (0, 1.5, [(64, 64)], (64, 96)),
        (64, 0.0, [(300, 400)], (64, 64)),
        (128, 0.0, [(300, 400)], (128, 146)),  # 128 * 256 / 224 = 146.3
        (224, 1.0, [(300, 400)], (224, 224)),
    ],
)
def test_sizes(size: int, share: float, sides: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    assert choose_sizes(size, share, sides) == expected


@pytest.mark.parametrize(
    ("size", "share", "sides", "expected"),
    [
        (0, 0.0, [(300, 400)], (300, 400)),
        (0, 1.0, [(300, 400)], (300, 300)),
        (0, 0.0, [(64, 64)], (64, 64)),
        (96, 0.0, [(300, 400)], (96, 96)),
        (150, 0.0, [(300, 400)], (150, 200)),
    ],
)
def test_pretrained_weights_choose_what_is_automatic(
    size: int, share: float, sides: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    wanted = Preprocessing(size=300, resize_share=4 / 3, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert choose_sizes(size, share, sides, wanted) == expected


def test_upright_and_flat_images_of_one_size_count_as_one_size(tmp_path: Path) -> None:
    grey_tree(tmp_path)
    write(tmp_path / "train" / "cat" / "upright.png", 0, (10, 12))
    assert load(tmp_path).size == 10


def test_images_over_the_limit_are_decoded_when_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for index in range(3):
                path = tmp_path / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save(path)
    within = load(tmp_path, size=16)
    without = load(tmp_path, size=16, memory_limit_gib=0.0)
    assert isinstance(within.train.images, MemoryImages)
    assert isinstance(without.train.images, FolderImages)
    assert isinstance(without.test.images, FolderImages)
    order = torch.tensor([5, 0, 0, 3])
    assert torch.equal(within.train.images.read(order), without.train.images.read(order))
    assert within.mean == without.mean
    one_split = 6 * 3 * 16 * 16 / 2**30
    partly = load(tmp_path, size=16, memory_limit_gib=one_split)
    assert isinstance(partly.train.images, MemoryImages)
    assert isinstance(partly.test.images, FolderImages)


def test_images_that_were_drawn_as_test_images_are_listed(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number in range(5):
            write(tmp_path / name / "more" / f"{number}.png", 10 * number)
    dataset = load(tmp_path)
    assert [name.split("/")[0] for name in dataset.held_out] == ["cat", "dog"]
    for name, pixels in zip(dataset.held_out, dataset.test.images.read(torch.arange(2)), strict=True):
        assert torch.equal(pixels.unique(), torch.tensor([10 * int(Path(name).stem)], dtype=torch.uint8))
    grey_tree(tmp_path / "split")
    assert load(tmp_path / "split").held_out == ()


def test_split_that_was_made_is_said(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for index in range(10):
            write(tmp_path / name / f"{index}.png", index)
    dataset = load(tmp_path, seed=3)
    assert dataset.class_counts() == [8, 8]
    assert len(dataset.test) == 4
    assert dataset.notes == (
        f"{tmp_path} has no test split (no val/ or test/): 20% of each class, drawn by seed 3, "
        "is held out (16 training, 4 test images)",
    )


def test_file_that_is_no_image(tmp_path: Path) -> None:
    grey_tree(tmp_path)
    (tmp_path / "train" / "cat" / ".DS_Store").write_bytes(b"hidden: passed over")
    assert len(load(tmp_path).train) == 2
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    with pytest.raises(
        DataError, match=r"notes\.txt is not an image \(readable are JPEG.*\): remove it from the class"
    ):
        load(tmp_path)


def test_no_path() -> None:
    request = DatasetRequest(name="folder", argument="", data_dir=Path("nowhere"), seed=0)
    with pytest.raises(DataError, match="Give its path after a colon: folder:PATH"):
        load_folder(FolderOptions(), request)


def test_path_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey_tree(tmp_path / "pets")
    monkeypatch.setenv("HOME", str(tmp_path))
    request = DatasetRequest(name="folder:~/pets", argument="~/pets", data_dir=Path("nowhere"), seed=0)
    assert load_folder(FolderOptions(), request).classes == ("cat", "dog")
