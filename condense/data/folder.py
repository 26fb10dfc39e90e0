"""Any tree of class folders as a dataset."""

from __future__ import annotations

from pathlib import Path

import torch

from condense.data.dataset import DatasetRequest, ImageSource, RealDataset, Split
from condense.data.headers import choose_channels, choose_sizes, enlargement_note
from condense.data.images import image_bytes, load_images
from condense.data.options import FolderOptions
from condense.data.survey import survey
from condense.data.tree import Listing, Tree, read_tree, split_tree
from condense.errors import DataError
from condense.rng import generator

_STATISTICS_IMAGES = 2000
# Division by a standard deviation below one grey level would blow up images that are all alike.
_LEAST_STD = 1 / 255


def load_folder(options: FolderOptions, request: DatasetRequest) -> RealDataset:
    """Return the images below PATH of `folder:PATH` as a dataset, in the layouts that `read_tree` reads."""
    if not request.argument:
        raise DataError("which folder? Give its path after a colon: folder:PATH")
    root = Path(request.argument).expanduser()
    found = survey(read_tree(root), request, skip_broken=options.skip_broken)
    tree = split_tree(found.tree, seed=request.seed, test_share=options.test_share)
    size, stored = choose_sizes(options.size, options.resize_share, found.sides, request.preprocessing)
    channels, notes = choose_channels(found.grey, found.total)
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
        notes=tree.notes + notes + enlargement_note(options.size, size, found.sides),
        held_out=tree.test.paths.relative() if tree.drawn else (),
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
