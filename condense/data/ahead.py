"""Whether a dataset has the images that a run asks for, as far as that can be told without loading it."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

from condense.data.walk import check_root, class_folders, files_below, pass_over
from condense.errors import DataError
from condense.recipe.config import Recipe, dataset_label
from condense.recipe.networks import format_network
from condense.recipe.registry import Registry
from condense.recipe.settings import images_per_stored, options_of
from condense.recipe.specs import DatasetSpec, ParametrizationSpec


def check_images_ahead(recipe: Recipe, registry: Registry) -> None:
    """Raise DataError if the images are not there, are too few, or are too small for the form that stores them.

    Class folders are counted; of other datasets the published numbers are known. What cannot be told passes.
    """
    spec, argument = registry.dataset(recipe.dataset.name)
    _check_side(recipe, spec, registry)
    if spec.build == "condense.data.folder:load_folder":
        _check_folder(
            recipe, Path(argument).expanduser(), images_per_stored(recipe.parametrization, registry)
        )
    elif spec.classes and spec.images[0]:
        _check_published(recipe, spec, images_per_stored(recipe.parametrization, registry))


def _check_side(recipe: Recipe, spec: DatasetSpec, registry: Registry) -> None:
    if recipe.teacher.model.options.get("pretrained"):  # These weights may ask for images of another size.
        return
    side = spec.side_of(options_of(recipe.dataset, "dataset", registry))
    stored = recipe.parametrization
    form: ParametrizationSpec = registry.find("parametrization", stored.name)
    minimum = form.smallest(options_of(stored, "parametrization", registry))
    if 0 < side < minimum:
        raise DataError(
            f"{format_network(stored.name, stored.options)} stores images of at least {minimum}x{minimum} pixels, and "
            f"those of {recipe.dataset.name!r} have {side}x{side}; choose other options below parametrization"
        )


def too_few(ipc: int, dataset: str, name: str, count: int, held: int = 1) -> DataError:
    """Return the error for a class, the smallest of a dataset, that has too few images.

    count: how many it has. held: how many images one stored image holds.
    """
    return DataError(
        f"{_asked(ipc, held)} of {dataset!r}, {name!r}, has only {count}; {_advice(count // held)}"
    )


def _asked(ipc: int, held: int) -> str:
    more = f", which hold {held} images each, {ipc * held} together" if held > 1 else ""
    return f"{ipc} images per class were asked for{more}, and the smallest class"


def _advice(most: int) -> str:
    return f"use --ipc {most} or less" if most else "store fewer images in one"


def kept_of(count: int, validation: float) -> int:
    """Return how many of a class's training images are left when a fraction is held out for tuning."""
    return count - min(max(1, round(validation * count)), count - 1) if validation and count > 1 else count


def _check_folder(recipe: Recipe, root: Path, held: int) -> None:
    check_root(root)
    split = "train" if (root / "train").is_dir() else ""
    # So many images of a class are surely enough, so that no more are counted.
    enough = math.ceil((recipe.ipc * held + 1) / (1 - recipe.validation)) + 1
    fewest: tuple[int, str] | None = None
    for name in class_folders(root, split):
        below = files_below(root, f"{split}/{name}" if split else name, pass_over)
        count = kept_of(sum(1 for _ in islice(below, enough)), recipe.validation)
        if fewest is None or count < fewest[0]:
            fewest = count, name
    if fewest and 0 < fewest[0] < recipe.ipc * held:
        raise too_few(recipe.ipc, dataset_label(recipe.dataset.name), fewest[1], fewest[0], held)


def _check_published(recipe: Recipe, spec: DatasetSpec, held: int) -> None:
    # The smallest class has at most the mean number of images.
    most = kept_of(spec.images[0] // spec.classes, recipe.validation)
    if recipe.ipc * held > most:
        raise DataError(
            f"{_asked(recipe.ipc, held)} of {recipe.dataset.name!r} has at most {most}: {spec.images[0]} training "
            f"images in {spec.classes} classes; {_advice(most // held)}"
        )
