"""ImageNet-1K from the archives that torchvision unpacks, or from 1000 class folders.

Russakovsky et al.: "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015, arXiv 1409.0575. It is not
downloaded: its terms want an account.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
from pathlib import Path

import torch
from torchvision.datasets.imagenet import ARCHIVE_META, META_FILE, ImageNet

from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.folder import load_splits
from condense.data.headers import choose_sizes
from condense.data.options import ImageNetOptions
from condense.data.paths import Paths
from condense.data.published import IMAGENET_MEAN, IMAGENET_STD, published_dataset
from condense.data.survey import survey
from condense.data.tree import Listing, Tree, read_tree
from condense.errors import DataError

_FOLDERS = ("imagenet-1k", "imagenet")
_ARCHIVES = tuple(ARCHIVE_META[part][0] for part in ("devkit", "train", "val"))


def load_imagenet(options: ImageNetOptions, request: DatasetRequest) -> RealDataset:
    """Return ImageNet-1K from DATA_DIR/imagenet-1k, DATA_DIR/imagenet or DATA_DIR: images (n, 3, S, S).

    The folder has torchvision's layout (the archives, or what torchvision made of them: meta.bin, train/, val/), or
    class folders train/<WordNet id>/ and val/<WordNet id>/. The validation images are the test split. Classes are in
    the order of their WordNet ids. A class is called by its id and its first name: "n01440764 tench". S is the size
    that networks see, times 256/224 if that size is at least 128.

    Raises DataError if files are missing or damaged, or if the class folders are not the 1000 of ImageNet-1K.
    """
    places = [request.data_dir / name for name in _FOLDERS] + [request.data_dir]
    root = next((place for place in places if _is_root(place)), None)
    instead = (
        f"From https://image-net.org (an account is needed) put {', '.join(_ARCHIVES)} into {places[0]}, or class "
        f"folders of 1000 WordNet ids as {places[0]}/train/n01440764/*.JPEG and {places[0]}/val/n01440764/*.JPEG"
    )
    if root is None:
        raise DataError(f"ImageNet-1K is not in {request.data_dir}. {instead}")
    tree = _unpacked(root, instead) if _has_devkit(root) else read_tree(root)
    names = _names(tree, instead)
    tree = survey(tree, request, skip_broken=options.skip_broken).tree
    size, stored = choose_sizes(options.size, 0.0, (), request.preprocessing)
    return published_dataset(
        "imagenet-1k",
        request,
        title="ImageNet-1K",
        where=root,
        classes=names,
        splits=load_splits(tree, side=stored, channels=3, limit_gib=options.memory_limit_gib),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        size=size,
        notes=tree.notes,
    )


def _has_devkit(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (META_FILE, _ARCHIVES[0]))


def _is_root(folder: Path) -> bool:
    return _has_devkit(folder) or all((folder / split).is_dir() for split in ("train", "val"))


def _unpacked(root: Path, instead: str) -> Tree:
    """Return the files of both splits as torchvision lists them. It unpacks archives that are not yet unpacked."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            train, test = (ImageNet(str(root), split=split) for split in ("train", "val"))
    # torchvision checks archives and folders, torch reads meta.bin: an id that it lacks is a KeyError.
    except (RuntimeError, OSError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        text = " ".join(str(error).split())
        fault = f"{root / META_FILE} does not have the id {text}" if isinstance(error, KeyError) else text
        raise DataError(
            f"torchvision cannot read ImageNet in {root}: {fault}. Remove {META_FILE} if it is damaged. {instead}"
        ) from error
    if train.wnids != test.wnids:
        lacking = sorted(set(train.wnids) ^ set(test.wnids))
        raise DataError(
            f"{len(lacking)} class folders are only in one of {root}/train and {root}/val: {lacking[0]}. {instead}"
        )
    return Tree(root, tuple(train.wnids), _listing(root, train), _listing(root, test))


def _listing(root: Path, dataset: ImageNet) -> Listing:
    names = (os.fsencode(os.path.relpath(path, root)) for path, _ in dataset.samples)
    return Listing(Paths.of(root, names), torch.tensor(dataset.targets, dtype=torch.int64))


def _names(tree: Tree, instead: str) -> list[str]:
    """Return the name of each class. Raises DataError unless the classes are those of ImageNet-1K.

    A part of them would not do: a pretrained teacher has 1000 outputs in this order.
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    wnids = info.label_names()
    if list(tree.classes) != wnids:
        wrong = sorted(set(wnids) ^ set(tree.classes))
        raise DataError(
            f"{tree.root} has {len(tree.classes)} class folders, which are not the 1000 of ImageNet-1K: {wrong[0]} is "
            f"{'missing' if wrong[0] in wnids else 'not one of them'}. {instead}; "
            f"--dataset folder:{tree.root} takes other classes"
        )
    return [f"{wnid} {info.label_name_to_description(wnid).split(',')[0]}" for wnid in wnids]
