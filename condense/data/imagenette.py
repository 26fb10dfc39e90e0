"""Imagenette and Imagewoof: ten classes of ImageNet that are easy or hard to tell apart, from folders or by download.

Howard: Imagenette, 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.download import fetch
from condense.data.folder import load_splits
from condense.data.headers import choose_sizes, grey_note
from condense.data.options import ImagenetteOptions, ImagenetteVariant
from condense.data.published import IMAGENET_MEAN, IMAGENET_STD, published_dataset
from condense.data.survey import Survey, survey
from condense.data.tree import read_tree, split_tree
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
DOG_NAMES = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "Border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}
_SUFFIXES: dict[ImagenetteVariant, str] = {"full": "", "320px": "-320", "160px": "-160"}
_ARCHIVES = "https://s3.amazonaws.com/fast-ai-imageclas/{folder}.tgz"
# MD5 sums of Imagewoof's archives; torchvision has those of Imagenette.
_WOOF_SUMS: dict[ImagenetteVariant, str] = {
    "full": "9aafe18bcdb1632c4249a76c458465ba",
    "320px": "0f46d997ec2264e97609196c95897a44",
    "160px": "3d200a7be99704a0d7509be2a9fbfe15",
}


@dataclass(frozen=True, kw_only=True)
class _Selection:
    """Ten classes of ImageNet.

    name: in the catalogue.
    title: for people.
    stem: the name of the folder of the variant "full".
    classes: the name of each WordNet id.
    get: downloads and unpacks a variant into a folder.
    """

    name: str
    title: str
    stem: str
    classes: Mapping[str, str]
    get: Callable[[Path, ImagenetteVariant], object]

    def folder(self, variant: ImagenetteVariant) -> str:
        return self.stem + _SUFFIXES[variant]


def _get_imagenette(folder: Path, variant: ImagenetteVariant) -> None:
    from torchvision.datasets import Imagenette

    Imagenette(str(folder), split="train", size=variant, download=True)


def _get_imagewoof(folder: Path, variant: ImagenetteVariant) -> None:
    from torchvision.datasets import utils

    url = _ARCHIVES.format(folder=_IMAGEWOOF.folder(variant))
    utils.download_and_extract_archive(url, str(folder), md5=_WOOF_SUMS[variant])


_IMAGENETTE = _Selection(
    name="imagenette",
    title="Imagenette",
    stem="imagenette2",
    classes=CLASS_NAMES,
    get=_get_imagenette,
)
_IMAGEWOOF = _Selection(
    name="imagewoof",
    title="Imagewoof",
    stem="imagewoof2",
    classes=DOG_NAMES,
    get=_get_imagewoof,
)


def load_imagenette(options: ImagenetteOptions, request: DatasetRequest) -> RealDataset:
    """Return Imagenette from DATA_DIR/imagenette2*/ or DATA_DIR itself, or by torchvision's download.

    The side length of stored images is the size that networks see, times 256/224 if that size is at least
    128. Raises DataError for class folders of another dataset, and if the images are missing or the download fails.
    """
    return _load(_IMAGENETTE, options, request)


def load_imagewoof(options: ImagenetteOptions, request: DatasetRequest) -> RealDataset:
    """Return Imagewoof from DATA_DIR/imagewoof2*/ or DATA_DIR itself, or by download, as `load_imagenette` does."""
    return _load(_IMAGEWOOF, options, request)


def _load(chosen: _Selection, options: ImagenetteOptions, request: DatasetRequest) -> RealDataset:
    root = _find(chosen, options.variant, request.data_dir) or _fetch(chosen, options, request.data_dir)
    tree = read_tree(root)
    unknown = [name for name in tree.classes if name not in chosen.classes]
    if unknown:
        raise DataError(
            f"{root} has the class folder {unknown[0]!r}, which is not one of {chosen.title}'s ten "
            f"({', '.join(chosen.classes)}); remove it, or use the images as --dataset folder:{root}"
        )
    found = survey(tree, request, skip_broken=options.skip_broken)
    tree = split_tree(found.tree, seed=request.seed, test_share=0.2)
    size, stored = choose_sizes(options.size, 0.0, found.sides, request.preprocessing)
    return published_dataset(
        chosen.name,
        request,
        title=chosen.title,
        where=root,
        classes=[chosen.classes[name] for name in tree.classes],
        splits=load_splits(tree, side=stored, channels=3, limit_gib=options.memory_limit_gib),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        size=size,
        notes=(*tree.notes, *_notes(chosen, found, options.variant)),
    )


def _find(chosen: _Selection, variant: ImagenetteVariant, data_dir: Path) -> Path | None:
    """Return the first folder that has train/ and val/, or None.

    The candidates are the folder of the variant, `data_dir`, and the folders of "320px" and "full".
    """
    larger: tuple[ImagenetteVariant, ...] = ("320px", "full")
    folders = [chosen.folder(name) for name in (variant, *larger)]
    candidates = [data_dir / folders[0], data_dir, *(data_dir / name for name in folders[1:])]
    for folder in candidates:
        if (folder / "train").is_dir() and (folder / "val").is_dir():
            return folder
    return None


def _fetch(chosen: _Selection, options: ImagenetteOptions, data_dir: Path) -> Path:
    """Download and unpack the archive of the variant. Return its folder.

    Raises DataError if the option download is off, if the folder exists but is incomplete, or if the download
    fails.
    """
    name = chosen.folder(options.variant)
    target = data_dir / name
    first = next(iter(chosen.classes))
    instead = (
        f"Put the images into {target}/train/{first}/*.JPEG and so on for each of the ten classes, and "
        f"{target}/val/{first}/*.JPEG and so on; or point --data-dir to the folder that holds {name}"
    )
    if options.download and target.exists():
        raise DataError(
            f"{target} lacks train/ or val/; complete it, or remove it to have it fetched. {instead}"
        )
    fetch(
        data_dir,
        [name],
        lambda folder: chosen.get(folder, options.variant),
        title=chosen.title,
        address=_ARCHIVES.format(folder=name),
        allowed=options.download,
        instead=instead,
    )
    return target


def _notes(chosen: _Selection, found: Survey, variant: ImagenetteVariant) -> tuple[str, ...]:
    notes = []
    used, wanted = found.tree.root.name, chosen.folder(variant)
    if used in [chosen.folder(each) for each in _SUFFIXES] and used != wanted:
        notes.append(f"{used} is used in place of {wanted}, which is not there")
    return (*notes, *grey_note(found.grey, found.total))
