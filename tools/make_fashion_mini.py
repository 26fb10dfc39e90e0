"""Make condense/data/files/fashion_mini.npz from the four idx files of Fashion-MNIST.

    python tools/make_fashion_mini.py SOURCE_DIR [OUTPUT]

Takes 500 training images per class from the training files and 100 test images per class from the test files.
sha256(seed/split/index) decides which ones, so no library version can change the choice. The file holds no
times: the same source gives the same arrays everywhere, and the same bytes under one zlib.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np

from condense.data.fashion import MINI_ARRAYS, mini_digest
from condense.data.idx import read_idx
from condense.data.mnist import FILES

SEED = 0
PER_CLASS = {"train": 500, "test": 100}
OUTPUT = Path(__file__).parents[1] / "condense" / "data" / "files" / "fashion_mini.npz"


def choose(labels: np.ndarray, split: str, count: int) -> np.ndarray:
    """Return (10 * count,) indices into `labels` (n,): `count` of each class, ordered by class, then by index."""
    chosen: list[int] = []
    for label in range(10):
        members = np.flatnonzero(labels == label).tolist()
        if len(members) < count:
            raise SystemExit(
                f"class {label} has {len(members)} images in the {split} split; {count} are needed"
            )
        members.sort(key=lambda index: hashlib.sha256(f"{SEED}/{split}/{index}".encode()).digest())
        chosen.extend(sorted(members[:count]))
    return np.array(chosen)


def part(source: Path) -> list[np.ndarray]:
    """Return the chosen images (n, 28, 28) and labels (n,) of both splits, in the order of MINI_ARRAYS."""
    arrays: list[np.ndarray] = []
    for split, (image_file, label_file) in {"train": FILES[:2], "test": FILES[2:]}.items():
        images, labels = (_read(source, name) for name in (image_file, label_file))
        chosen = choose(labels, split, PER_CLASS[split])
        arrays += [images[chosen], labels[chosen]]
    return arrays


def pack(arrays: list[np.ndarray]) -> bytes:
    """Return a compressed .npz whose bytes depend on the arrays and on zlib alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in zip(MINI_ARRAYS, arrays, strict=True):
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on every system
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def _read(source: Path, name: str) -> np.ndarray:
    path = source / name
    if not path.exists():
        path = source / f"{name}.gz"
    array: np.ndarray = read_idx(path, dimensions=3 if "idx3" in name else 1).numpy()
    return array


def main(arguments: list[str] | None = None) -> None:
    """Read the idx files, write the part, and print what MINI_DIGEST in condense/data/fashion.py must be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the folder with the four idx files, gzipped or not")
    parser.add_argument("output", type=Path, nargs="?", default=OUTPUT, help=f"default: {OUTPUT}")
    chosen = parser.parse_args(arguments)
    arrays = part(chosen.source)
    packed = pack(arrays)
    chosen.output.write_bytes(packed)
    print(f"{chosen.output}: {len(packed)} bytes, file sha256 {hashlib.sha256(packed).hexdigest()}")
    print(f"MINI_DIGEST = {mini_digest(arrays)}")


if __name__ == "__main__":
    main()
