"""CIFAR-10 and CIFAR-100 from torchvision's folders, or by torchvision's download.

Krizhevsky: "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import CIFAR10, CIFAR100

from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split
from condense.data.download import check_file, fetch
from condense.data.options import DownloadOptions
from condense.data.published import published_dataset

# Statistics of the 50000 training images, pixels in [0, 1].
MEAN_10, STD_10 = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
MEAN_100, STD_100 = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)


def load_cifar10(options: DownloadOptions, request: DatasetRequest) -> RealDataset:
    """Return CIFAR-10 from DATA_DIR/cifar-10-batches-py: images (n, 3, 32, 32) of ten classes.

    Raises DataError if a file is missing, is not the published one or cannot be downloaded.
    """
    root, splits, classes = _read(CIFAR10, "CIFAR-10", options, request.data_dir)
    return published_dataset(
        "cifar10",
        request,
        title="CIFAR-10",
        where=root,
        classes=classes,
        splits=splits,
        mean=MEAN_10,
        std=STD_10,
    )


def load_cifar100(options: DownloadOptions, request: DatasetRequest) -> RealDataset:
    """Return CIFAR-100 with its 100 fine labels from DATA_DIR/cifar-100-python: images (n, 3, 32, 32).

    Raises DataError if a file is missing, is not the published one or cannot be downloaded.
    """
    root, splits, classes = _read(CIFAR100, "CIFAR-100", options, request.data_dir)
    return published_dataset(
        "cifar100",
        request,
        title="CIFAR-100",
        where=root,
        classes=classes,
        splits=splits,
        mean=MEAN_100,
        std=STD_100,
    )


def _read(
    dataset: Any, title: str, options: DownloadOptions, data_dir: Path
) -> tuple[Path, tuple[Split, Split], list[str]]:
    """Return the folder of the files, the training and the test split, and the names of the classes.

    dataset: torchvision's class. Its files are pickles, which may run code when they are read, so that all MD5 sums
        are compared before.
    """
    name = dataset.base_folder
    folder = data_dir if data_dir.name == name else data_dir / name
    instead = (
        f"Unpack {dataset.url} so that {folder / dataset.meta['filename']} is there, "
        f"or point --data-dir to the folder that holds {name}"
    )
    if not folder.exists():
        fetch(
            data_dir,
            [name],
            lambda to: dataset(str(to), download=True),
            title=title,
            address=dataset.url,
            allowed=options.download,
            instead=instead,
        )
    files = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
    for file, md5 in files:
        check_file(folder / file, md5, f"Remove {folder} to have it fetched again. {instead}")
    train, test = (dataset(str(folder.parent), train=train) for train in (True, False))
    return folder, (_split(train), _split(test)), train.classes


def _split(dataset: Any) -> Split:
    """Return torchvision's images (n, 32, 32, 3) and labels as a split."""
    pixels = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return Split(MemoryImages(pixels), torch.tensor(dataset.targets, dtype=torch.int64))
