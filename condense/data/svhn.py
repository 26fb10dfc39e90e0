"""SVHN, the digits of house numbers, from its two .mat files or by torchvision's download.

Netzer, Wang, Coates, Bissacco, Wu, Ng: "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS
workshop 2011. The training split is the one of 73257 images, without the "extra" ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import SVHN

from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split
from condense.data.download import check_file, fetch
from condense.data.options import DownloadOptions
from condense.data.published import published_dataset

CLASSES = tuple(str(digit) for digit in range(10))
# Statistics of the 73257 training images, pixels in [0, 1].
MEAN, STD = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
_FOLDER = "svhn"
_SPLITS = ("train", "test")


def load_svhn(options: DownloadOptions, request: DatasetRequest) -> RealDataset:
    """Return SVHN from DATA_DIR/svhn or DATA_DIR itself: images (n, 3, 32, 32) of the digits 0 to 9.

    Raises DataError if a file is missing, is not the published one or cannot be downloaded.
    """
    files = {SVHN.split_list[split][1]: SVHN.split_list[split][2] for split in _SPLITS}
    target = request.data_dir / _FOLDER
    places = [target, request.data_dir]
    folder = next((place for place in places if any((place / name).is_file() for name in files)), target)
    instead = (
        f"Put {' and '.join(files)} from http://ufldl.stanford.edu/housenumbers into {folder}, "
        "or point --data-dir to the folder that has them"
    )
    if not any((folder / name).is_file() for name in files):
        fetch(
            request.data_dir,
            [f"{_FOLDER}/{name}" for name in files],
            _download,
            title="SVHN",
            address="http://ufldl.stanford.edu/housenumbers",
            allowed=options.download,
            instead=instead,
        )
    for name, md5 in files.items():
        check_file(folder / name, md5, instead)
    train, test = (_split(SVHN(str(folder), split=split)) for split in _SPLITS)
    return published_dataset(
        "svhn",
        request,
        title="SVHN",
        where=folder,
        classes=CLASSES,
        splits=(train, test),
        mean=MEAN,
        std=STD,
    )


def _download(folder: Path) -> None:
    for split in _SPLITS:
        SVHN(str(folder / _FOLDER), split=split, download=True)


def _split(dataset: SVHN) -> Split:
    """Return torchvision's images (n, 3, 32, 32) and labels, in which 0 stands for the digit 0, as a split."""
    pixels = torch.from_numpy(np.ascontiguousarray(dataset.data))
    return Split(MemoryImages(pixels), torch.from_numpy(dataset.labels))
