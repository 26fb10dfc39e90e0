"""Loading of the real dataset that a configuration names."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from condense.data.ahead import kept_of
from condense.data.dataset import (
    DatasetRequest,
    ImageSource,
    MemoryImages,
    RealDataset,
    Split,
    default_data_dir,
)
from condense.data.images import FolderImages
from condense.data.preprocessing import Preprocessing
from condense.errors import DataError
from condense.recipe.config import Machine, Recipe
from condense.recipe.plugin_code import plugin_code, titled
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.rng import generator
from condense.runtime import Runtime


def load_dataset(
    recipe: Recipe,
    machine: Machine,
    registry: Registry,
    preprocessing: Preprocessing | None = None,
    runtime: Runtime | None = None,
) -> RealDataset:
    """Return the real dataset of a recipe. Raises DataError if it is missing or not usable.

    preprocessing: how the teacher's pretrained weights want their images; None: as the dataset says itself.
    runtime: is told about the progress and says how many processes may decode; None: nobody, and none.

    If a split has to be drawn, the teacher's seed is used: runs that share a teacher must share its images.
    """
    name, seed = recipe.dataset.name, recipe.teacher_seed
    spec, argument = registry.dataset(name)
    data_dir = Path(machine.data_dir) if machine.data_dir else default_data_dir(os.environ)
    request = DatasetRequest(
        name=name, argument=argument, data_dir=data_dir, seed=seed, preprocessing=preprocessing
    )
    if runtime:
        request = replace(request, reporter=runtime.reporter, loaders=runtime.loaders)
    builder, options = spec.builder(), options_of(recipe.dataset, "dataset", registry)
    title = titled("dataset", spec.name, registry.plugin_of("dataset", spec.name))
    with plugin_code(title, "build", generator(seed, "plugin", "dataset", spec.name)):
        loaded: RealDataset = builder(options, request)
    if preprocessing:
        loaded = prepared(loaded, preprocessing)
    return hold_out(loaded, recipe.validation, seed) if recipe.validation else loaded


def prepared(dataset: RealDataset, preprocessing: Preprocessing) -> RealDataset:
    """Return the dataset with the normalisation of pretrained weights; that of grey images is its mean over colours."""
    mean, std = preprocessing.mean, preprocessing.std
    if dataset.channels == 1:
        mean, std = (statistics.fmean(mean),), (statistics.fmean(std),)
    notes = []
    if (mean, std) != (dataset.mean, dataset.std):
        shown = [", ".join(f"{value:.3f}" for value in values) for values in (mean, std)]
        notes.append(
            f"images are normalised as the teacher's pretrained weights want them: mean {shown[0]}, std {shown[1]}"
        )
    if preprocessing.size != dataset.size:
        notes.append(
            f"the teacher's pretrained weights are for images of {preprocessing.size}x{preprocessing.size}, and "
            f"{dataset.name} is looked at as {dataset.size}x{dataset.size}"
        )
    return replace(dataset, mean=mean, std=std, notes=(*dataset.notes, *notes))


def hold_out(dataset: RealDataset, fraction: float, seed: int) -> RealDataset:
    """Return the dataset with some of its training images in place of its test images, for tuning.

    fraction: of each class, in (0, 1). At least one image of each class is held out, and at least one stays.

    Raises DataError if a class has only one training image.
    """
    held: list[Tensor] = []
    kept: list[Tensor] = []
    for label, name in enumerate(dataset.classes):
        indices = dataset.train.of_class(label)
        if len(indices) < 2:
            raise DataError(f"class {name!r} has {len(indices)} training image, too few to hold any out")
        order = indices[torch.randperm(len(indices), generator=generator(seed, "validation", label))]
        count = len(indices) - kept_of(len(indices), fraction)
        held.append(order[:count])
        kept.append(order[count:])
    note = (
        f"tuning: {fraction:.0%} of the training images stand in for the test images, which are not looked at"
    )
    return replace(
        dataset,
        train=part_of(dataset.train, torch.cat(kept).sort().values),
        test=part_of(dataset.train, torch.cat(held).sort().values),
        notes=(*dataset.notes, note),
    )


@dataclass(frozen=True)
class Selected:
    """The images of another source at the positions `chosen` (n,) int64."""

    images: ImageSource
    chosen: Tensor

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape

    @property
    def by_processes(self) -> bool:
        return getattr(self.images, "by_processes", False)

    def read(self, indices: Tensor) -> Tensor:
        return self.images.read(self.chosen[indices])


def part_of(split: Split, chosen: Tensor) -> Split:
    """Return the images of a split at the positions `chosen` (n,) int64."""
    images = split.images
    if isinstance(images, MemoryImages):
        return Split(MemoryImages(images.pixels[chosen]), split.labels[chosen])
    if isinstance(images, FolderImages):
        return Split(images.take(chosen), split.labels[chosen])
    return Split(Selected(images, chosen), split.labels[chosen])
