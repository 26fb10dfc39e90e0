"""Which kind of images a folder holds, found from the headers of some of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from condense.recipe.specs import ImageKind

if TYPE_CHECKING:
    from condense.data.catalog import FolderOptions

# Images that are looked at: enough to tell, few enough to answer at once.
_LOOKED_AT = 64
# From this side length on, images are treated as photographs.
SMALLEST_PHOTOGRAPH = 128


def kind_of_folder(options: FolderOptions, argument: str) -> ImageKind:
    """Return the kind of the images below a folder: from `options.size`, or else from the files.

    Files of one size below 128 pixels are small images; they are grey if all of them are. Everything else, also a
    folder without readable images, counts as photographs; loading it says what is wrong.
    """
    if options.like != "auto":
        return options.like
    headers = list(_headers(Path(argument).expanduser()))
    sides = {shorter for shorter, _ in headers}
    size = options.size or (min(sides) if len(sides) == 1 else SMALLEST_PHOTOGRAPH)
    if size >= SMALLEST_PHOTOGRAPH:
        return "photographs"
    return "small-grey" if headers and all(grey for _, grey in headers) else "small-colour"


def _headers(root: Path) -> Iterator[tuple[int, bool]]:
    """Yield the shorter side in pixels, and whether the file is grey, of images spread over the class folders."""
    from PIL import Image, UnidentifiedImageError

    top = root / "train" if (root / "train").is_dir() else root
    for path in islice(_files(top), _LOOKED_AT):
        try:
            with Image.open(path) as image:
                yield (
                    min(image.size),
                    image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16"),
                )
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            continue


def _files(top: Path) -> Iterator[Path]:
    """Yield files below `top`, a few of each class folder first, so that no class decides alone."""
    if not top.is_dir():
        return
    folders = sorted(entry for entry in top.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    each = max(1, _LOOKED_AT // max(1, len(folders)))
    for folder in folders:
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        yield from islice(files, each)
