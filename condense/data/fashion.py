"""The part of Fashion-MNIST that is shipped with condense.

Xiao, Rasul, Vollgraf: "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    2017, arXiv 1708.07747. MIT licence, copyright Zalando SE.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split
from condense.data.published import published_dataset
from condense.errors import DataError, StorageError
from condense.recipe.specs import NoOptions

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Statistics of the 60000 training images, pixels in [0, 1]; a test computes them from the files.
MEAN, STD = (0.2860,), (0.3530,)

MINI_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
MINI_DIGEST = "ad89a2a3ee4cc88e674504898ecff22937ab4fd93ba9efbaf5c59bdbbe2607d9"


def load_fashion_mini(options: NoOptions, request: DatasetRequest) -> RealDataset:
    """Return the part inside the package: 500 training and 100 test images per class of Fashion-MNIST."""
    file = files("condense.data") / "files" / "fashion_mini.npz"
    train_images, train_labels, test_images, test_labels = read_mini(file)
    return published_dataset(
        "fashion-mini",
        request,
        title="fashion-mini",
        where=Path(file.name),
        classes=CLASSES,
        splits=(
            Split(MemoryImages(train_images.unsqueeze(1)), train_labels.long()),
            Split(MemoryImages(test_images.unsqueeze(1)), test_labels.long()),
        ),
        mean=MEAN,
        std=STD,
    )


def read_mini(file: Path | Traversable) -> list[Tensor]:
    """Return images (5000, 28, 28) and labels (5000,) for training, (1000, 28, 28) and (1000,) for testing.

    All are uint8. Raises DataError unless the arrays in `file` are those that tools/make_fashion_mini.py
    made, and StorageError if `file` may not be read.
    """
    advice = "is damaged; installing condense again brings it back"
    try:
        with np.load(io.BytesIO(file.read_bytes())) as archive:
            arrays = [archive[name] for name in MINI_ARRAYS]
    except PermissionError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror}") from error
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"the embedded dataset {file} {advice} ({error})") from error
    if mini_digest(arrays) != MINI_DIGEST:
        raise DataError(f"the embedded dataset {file} {advice} (its checksum is wrong)")
    return [torch.from_numpy(array) for array in arrays]


def mini_digest(arrays: Iterable[np.ndarray]) -> str:
    """Return the SHA-256 of the arrays' types, shapes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
