"""The kind of images that a folder or a dataset of the hub holds, found from the headers of some of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from condense.data.fetching import may_fetch
from condense.data.walk import files_below, folders_in, pass_over
from condense.errors import CondenseError
from condense.recipe.config import HUB, is_path
from condense.recipe.specs import ImageKind, kind_text

if TYPE_CHECKING:
    from condense.data.headers import ImageFile
    from condense.data.options import FolderOptions, HubOptions

# The number of images to look at: enough to tell, few enough to answer at once.
_LOOKED_AT = 64


def kind_of_folder(options: FolderOptions, argument: str) -> ImageKind:
    """Return the kind of the images below a folder, as `load_folder` would load them.

    Images whose shorter sides are all below 128 pixels, or that `options.size` makes so small, are small images. They
    are grey if all that were looked at are. Everything else counts as photographs, also a folder without a readable
    image: loading it says what is wrong.
    """
    if options.like != "auto":
        return options.like
    root = Path(argument).expanduser()
    return _kind_of(options, islice(_files(root, _LOOKED_AT), _LOOKED_AT), lambda: _files(root))


def kind_of_hub(options: HubOptions, argument: str) -> ImageKind:
    """Return the kind of the images that `load_hub` would load.

    The dataset is fetched for that if it is missing. Where nothing may be fetched, what is missing counts as
    photographs, and `unfetched_note` says so.
    """
    if options.like != "auto":
        return options.like
    from condense.data.hub_source import NotFetchedError, open_splits

    try:
        splits = open_splits(argument, options)
    except NotFetchedError:
        if may_fetch():
            raise
        return "photographs"
    images = splits.train.images()
    return _kind_of(options, images.spread(_LOOKED_AT), lambda: images.spread(len(images)))


def unfetched_note(name: str, options: HubOptions, kind: ImageKind) -> str:
    """Return a note that a dataset is not here and not looked at, and what its images are taken for; "" otherwise.

    name: of the dataset, as users write it. options: used for a dataset of the hub alone. kind: of its images.
    """
    stem, _, argument = name.partition(":")
    if may_fetch() or stem != HUB or is_path(argument):
        return ""
    from condense.data.hub_source import NotFetchedError, open_splits

    try:
        open_splits(argument, options)
    except NotFetchedError:
        return (
            f"{name} is not in Hugging Face's cache and nothing is fetched now, so its images are taken for "
            f"{kind_text(kind)}; --set dataset.like=KIND chooses the settings for another kind"
        )
    return ""


def _kind_of(
    options: FolderOptions | HubOptions,
    some: Iterable[ImageFile],
    all_of_them: Callable[[], Iterable[ImageFile]],
) -> ImageKind:
    """Return the kind of images. All are looked at if some differ in size and are small: one could be a photograph."""
    # PIL is imported here alone, so that other datasets are resolved without it.
    from condense.data.headers import SMALLEST_PHOTOGRAPH, Header, choose_channels, choose_sizes, read_header

    def headers_of(files: Iterable[ImageFile]) -> Iterator[Header]:
        for file in files:
            with contextlib.suppress(CondenseError):  # Loading the dataset reports it.
                yield read_header(file)

    def is_small(sides: set[tuple[int, int]]) -> bool:
        return choose_sizes(options.size, options.resize_share, sides)[0] < SMALLEST_PHOTOGRAPH

    headers = [*headers_of(some)]
    sides = {header.sides for header in headers}
    if not sides or not is_small(sides):
        return "photographs"
    if (
        options.size == 0
        and len(sides) > 1
        and not is_small({one.sides for one in headers_of(all_of_them())})
    ):
        return "photographs"
    grey = sum(header.grey for header in headers)
    return "small-grey" if choose_channels(grey, len(headers))[0] == 1 else "small-colour"


def _files(root: Path, count: int | None = None) -> Iterator[Path]:
    """Yield the training files below the class folders of `root`.

    count: yield about so many, some of each class, so that no class decides alone.
    """
    split, folders = "", list[str]()
    with contextlib.suppress(CondenseError, OSError):
        split = "train/" if (root / "train").is_dir() else ""
        folders = folders_in(root / split)
    each = None if count is None else max(1, count // max(1, len(folders)))
    for folder in folders:
        for name in islice(files_below(root, split + folder, pass_over), each):
            yield root / name
