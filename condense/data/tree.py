"""Class folders on disk: which images there are, of which class, in which split."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condense.data.paths import Paths
from condense.data.walk import check_root, class_folders, files_below
from condense.errors import CondenseError, DataError
from condense.rng import generator
from condense.text import shown_path


@dataclass(frozen=True)
class Listing:
    """Image files and their labels (n,) int64."""

    paths: Paths
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: np.ndarray) -> Listing:
        """Return the files at these positions (m,)."""
        return Listing(self.paths.take(chosen), self.labels[torch.from_numpy(chosen)])


@dataclass(frozen=True)
class Tree:
    """Two splits over the same classes.

    root: the folder that was read.
    classes: the names of the class folders, in label order.
    train, test: the images of each split. An empty test split has yet to be drawn.
    notes: messages to show to the user.
    broken: an error for each folder that cannot be read and each link that leads in circles; they are left out.
    drawn: whether the test split was drawn from the images of the folder.
    """

    root: Path
    classes: tuple[str, ...]
    train: Listing
    test: Listing
    notes: tuple[str, ...] = ()
    broken: tuple[CondenseError, ...] = ()
    drawn: bool = False


def read_tree(root: Path) -> Tree:
    """Return the images below `root`, in train/CLASS/ and val/CLASS/ or test/CLASS/, or in CLASS/.

    If there is no test split, the test split of the tree is empty.

    Raises DataError if the tree is not usable, and StorageError if the folder or a whole class cannot be read.
    """
    tests = check_root(root)
    broken: list[CondenseError] = []
    train = _read_classes(root, "train" if (root / "train").is_dir() else "", broken)
    if not (root / "train").is_dir() or not tests:
        nothing = _listing(root, train, {})
        return Tree(root, tuple(train), _listing(root, train, train), nothing, (), tuple(broken))
    test = _read_classes(root, tests[0], broken)
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        raise DataError(
            f"{_names(unknown)} in {shown_path(root / tests[0])} but not in {shown_path(root / 'train')}: "
            "what is tested must be in the training split as well"
        )
    notes = [f"{name}/ is not used: {tests[0]}/ is the test split" for name in tests[1:]]
    untested = sorted(train.keys() - test.keys())
    if untested:
        notes.append(f"{_names(untested)} in train/ but not in {tests[0]}/: never tested")
    splits = (_listing(root, train, train), _listing(root, train, test))
    return Tree(root, tuple(train), *splits, tuple(notes), tuple(broken))


def _names(classes: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"class {listed} is" if len(classes) == 1 else f"{len(classes)} classes ({listed}) are"


def _read_classes(root: Path, split: str, broken: list[CondenseError]) -> dict[str, list[bytes]]:
    """Return the image files of each class folder in a split; classes and files are sorted by name.

    Adds what is left out to `broken`.
    """
    names = class_folders(root, split)
    return {name: _files(root, f"{split}/{name}" if split else name, broken) for name in names}


def _files(root: Path, below: str, broken: list[CondenseError]) -> list[bytes]:
    folder = shown_path(root / below)
    try:
        below.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"the name of the class folder {folder} is not UTF-8, so a class cannot have it: rename it"
        ) from error
    before = len(broken)
    found = [os.fsencode(file) for file in files_below(root, below, broken.append)]
    if not found and broken[before:]:
        raise broken[before]
    if not found:
        raise DataError(f"the class folder {folder} is empty: add images or remove it")
    return found


def split_tree(tree: Tree, *, seed: int, test_share: float) -> Tree:
    """Return the tree with a test split: its own, or the fraction `test_share` of each class, drawn by `seed`.

    At least one image of a class is drawn, and not all of them. The draw for a class depends only on the seed, the
    class name and the number of its images. Raises DataError if a class has fewer than two images.
    """
    if len(tree.test):
        return tree
    counts = torch.bincount(tree.train.labels, minlength=len(tree.classes)).tolist()
    held = torch.zeros(len(tree.train), dtype=torch.bool)
    start = 0
    for name, images in zip(tree.classes, counts, strict=True):
        if images < 2:
            some = "one image" if images else "no image that can be read"
            raise DataError(
                f"class {name!r} in {shown_path(tree.root)} has {some}; a split into training and test needs at least "
                "two"
            )
        count = min(max(round(test_share * images), 1), images - 1)
        chosen = torch.randperm(images, generator=generator(seed, "split", name))[:count]
        held[start + chosen] = True
        start += images
    train, test = (tree.train.take(torch.nonzero(part).flatten().numpy()) for part in (~held, held))
    note = (
        f"{shown_path(tree.root)} has no test split (no val/ or test/): {test_share:.0%} of each class, drawn by seed "
        f"{seed}, is held out ({len(train)} training, {len(test)} test images)"
    )
    return replace(tree, train=train, test=test, notes=(*tree.notes, note), drawn=True)


def _listing(root: Path, order: Iterable[str], classes: Mapping[str, list[bytes]]) -> Listing:
    """Return the images of `classes`. The label of an image is the position of its class in `order`."""
    groups = [classes.get(name, []) for name in order]
    labels = torch.arange(len(groups)).repeat_interleave(torch.tensor([len(group) for group in groups]))
    return Listing(Paths.of(root, (name for group in groups for name in group)), labels)
