"""Any tree of class folders as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from condense.data.dataset import DatasetRequest, ImageSource, RealDataset, Split
from condense.data.headers import choose_channels, choose_sizes, read_headers
from condense.data.images import image_bytes, load_images
from condense.data.options import FolderOptions
from condense.errors import DataError, StorageError
from condense.rng import generator

_STATISTICS_IMAGES = 2000
# Division by a standard deviation below one grey level would blow up images that are all alike.
_LEAST_STD = 1 / 255


def load_folder(options: FolderOptions, request: DatasetRequest) -> RealDataset:
    """Return the images below PATH of `folder:PATH` as a dataset, in the layouts that `read_tree` reads."""
    if not request.argument:
        raise DataError("which folder? Give its path after a colon: folder:PATH")
    root = Path(request.argument).expanduser()
    tree = read_tree(root, seed=request.seed, test_share=options.test_share)
    headers = read_headers(tree.train.paths + tree.test.paths)
    size, stored = choose_sizes(options.size, options.resize_share, headers)
    channels, notes = choose_channels(headers)
    train, test = load_splits(tree, side=stored, channels=channels, limit_gib=options.memory_limit_gib)
    mean, std = statistics(train.images)
    return RealDataset(
        name=request.name,
        classes=tree.classes,
        train=train,
        test=test,
        size=size,
        mean=mean,
        std=std,
        notes=tree.notes + notes,
    )


def load_splits(tree: Tree, *, side: int, channels: int, limit_gib: float) -> tuple[Split, Split]:
    """Return the training and the test split.

    A split is kept in memory if it fits into what remains of `limit_gib`; the training split comes first.

    side: the side length of stored images in pixels.
    channels: 1 or 3.
    limit_gib: the memory limit in GiB.
    """
    limit = int(limit_gib * 2**30)

    def load(listing: Listing, room: int) -> Split:
        images = load_images(listing.paths, side=side, channels=channels, limit_bytes=room)
        return Split(images, listing.labels)

    needed = image_bytes(len(tree.train.paths), side, channels)
    return load(tree.train, limit), load(tree.test, limit - needed if needed <= limit else limit)


def statistics(images: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, of pixels in [0, 1].

    They are computed from at most 2000 images, the same ones in every run. The standard deviation is at least
    1/255.
    """
    order = torch.randperm(len(images), generator=generator(0, "normalisation"))
    chosen = order[:_STATISTICS_IMAGES].sort().values
    total = torch.zeros(images.shape[0], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for start in range(0, len(chosen), 64):
        pixels = images.read(chosen[start : start + 64]).float()
        total += pixels.sum((0, 2, 3), dtype=torch.float64)
        squares += pixels.square().sum((0, 2, 3), dtype=torch.float64)
    count = len(chosen) * images.shape[1] * images.shape[2]
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    return tuple((mean / 255).tolist()), tuple((std / 255).clamp(min=_LEAST_STD).tolist())


TEST_NAMES = ("val", "test")


@dataclass(frozen=True)
class Listing:
    """Image files and their labels (n,) int64."""

    paths: tuple[Path, ...]
    labels: Tensor


@dataclass(frozen=True)
class Tree:
    """Two splits over the same classes.

    root: the folder that was read.
    classes: the names of the class folders, in label order.
    train, test: the images of each split.
    notes: messages to show to the user.
    """

    root: Path
    classes: tuple[str, ...]
    train: Listing
    test: Listing
    notes: tuple[str, ...] = ()


def read_tree(root: Path, *, seed: int, test_share: float) -> Tree:
    """Return the images below `root`, in train/CLASS/ and val/CLASS/ or test/CLASS/, or in CLASS/.

    If there is no test split, the fraction `test_share` of each class is drawn for it: at least one image,
    and not all of them. The draw for a class depends only on the seed, the class name and the number of its
    images.

    Raises DataError if the tree is not usable, and StorageError if a folder may not be read.
    """
    if not root.exists():
        raise DataError(f"{root} does not exist{_layout(root)}")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder{_layout(root)}")
    tests = [name for name in TEST_NAMES if (root / name).is_dir()]
    if not (root / "train").is_dir():
        if tests:
            raise DataError(f"{root} has {tests[0]}/ but no train/{_layout(root)}")
        return _split(root, _read_classes(root, root), seed, test_share)
    train = _read_classes(root / "train", root)
    if not tests:
        return _split(root, train, seed, test_share)
    test = _read_classes(root / tests[0], root)
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        raise DataError(
            f"{_names(unknown)} in {root / tests[0]} but not in {root / 'train'}: "
            "what is tested must be in the training split as well"
        )
    notes = [f"{name}/ is not used: {tests[0]}/ is the test split" for name in tests[1:]]
    untested = sorted(train.keys() - test.keys())
    if untested:
        notes.append(f"{_names(untested)} in train/ but not in {tests[0]}/: never tested")
    return Tree(root, tuple(train), _listing(train, train), _listing(train, test), tuple(notes))


def _layout(root: Path) -> str:
    return (
        f"; expected {root}/train/CLASS/*.jpg and {root}/val/CLASS/*.jpg, or {root}/CLASS/*.jpg to be split"
    )


def _names(classes: Sequence[str]) -> str:
    listed = ", ".join(repr(name) for name in classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"class {listed} is" if len(classes) == 1 else f"{len(classes)} classes ({listed}) are"


def _read_classes(folder: Path, root: Path) -> dict[str, list[Path]]:
    """Return the image files of each class folder in `folder`; classes and files are sorted by name."""
    folders = [entry for entry in _entries(folder) if entry.is_dir()]
    if not folders:
        raise DataError(f"{folder} has no class folders{_layout(root)}")
    if len(folders) == 1:
        raise DataError(
            f"{folder} has one class folder, {folders[0].name!r}; condensing needs at least two "
            "(is the path that was given one level too high?)"
        )
    classes = {entry.name: _files(entry) for entry in folders}
    for name, paths in classes.items():
        if not paths:
            raise DataError(f"the class folder {folder / name} is empty: add images or remove it")
    return classes


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for entry in _entries(folder):
        found.extend(_files(entry) if entry.is_dir() else [entry])
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}") from error


def _split(root: Path, classes: dict[str, list[Path]], seed: int, test_share: float) -> Tree:
    train: dict[str, list[Path]] = {}
    test: dict[str, list[Path]] = {}
    for name, paths in classes.items():
        if len(paths) < 2:
            raise DataError(
                f"class {name!r} in {root} has one image; a split into training and test needs at least two"
            )
        count = min(max(round(test_share * len(paths)), 1), len(paths) - 1)
        chosen = set(torch.randperm(len(paths), generator=generator(seed, "split", name))[:count].tolist())
        train[name] = [path for index, path in enumerate(paths) if index not in chosen]
        test[name] = [path for index, path in enumerate(paths) if index in chosen]
    result = Tree(root, tuple(classes), _listing(classes, train), _listing(classes, test))
    note = (
        f"{root} has no test split (no val/ or test/): {test_share:.0%} of each class, drawn by seed {seed}, "
        f"is held out ({len(result.train.paths)} training, {len(result.test.paths)} test images)"
    )
    return Tree(root, result.classes, result.train, result.test, (note,))


def _listing(order: dict[str, list[Path]], classes: dict[str, list[Path]]) -> Listing:
    """Return the images of `classes`. The label of an image is the position of its class in `order`."""
    pairs = [(path, label) for label, name in enumerate(order) for path in classes.get(name, [])]
    return Listing(
        tuple(path for path, _ in pairs),
        torch.tensor([label for _, label in pairs], dtype=torch.int64),
    )
