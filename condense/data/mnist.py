"""MNIST and Fashion-MNIST from their idx files, or by torchvision's download.

LeCun, Bottou, Bengio, Haffner: "Gradient-Based Learning Applied to Document Recognition", 1998.
Xiao, Rasul, Vollgraf: "Fashion-MNIST", 2017, arXiv 1708.07747.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision.datasets import MNIST, FashionMNIST

from condense.data import fashion
from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split
from condense.data.download import fetch
from condense.data.idx import read_idx
from condense.data.options import DownloadOptions
from condense.data.published import published_dataset
from condense.errors import DataError, StorageError

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
DIGITS = tuple(str(digit) for digit in range(10))
# Statistics of the 60000 training images of MNIST, pixels in [0, 1].
MEAN, STD = (0.1307,), (0.3081,)


def load_mnist(options: DownloadOptions, request: DatasetRequest) -> RealDataset:
    """Return MNIST from DATA_DIR/MNIST/raw: images (n, 1, 28, 28) of the digits 0 to 9.

    Files in DATA_DIR itself are not taken, because those of Fashion-MNIST have the same names.

    Raises DataError if the files are missing, do not fit MNIST or cannot be downloaded.
    """
    places = [request.data_dir / _folder(MNIST)]
    folder, splits = _read(MNIST, "MNIST", places, options, request.data_dir)
    return published_dataset(
        "mnist", request, title="MNIST", where=folder, classes=DIGITS, splits=splits, mean=MEAN, std=STD
    )


def load_fashion_mnist(options: DownloadOptions, request: DatasetRequest) -> RealDataset:
    """Return all of Fashion-MNIST from DATA_DIR/FashionMNIST/raw or DATA_DIR: images (n, 1, 28, 28).

    Raises DataError if the files are missing, do not fit Fashion-MNIST or cannot be downloaded.
    """
    places = [request.data_dir / _folder(FashionMNIST), request.data_dir]
    folder, splits = _read(FashionMNIST, "Fashion-MNIST", places, options, request.data_dir)
    return published_dataset(
        "fashion-mnist",
        request,
        title="Fashion-MNIST",
        where=folder,
        classes=fashion.CLASSES,
        splits=splits,
        mean=fashion.MEAN,
        std=fashion.STD,
    )


def _folder(dataset: Any) -> str:
    """Return the folder below its root in which one of torchvision's classes keeps the idx files."""
    return f"{dataset.__name__}/raw"


def _read(
    dataset: Any, title: str, places: Sequence[Path], options: DownloadOptions, data_dir: Path
) -> tuple[Path, tuple[Split, Split]]:
    """Return the folder of the files, and the training and the test split.

    dataset: torchvision's class, for the download.
    places: the folders in which the files may be. The first is where the download puts them.
    """
    found = _find_files(places)
    if found is None:
        folder = _folder(dataset)
        several = " or ".join(str(place) for place in reversed(places))
        elsewhere = "that has them" if data_dir in places else f"that holds {folder}"
        fetch(
            data_dir,
            [f"{folder}/{name}" for name in FILES],
            lambda to: dataset(str(to), download=True),
            title=title,
            address=", ".join(dataset.mirrors),
            allowed=options.download,
            instead=f"Put these four files, gzipped (.gz) or not, into {several}: {', '.join(FILES)}; "
            f"or point --data-dir to the folder {elsewhere}",
        )
        found = [data_dir / folder / name for name in FILES]
    arrays = [read_idx(path, dimensions=3 if "idx3" in path.name else 1) for path in found]
    counterparts = (arrays[1], arrays[0], arrays[3], arrays[2])
    for path, array, counterpart in zip(found, arrays, counterparts, strict=True):
        _check(path, array, len(counterpart), title)
    return found[0].parent, (_split(*arrays[:2]), _split(*arrays[2:]))


def _split(images: Tensor, labels: Tensor) -> Split:
    """Return images (n, 28, 28) and labels (n,), both uint8, as a split."""
    return Split(MemoryImages(images.unsqueeze(1)), labels.long())


def _find_files(places: Sequence[Path]) -> list[Path] | None:
    """Return the four files in the order of FILES, all from one folder, or None."""
    for folder in places:
        pairs = [(folder / name, folder / f"{name}.gz") for name in FILES]
        try:
            found = [path for pair in pairs for path in [p for p in pair if p.is_file()][:1]]
        except PermissionError as error:
            raise StorageError(f"{folder} cannot be read: {error.strerror}") from error
        if len(found) == len(FILES):
            return found
    return None


def _check(path: Path, array: Tensor, counterpart: int, title: str) -> None:
    """Raise DataError unless `array` fits the dataset and there are as many images as labels."""
    if array.ndim == 3 and tuple(array.shape[1:]) != (28, 28):
        raise DataError(f"{path} holds images of {array.shape[1]}x{array.shape[2]} pixels instead of 28x28")
    if array.ndim == 1 and int(array.max()) > 9:
        raise DataError(f"{path} holds the label {int(array.max())}; {title} has 0 to 9")
    if len(array) != counterpart:
        raise DataError(f"{path} has {len(array)} entries, but the file that belongs to it has {counterpart}")
