"""The real dataset of a recipe, as its teacher looks at it."""

from __future__ import annotations

from condense.data.dataset import MemoryImages, RealDataset
from condense.data.load import load_dataset
from condense.engine.work import Counts
from condense.models.pretrained import preprocessing_of
from condense.recipe.config import Machine, Recipe
from condense.recipe.registry import Registry
from condense.runtime import Runtime


def real_dataset(
    recipe: Recipe, machine: Machine, registry: Registry, runtime: Runtime | None = None
) -> RealDataset:
    """Return the real dataset of a recipe.

    runtime: as in `load_dataset`.

    If the teacher has pretrained weights, images are resized, cropped and normalised as these want them, here and in
    the distilled dataset. Raises DataError if the dataset is missing or not usable, and what `preprocessing_of` raises.
    """
    return load_dataset(recipe, machine, registry, preprocessing_of(recipe.teacher.model, registry), runtime)


def counts_in(dataset: RealDataset) -> Counts:
    """Return the counts of a dataset that is loaded."""
    return Counts(
        classes=len(dataset.classes),
        train=len(dataset.train),
        test=len(dataset.test),
        side=dataset.size,
        channels=dataset.channels,
        in_memory=isinstance(dataset.train.images, MemoryImages),
    )
