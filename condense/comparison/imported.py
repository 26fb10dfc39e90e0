"""Rows of a comparison whose images come from an artifact: "imported:PATH" in place of a method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from condense.errors import OptionError
from condense.recipe.config import HUB, dataset_label
from condense.recipe.method import IDENTITY, IMPORTED
from condense.recipe.settings import Pair

_PREFIX = f"{IMPORTED}:"
_STORED = "parametrization"
# The settings that choose the images of a row.
IMPORTED_KEYS = _PATH, _CONTENT = "initializer.path", "initializer.content"


def is_imported(name: str) -> bool:
    """Return whether a row is named "imported:PATH"."""
    return name.startswith(_PREFIX)


def public_name(name: str) -> str:
    """Return the name of a row without the folders above an artifact."""
    if not is_imported(name):
        return name
    place = name.removeprefix(_PREFIX)
    return f"{_PREFIX}{dataset_label(place) if place.startswith(f'{HUB}:') else Path(place).name}"


def imported_row(name: str) -> tuple[str, tuple[Pair, ...], tuple[str, ...]]:
    """Return the label of the row "imported:PATH", the settings that choose its images, and notes for the user.

    Raises StorageError if there is no artifact.
    """
    # Reading an artifact needs torch, and other comparisons are designed without it.
    from condense.storage.artifact import find
    from condense.storage.hub import located
    from condense.storage.manifest import content_hash, read_manifest

    folder = find(located(name.removeprefix(_PREFIX)))
    made = read_manifest(folder / "distilled.json")
    settings: tuple[Pair, ...] = ((_PATH, str(folder.resolve())), (_CONTENT, content_hash(folder)))
    own_labels = (
        f"{public_name(name)} has soft labels of its own, which are not used: every row has the labels that its "
        "protocol asks for, from the one teacher; `condense evaluate` tests with its own",
    )
    stored = made.parametrization
    if stored.name != IDENTITY:
        options = ((f"{_STORED}.{key}", value) for key, value in stored.options.items())
        settings = (*settings, (_STORED, stored.name), *options)
    label = f"{made.method or folder.name} (imported)"
    return label, settings, own_labels if made.soft_labels else ()


def check_imported(label: str, settings: Sequence[Pair], dataset: str, ipc: int) -> None:
    """Raise OptionError unless the images of a row were made from this dataset, with this ipc.

    settings: of the row, as `imported_row` gave them.
    """
    from condense.storage.manifest import read_manifest

    chosen = dict(settings)
    if not (chosen.get(_PATH) and chosen.get(_CONTENT)):
        raise OptionError(f"which distilled dataset? Name it as a row: {_PREFIX}PATH")
    made = read_manifest(Path(chosen[_PATH]) / "distilled.json")
    if made.dataset and made.dataset != dataset_label(dataset):
        raise OptionError(
            f"{label} stands for {made.dataset}, and the comparison is on {dataset_label(dataset)}; use "
            f"--dataset {made.dataset}"
        )
    if ipc != made.ipc:
        raise OptionError(f"{label} has {made.ipc} images per class, not {ipc}; use --ipc {made.ipc}")
