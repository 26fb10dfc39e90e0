"""Fashion-MNIST: the part shipped with condense, and the full dataset from idx files or by download.

Xiao, Rasul, Vollgraf: "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    2017, arXiv 1708.07747. MIT licence, copyright Zalando SE.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condense.data.catalog import FashionMnistOptions
from condense.data.dataset import DatasetRequest, MemoryImages, RealDataset, Split
from condense.data.download import fetching
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
LICENCE = "MIT, copyright (c) 2017 Zalando SE"
SOURCE = "Fashion-MNIST, Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747"

MINI_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
MINI_DIGEST = "ad89a2a3ee4cc88e674504898ecff22937ab4fd93ba9efbaf5c59bdbbe2607d9"

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_TORCHVISION_FOLDER = Path("FashionMNIST", "raw")
_PUBLISHED_COUNTS = (60000, 10000)


def load_fashion_mini(options: NoOptions, request: DatasetRequest) -> RealDataset:
    """Return the part inside the package: 500 training and 100 test images per class of Fashion-MNIST."""
    return _dataset(request, read_mini(files("condense.data") / "files" / "fashion_mini.npz"))


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


def load_fashion_mnist(options: FashionMnistOptions, request: DatasetRequest) -> RealDataset:
    """Return all of Fashion-MNIST from DATA_DIR or DATA_DIR/FashionMNIST/raw, or by torchvision's download.

    Raises DataError if the files are missing, do not fit Fashion-MNIST or cannot be downloaded.
    """
    found = _find_files(request.data_dir)
    if found is None:
        instead = (
            f"Put these four files, gzipped (.gz) or not, into {request.data_dir} or "
            f"{request.data_dir / _TORCHVISION_FOLDER}: {', '.join(FILES)}; "
            "or point --data-dir to the folder that has them"
        )
        if not options.download:
            raise DataError(
                f"Fashion-MNIST is not in {request.data_dir} and the option download is off. {instead}"
            )
        found = _download(request.data_dir, instead)
    arrays = [read_idx(path, dimensions=3 if "idx3" in path.name else 1) for path in found]
    for path, array, counterpart in zip(
        found, arrays, (arrays[1], arrays[0], arrays[3], arrays[2]), strict=True
    ):
        _check(path, array, len(counterpart))
    notes = []
    counts = (len(arrays[0]), len(arrays[2]))
    if counts != _PUBLISHED_COUNTS:
        notes.append(
            f"{found[0].parent.name} holds {counts[0]} training and {counts[1]} test images; "
            f"Fashion-MNIST has {_PUBLISHED_COUNTS[0]} and {_PUBLISHED_COUNTS[1]}"
        )
    return _dataset(request, arrays, notes)


def _dataset(request: DatasetRequest, arrays: Sequence[Tensor], notes: Sequence[str] = ()) -> RealDataset:
    """Return the dataset of training images, their labels, test images and their labels.

    arrays: images (n, 28, 28) and labels (n,), all uint8.
    """
    train_images, train_labels, test_images, test_labels = arrays
    return RealDataset(
        name=request.name,
        classes=CLASSES,
        train=Split(MemoryImages(train_images.unsqueeze(1)), train_labels.long()),
        test=Split(MemoryImages(test_images.unsqueeze(1)), test_labels.long()),
        size=28,
        mean=MEAN,
        std=STD,
        notes=tuple(notes),
        licence=LICENCE,
        source=SOURCE,
    )


def _find_files(data_dir: Path) -> list[Path] | None:
    """Return the four files in the order of FILES, all from one folder, or None."""
    for folder in (data_dir, data_dir / _TORCHVISION_FOLDER):
        pairs = [(folder / name, folder / f"{name}.gz") for name in FILES]
        try:
            found = [path for pair in pairs for path in [p for p in pair if p.is_file()][:1]]
        except PermissionError as error:
            raise StorageError(f"{folder} cannot be read: {error.strerror}") from error
        if len(found) == len(FILES):
            return found
    return None


def _check(path: Path, array: Tensor, counterpart: int) -> None:
    """Raise DataError unless `array` fits Fashion-MNIST and there are as many images as labels."""
    if array.ndim == 3 and tuple(array.shape[1:]) != (28, 28):
        raise DataError(f"{path} holds images of {array.shape[1]}x{array.shape[2]} pixels instead of 28x28")
    if array.ndim == 1 and int(array.max()) >= len(CLASSES):
        raise DataError(
            f"{path} holds the label {int(array.max())}; Fashion-MNIST has 0 to {len(CLASSES) - 1}"
        )
    if len(array) != counterpart:
        raise DataError(f"{path} has {len(array)} entries, but the file that belongs to it has {counterpart}")


def _download(data_dir: Path, instead: str) -> list[Path]:
    """Download the four files into DATA_DIR/FashionMNIST/raw, where torchvision finds them too."""
    from torchvision.datasets import FashionMNIST

    what = f"Fashion-MNIST ({', '.join(FashionMNIST.mirrors)})"
    target = data_dir / _TORCHVISION_FOLDER
    with fetching(data_dir, what, instead) as folder:
        FashionMNIST(str(folder), download=True)
        target.mkdir(parents=True, exist_ok=True)
        return [(folder / _TORCHVISION_FOLDER / name).replace(target / name) for name in FILES]


_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 0x08


def read_idx(path: Path, *, dimensions: int) -> Tensor:
    """Return the uint8 values of an idx file: labels (n,) if `dimensions` is 1, images (n, H, W) if it is 3.

    The first bytes, not the name, tell whether the file is gzipped. Raises DataError if the file is missing,
    is not an idx file, or has another type, number of dimensions or length. Raises StorageError if it may not
    be read.
    """
    data = _bytes_of(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise DataError(
            f"{path} is not an idx file: it should begin with two zero bytes, not {data[:2].hex(' ')!r}"
        )
    kind, count = data[2], data[3]
    if kind != _UINT8:
        raise DataError(f"{path} holds values of idx type 0x{kind:02x}; images and labels have 0x08 (uint8)")
    if count != dimensions:
        found = f"{count} dimension" + ("" if count == 1 else "s")
        wanted = f"{dimensions} {'was' if dimensions == 1 else 'were'} expected{_hint(dimensions)}"
        raise DataError(f"{path} has {found} where {wanted}")
    start = 4 + 4 * count
    if len(data) < start:
        raise DataError(f"{path} is cut off within its header of {start} bytes: fetch it again")
    shape = struct.unpack(f">{count}I", data[4:start])
    announced, there = math.prod(shape), len(data) - start
    if there != announced:
        size = "x".join(str(side) for side in shape)
        fault = "is cut off" if there < announced else "is too long"
        raise DataError(f"{path} {fault}: {size} values are announced, {there} are there: fetch it again")
    if announced == 0:
        raise DataError(f"{path} holds no values")
    return torch.frombuffer(bytearray(data[start:]), dtype=torch.uint8).reshape(shape)


def _hint(dimensions: int) -> str:
    kinds = {1: "labels, idx1", 3: "images, idx3"}
    return f" ({kinds[dimensions]})" if dimensions in kinds else ""


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}): fetch it again") from error
