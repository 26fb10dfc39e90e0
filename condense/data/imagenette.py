"""Imagenette: ten classes of ImageNet that are easy to tell apart, from folders or by download.

Howard: Imagenette, 2019.
"""

from __future__ import annotations

import errno
from pathlib import Path

from condense.data.catalog import ImagenetteOptions, ImagenetteVariant
from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.download import fetching
from condense.data.folder import Tree, load_splits, read_tree
from condense.data.headers import choose_sizes, read_headers
from condense.errors import DataError

CLASS_NAMES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
# Statistics of ImageNet: Imagenette is a part of it, and pretrained networks expect them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LICENCE = (
    "images under the terms of access of ImageNet (research, not commercial); selection Apache-2.0, fast.ai"
)
SOURCE = "Imagenette, Howard 2019, https://github.com/fastai/imagenette"

_FOLDERS: dict[ImagenetteVariant, str] = {
    "full": "imagenette2",
    "320px": "imagenette2-320",
    "160px": "imagenette2-160",
}
_ARCHIVE = "https://s3.amazonaws.com/fast-ai-imageclas/{folder}.tgz"
_PUBLISHED_COUNTS = (9469, 3925)


def load_imagenette(options: ImagenetteOptions, request: DatasetRequest) -> RealDataset:
    """Return Imagenette from DATA_DIR/imagenette2*/ or DATA_DIR itself, or by torchvision's download.

    The side length of stored images is the size that networks see, times 256/224 if that size is at least
    128.
    """
    root = _find(options.variant, request.data_dir)
    if root is None:
        root = _fetch(options, request.data_dir)
    tree = read_tree(root, seed=request.seed, test_share=0.2)
    headers = read_headers(tree.train.paths + tree.test.paths)
    size, stored = choose_sizes(options.size, 0.0, headers)
    train, test = load_splits(tree, side=stored, channels=3, limit_gib=options.memory_limit_gib)
    return RealDataset(
        name=request.name,
        classes=tuple(CLASS_NAMES.get(name, name) for name in tree.classes),
        train=train,
        test=test,
        size=size,
        mean=MEAN,
        std=STD,
        notes=tree.notes + _notes(tree, options.variant, sum(header.grey for header in headers)),
        licence=LICENCE,
        source=SOURCE,
    )


def _find(variant: ImagenetteVariant, data_dir: Path) -> Path | None:
    """Return the first folder that has train/ and val/, or None.

    The candidates are the folder of the variant, `data_dir`, and the folders of "320px" and "full".
    """
    larger: tuple[ImagenetteVariant, ...] = ("320px", "full")
    candidates = [data_dir / _FOLDERS[variant], data_dir, *(data_dir / _FOLDERS[name] for name in larger)]
    for folder in candidates:
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
    return None


def _fetch(options: ImagenetteOptions, data_dir: Path) -> Path:
    """Download and unpack the archive of the variant with torchvision. Return its folder.

    Raises DataError if the option download is off, if the folder exists but is incomplete, or if the download
    fails.
    """
    name = _FOLDERS[options.variant]
    target = data_dir / name
    instead = (
        f"Put the images into {target}/train/n01440764/*.JPEG and so on for each of the ten classes, and "
        f"{target}/val/n01440764/*.JPEG and so on; or point --data-dir to the folder that holds {name}"
    )
    if not options.download:
        raise DataError(f"Imagenette is not in {data_dir} and the option download is off. {instead}")
    if target.exists():
        raise DataError(
            f"{target} lacks train/ or val/; complete it, or remove it to have it fetched. {instead}"
        )
    from torchvision.datasets import Imagenette

    with fetching(data_dir, f"Imagenette ({_ARCHIVE.format(folder=name)})", instead) as folder:
        Imagenette(str(folder), split="train", size=options.variant, download=True)
        try:
            (folder / name).rename(target)
        except OSError as error:
            # Another run may have downloaded it in the meantime.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    return target


def _notes(tree: Tree, variant: ImagenetteVariant, grey: int) -> tuple[str, ...]:
    notes = []
    if tree.root.name in _FOLDERS.values() and tree.root.name != _FOLDERS[variant]:
        notes.append(f"{tree.root.name} is used in place of {_FOLDERS[variant]}, which is not there")
    counts = len(tree.train.paths), len(tree.test.paths)
    if counts != _PUBLISHED_COUNTS:
        notes.append(
            f"{tree.root.name} holds {counts[0]} training and {counts[1]} test images; "
            f"Imagenette has {_PUBLISHED_COUNTS[0]} and {_PUBLISHED_COUNTS[1]}"
        )
    total = sum(counts)
    if grey:
        notes.append(f"{grey} of {total} images are grey: converted to RGB like the others")
    return tuple(notes)
