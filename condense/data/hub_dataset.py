"""A dataset that Hugging Face's `datasets` reads, as a real dataset: images are decoded from its Arrow files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense.data.dataset import DatasetRequest, RealDataset, Split
from condense.data.folder import statistics
from condense.data.headers import choose_channels, choose_sizes, enlargement_note, read_header
from condense.data.hub_packages import hub_package
from condense.data.hub_source import EncodedImages, HubTable, open_splits
from condense.data.images import image_bytes, load_images
from condense.data.options import HubOptions
from condense.errors import DataError
from condense.recipe.config import is_path
from condense.rng import generator

# The images of a split, and their labels (n,) int64.
_Rows = tuple[EncodedImages, Tensor]
# Sizes and colours are found from this many images, so that a large dataset need not be read twice.
_LOOKED_AT = 2000


def load_hub(options: HubOptions, request: DatasetRequest) -> RealDataset:
    """Return the dataset of `hf:NAME` or `hf:./PATH`, as `datasets` reads it.

    Classes are those of the label column if it names them, and otherwise its distinct values, sorted. A test split is
    drawn by the seed if there is none. Raises DataError for what cannot be read or used.
    """
    splits = open_splits(request.argument, options)
    names = splits.train.class_names
    if splits.test and splits.test.class_names != names:
        raise DataError(
            f"{request.name}: the classes of {splits.train.split} ({_few(names)}) and of {splits.test.split} "
            f"({_few(splits.test.class_names)}) are not the same"
        )
    values = splits.train.values()
    numbers = range(len(names)) if names else _distinct(values, splits.train)
    classes = names or tuple(map(str, numbers))
    train: _Rows = (splits.train.images(), _labels(values, numbers, splits.train))
    notes = splits.notes
    if splits.test:
        test: _Rows = (splits.test.images(), _labels(splits.test.values(), numbers, splits.test))
    else:
        train, test = _drawn(train, splits.train, classes, options.test_share, request.seed)
        notes += (
            f"{request.name} has no test split: {options.test_share:.0%} of each class, drawn by seed {request.seed}, "
            f"is held out ({len(train[0])} training, {len(test[0])} test images)",
        )
    headers = [read_header(file) for file in splits.train.images().spread(_LOOKED_AT)]
    sides = {header.sides for header in headers}
    size, stored = choose_sizes(options.size, options.resize_share, sides, request.preprocessing)
    channels, mixed = choose_channels(sum(header.grey for header in headers), len(headers))
    room = int(options.memory_limit_gib * 2**30)
    needed = image_bytes(len(train[0]), stored, channels)
    loaded = [
        Split(load_images(images, side=stored, channels=channels, limit_bytes=limit), labels)
        # The training split comes first; the test split has what remains.
        for (images, labels), limit in ((train, room), (test, room - needed if needed <= room else room))
    ]
    mean, std = statistics(loaded[0].images)
    licence, source = _origin(request.argument, splits.train)
    return RealDataset(
        name=request.name,
        classes=classes,
        train=loaded[0],
        test=loaded[1],
        size=size,
        mean=mean,
        std=std,
        notes=notes + mixed + enlargement_note(options.size, size, sides),
        licence=licence,
        source=source,
    )


def _distinct(values: Sequence[Any], split: HubTable) -> list[Any]:
    """Return the distinct labels in order: numbers by value, texts by letters."""
    if None in values:
        raise DataError(
            f"{split.name}: row {values.index(None)} of {split.split} has no label: remove the row"
        )
    return sorted(set(values))


def _labels(values: Sequence[Any], numbers: Sequence[Any], split: HubTable) -> Tensor:
    """Return labels (n,) int64: the position in `numbers` of each value. Raises DataError for one that is not there."""
    position = {value: index for index, value in enumerate(numbers)}
    for row, value in enumerate(values):
        if value not in position:
            what = "has no label" if value in (None, -1) else f"has the label {value!r}"
            raise DataError(
                f"{split.name}: row {row} of {split.split} {what}, and the classes are {_few(numbers)}: remove the "
                "row, or choose other splits with --set dataset.train=NAME and --set dataset.test=NAME"
            )
    return torch.tensor([position[value] for value in values], dtype=torch.int64)


def _drawn(
    rows: _Rows, split: HubTable, classes: Sequence[str], test_share: float, seed: int
) -> tuple[_Rows, _Rows]:
    """Return two parts of the training split. The draw for a class depends on the seed, its name and its size."""
    images, labels = rows
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label, name in enumerate(classes):
        mine = torch.nonzero(labels == label).flatten()
        if len(mine) < 2:
            raise DataError(
                f"class {name!r} of {split.name} has {len(mine)} images; a split into training and test needs at "
                "least two"
            )
        count = min(max(round(test_share * len(mine)), 1), len(mine) - 1)
        held[mine[torch.randperm(len(mine), generator=generator(seed, "split", name))[:count]]] = True
    kept, drawn = (torch.nonzero(chosen).flatten() for chosen in (~held, held))
    return (images.of(kept.tolist()), labels[kept]), (images.of(drawn.tolist()), labels[drawn])


def _origin(argument: str, split: HubTable) -> tuple[str, str]:
    """Return licence and source: what the dataset says of itself, or else what its card says."""
    info = split.table.info
    source = info.homepage or ("" if is_path(argument) else f"https://huggingface.co/datasets/{argument}")
    return info.license or _licence_of_card(argument), source


def _licence_of_card(argument: str) -> str:
    """Return the licence in the card below the path, or in the hub's cache; "" without one."""
    hub = hub_package("huggingface_hub")
    if is_path(argument):
        folder = Path(argument).expanduser()
        card: Any = (folder if folder.is_dir() else folder.parent) / "README.md"
    else:
        card = hub.try_to_load_from_cache(argument, "README.md", repo_type="dataset")
    if not isinstance(card, str | Path) or not Path(card).is_file():
        return ""
    try:
        found = hub.DatasetCard.load(card).data.license
    except ValueError:  # A card with a damaged head says nothing.
        return ""
    return ", ".join(found) if isinstance(found, list) else str(found or "")


def _few(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "") or "not named"
