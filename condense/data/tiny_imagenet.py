"""Tiny ImageNet: 200 classes of ImageNet at 64x64, or enlarged, in the layout of its archive, or by download.

Le, Yang: "Tiny ImageNet Visual Recognition Challenge", 2015. torchvision has no class for it.

    wnids.txt                   the 200 WordNet ids
    words.txt                   the names of all WordNet ids, a tab between both
    train/<id>/images/*.JPEG    500 of each class
    val/images/*.JPEG           10000, with their classes in val/val_annotations.txt

The images of test/ have no labels, so val/ is the test split. Classes are in the order of their WordNet ids, as in
published checkpoints, and not in the order of wnids.txt.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.download import fetch
from condense.data.folder import load_splits
from condense.data.headers import choose_sizes
from condense.data.options import TinyImageNetOptions
from condense.data.paths import Paths
from condense.data.published import published_dataset
from condense.data.survey import survey
from condense.data.tree import Listing, Tree
from condense.errors import DataError, StorageError

# Statistics of the 100000 training images, pixels in [0, 1].
MEAN, STD = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_NAME = "tiny-imagenet-200"


def load_tiny_imagenet(options: TinyImageNetOptions, request: DatasetRequest) -> RealDataset:
    """Return Tiny ImageNet from DATA_DIR/tiny-imagenet-200 or DATA_DIR itself.

    Stored images are (n, 3, 64, 64), or enlarged as `TinyImageNetOptions.size` says. A class is called by its WordNet
    id and its first name: "n01443537 goldfish". Grey images become RGB.

    Raises DataError if a file or a folder is missing or does not fit, or if the download fails.
    """
    data_dir = request.data_dir
    root = data_dir if (data_dir / "wnids.txt").is_file() else data_dir / _NAME
    instead = (
        f"Unpack {URL} so that {root / 'wnids.txt'} is there, "
        f"or point --data-dir to the folder that holds {_NAME}"
    )
    if not root.exists():
        fetch(
            data_dir,
            [_NAME],
            _download,
            title="Tiny ImageNet",
            address=URL,
            allowed=options.download,
            instead=instead,
        )
    tree = survey(_read(root, instead), request, skip_broken=options.skip_broken).tree
    size, stored = choose_sizes(options.size, 0.0, (), request.preprocessing)
    names = dict(line.split("\t", 1) for line in _lines(root / "words.txt", instead) if "\t" in line)
    return published_dataset(
        "tiny-imagenet",
        request,
        title="Tiny ImageNet",
        where=root,
        classes=[f"{wnid} {names.get(wnid, '').split(',')[0]}".strip() for wnid in tree.classes],
        splits=load_splits(tree, side=stored, channels=3, limit_gib=options.memory_limit_gib),
        mean=MEAN,
        std=STD,
        size=size,
        notes=tree.notes,
    )


def _download(folder: Path) -> None:
    from torchvision.datasets import utils

    utils.download_and_extract_archive(URL, str(folder), md5=_MD5)


def _read(root: Path, instead: str) -> Tree:
    """Return the files of both splits. The classes are WordNet ids in ascending order."""
    wnids = sorted(line.strip() for line in _lines(root / "wnids.txt", instead) if line.strip())
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    train = [
        (path, label_of[wnid])
        for wnid in wnids
        for path in _images(root / "train" / wnid / "images", instead)
    ]
    annotations = root / "val" / "val_annotations.txt"
    test = []
    for number, line in enumerate(_lines(annotations, instead), 1):
        file, *rest = line.split("\t")
        if not rest or rest[0] not in label_of:
            raise DataError(
                f"{annotations}, line {number}: expected the name of an image, a tab and an id of wnids.txt, "
                f"not {line[:60]!r}. {instead}"
            )
        test.append((annotations.parent / "images" / file, label_of[rest[0]]))
    return Tree(root, tuple(wnids), _listing(root, train), _listing(root, test))


def _listing(root: Path, pairs: list[tuple[Path, int]]) -> Listing:
    labels = torch.tensor([label for _, label in pairs], dtype=torch.int64)
    return Listing(Paths.of(root, (os.fsencode(path.relative_to(root)) for path, _ in pairs)), labels)


def _images(folder: Path, instead: str) -> list[Path]:
    """Return the images of one class, sorted by name. Raises DataError if there are none."""
    found = sorted(folder.glob("*.JPEG"))
    if not found:
        raise DataError(f"{folder} has no images (*.JPEG). {instead}")
    return found


def _lines(path: Path, instead: str) -> list[str]:
    """Return the lines of a text file. Raises DataError if it is missing, StorageError if it may not be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path} is missing. {instead}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file ({error}). {instead}") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
