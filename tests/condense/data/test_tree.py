"""Class folders on disk: splits, labels and what is refused."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.data.paths import Paths
from condense.data.tree import Listing, Tree, read_tree, split_tree
from condense.errors import DataError, StorageError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def read(root: Path, seed: int = 0, test_share: float = 0.2) -> Tree:
    return split_tree(read_tree(root), seed=seed, test_share=test_share)


def names(tree: Tree) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    train, test = (
        [
            (str(p.relative_to(tree.root)), label)
            for p, label in zip(part.paths, part.labels.tolist(), strict=True)
        ]
        for part in (tree.train, tree.test)
    )
    return train, test


@pytest.mark.parametrize("test_name", ["val", "test"])
def test_train_and_test_folders(tmp_path: Path, test_name: str) -> None:
    touch(tmp_path, "train/b/2.png", "train/b/1.png", "train/a/deep/3.png", f"{test_name}/a/1.png")
    touch(
        tmp_path,
        f"{test_name}/b/1.png",
        "train/README",
        "train/.cache/x",
        "train/a/.DS_Store",
        "train/a/.x/y",
    )
    tree = read(tmp_path)
    assert tree.classes == ("a", "b")
    assert names(tree) == (
        [("train/a/deep/3.png", 0), ("train/b/1.png", 1), ("train/b/2.png", 1)],
        [(f"{test_name}/a/1.png", 0), (f"{test_name}/b/1.png", 1)],
    )
    assert tree.notes == ()


def test_val_goes_before_test(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/{name}/1.png" for split in ("train", "val", "test") for name in "ab"))
    tree = read(tmp_path)
    assert names(tree)[1] == [("val/a/1.png", 0), ("val/b/1.png", 1)]
    assert tree.notes == ("test/ is not used: val/ is the test split",)


@pytest.mark.parametrize("below", ["", "train/"])
def test_split_takes_the_share_of_each_class(tmp_path: Path, below: str) -> None:
    touch(tmp_path, *(f"{below}big/{index}.png" for index in range(20)))
    touch(tmp_path, *(f"{below}small/{index}.png" for index in range(2)))
    tree = read(tmp_path, test_share=0.25)
    assert Counter(tree.train.labels.tolist()) == {0: 15, 1: 1}
    assert Counter(tree.test.labels.tolist()) == {0: 5, 1: 1}  # at least one
    assert not set(tree.train.paths) & set(tree.test.paths)
    assert len(tree.notes) == 1
    assert "25% of each class, drawn by seed 0, is held out (16 training, 6 test images)" in tree.notes[0]


@given(counts=st.lists(st.integers(2, 40), min_size=2, max_size=4), share=st.floats(0.01, 0.99))
def test_every_class_is_in_both_parts(counts: list[int], share: float) -> None:
    names = [(f"c{i}/{j}".encode(), i) for i, count in enumerate(counts) for j in range(count)]
    root, labels = Path("root"), torch.tensor([label for _, label in names])
    listing = Listing(Paths.of(root, [name for name, _ in names]), labels)
    classes = tuple(f"c{i}" for i in range(len(counts)))
    tree = split_tree(
        Tree(root, classes, listing, Listing(Paths.of(root, []), labels[:0])), seed=0, test_share=share
    )
    for label, count in enumerate(counts):
        test = tree.test.labels.tolist().count(label)
        assert 1 <= test <= count - 1
        assert abs(test - share * count) <= 1
        assert tree.train.labels.tolist().count(label) == count - test


def test_split_depends_on_the_seed_and_on_nothing_else(tmp_path: Path) -> None:
    for root in ("here", "there"):
        touch(tmp_path / root, *(f"{name}/{index}.png" for name in "ab" for index in range(30)))
    touch(tmp_path / "there", *(f"c/{index}.png" for index in range(5)))
    here, there = names(read(tmp_path / "here", seed=1)), names(read(tmp_path / "there", seed=1))
    assert here[1] == [pair for pair in there[1] if pair[1] < 2]  # another class changes nothing for a and b
    assert here != names(read(tmp_path / "here", seed=2))
    drawn = [{path[2:] for path, label in here[1] if label == wanted} for wanted in (0, 1)]
    assert drawn[0] != drawn[1]  # each class has a draw of its own


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (["x.png", "y.png"], "has no class folders; expected .*/train/CLASS/.* or .*/CLASS/"),
        (["train/x.png", "val/y.png"], "train has no class folders"),
        (["val/a/1.png", "val/b/1.png"], "has val/ but no train/; expected"),
        (["only/1.png"], "has one class folder, 'only'; condensing needs at least two .*one level too high"),
        (["a/1.png", "a/2.png", "b/.DS_Store"], "the class folder .*/b is empty: add images or remove it"),
        (["train/a/1", "train/b/1", "val/a/1", "val/b/.x"], "the class folder .*/val/b is empty"),
        (
            ["train/a/1", "train/b/1", "val/a/1", "val/c/1"],
            "class 'c' is in .*/val but not in .*/train: what is tested must be in the training split",
        ),
        (
            ["train/a/1", "train/b/1", "test/c/1", "test/d/1"],
            r"2 classes \('c', 'd'\) are in .*/test but not in",
        ),
        (["a/1.png", "a/2.png", "b/1.png"], "class 'b' in .* has one image; a split .* needs at least two"),
    ],
)
def test_what_is_refused(tmp_path: Path, files: list[str], text: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=text):
        read(tmp_path)


def test_class_without_test_images_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1", "train/b/1", "train/c/1", "val/a/1", "val/c/1")
    tree = read(tmp_path)
    assert tree.test.labels.tolist() == [0, 2]
    assert tree.notes == ("class 'b' is in train/ but not in val/: never tested",)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing does not exist; expected .*nothing/train/CLASS"):
        read(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file, not a folder; expected"):
        read(tmp_path / "file")


def test_forbidden_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")

    def forbidden(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(StorageError, match=r"cannot be read: Permission denied"):
        read(tmp_path)
