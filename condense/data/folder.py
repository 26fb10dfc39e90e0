"""Any tree of class folders as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from condense.data.dataset import DatasetRequest, ImageSource, RealDataset, Split
from condense.data.images import Header, image_bytes, load_images, read_headers
from condense.data.options import FolderOptions
from condense.data.tree import Listing, Tree, read_tree
from condense.errors import DataError
from condense.rng import generator

_DEFAULT_SIZE = 224
_DEFAULT_SHARE = 256 / 224
_LARGEST_AUTOMATIC = 256
_SMALLEST_CROPPED = 128
_STATISTICS_IMAGES = 2000
# A standard deviation below one grey level would blow up images that are all alike.
_LEAST_STD = 1 / 255


def load_folder(options: FolderOptions, request: DatasetRequest) -> RealDataset:
    """The images below PATH of `folder:PATH`, in the layouts that `condense.data.tree` reads."""
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


def choose_sizes(size: int, resize_share: float, headers: Sequence[Header]) -> tuple[int, int]:
    """The side in pixels that networks see, and the side at which images are stored.

    `size` and `resize_share` as in FolderOptions, 0 for automatic.
    """
    sides = {header.sides for header in headers}
    if size == 0 and len(sides) == 1 and min(sides)[0] <= _LARGEST_AUTOMATIC:
        size = min(sides)[0]
        resize_share = resize_share or 1.0
    size = size or _DEFAULT_SIZE
    if resize_share == 0:
        resize_share = _DEFAULT_SHARE if size >= _SMALLEST_CROPPED else 1.0
    return size, round(size * resize_share)


def choose_channels(headers: Sequence[Header]) -> tuple[int, tuple[str, ...]]:
    """1 where every image is grey, else 3; and a note where grey and colour are mixed."""
    grey = sum(header.grey for header in headers)
    if grey == len(headers):
        return 1, ()
    return 3, (f"{grey} of {len(headers)} images are grey: converted to RGB like the others",) if grey else ()


def load_splits(tree: Tree, *, side: int, channels: int, limit_gib: float) -> tuple[Split, Split]:
    """Training and test split; in memory as far as the limit reaches, the training split first."""
    limit = int(limit_gib * 2**30)

    def load(listing: Listing, room: int) -> Split:
        images = load_images(listing.paths, side=side, channels=channels, limit_bytes=room)
        return Split(images, listing.labels)

    needed = image_bytes(len(tree.train.paths), side, channels)
    return load(tree.train, limit), load(tree.test, limit - needed if needed <= limit else limit)


def statistics(images: ImageSource) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of pixels in [0, 1], the latter at least 1/255.

    Of at most 2000 images, which are the same ones in every run.
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
