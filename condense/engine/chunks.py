"""A chunk of images, and what a step of recover shows of it: parts, real images of its classes, views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.data.parametrizations.base import Coder
from condense.data.siamese import apply_siamese, draw_siamese
from condense.data.views import apply_view, draw_view
from condense.engine.components import WeightedLoss
from condense.engine.work import stored_batch
from condense.models.observation import BatchLabels
from condense.recipe.method import Recover
from condense.recipe.training import Augment
from condense.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A part of the synthetic dataset that is recovered at once: whole classes, or some slots of many classes.

    It has m stored images, which hold n decoded ones; without a parametrization both are the same.

    index: its number.
    labels, slots: (n,) int64, the class and the slot of each decoded image.
    weights: (n,) float32, the weight of each decoded image's slot; the weights of a whole class sum to 1.
    images: (m, C, H, W) float32, the initial images as they are stored.
    """

    index: int
    labels: Tensor
    slots: Tensor
    weights: Tensor
    images: Tensor


def cut_chunks(classes: int, ipc: int, options: Recover, images_per_stored: int = 1) -> list[Tensor]:
    """Return the stored images of each chunk as (m,) int64 indices, class * ipc + number in the class.

    `options.batch`, which counts decoded images, and `options.chunk` say how chunks are cut.
    """
    batch = stored_batch(options, images_per_stored) or classes * ipc
    everything = torch.arange(classes * ipc).view(classes, ipc)
    if options.chunk == "classes":
        return [part.flatten() for part in everything.split(max(1, batch // ipc))]
    rows = {"slots": everything.T.reshape(1, -1), "one-slot": everything.T}[options.chunk]
    return [part for row in rows for part in row.split(batch)]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images that the losses see at once: a whole chunk, or one class of it.

    stored: (m,) int64, the positions of their stored images in the chunk; None for the whole chunk.
    """

    stored: Tensor | None
    batch: BatchLabels
    real: RealBatches


def parts_of_chunk(
    chunk: Chunk, losses: Sequence[WeightedLoss], dataset: RealDataset, runtime: Runtime, coder: Coder
) -> list[Part]:
    """Return the chunk as one part, or as a part for each class if a loss sees one class at a time."""
    wanted: list[Tensor | None] = [None]
    if any(loss.needs.at_once == "one class" for loss in losses):
        of_stored = chunk.labels[:: coder.images_per_stored]
        wanted = [torch.nonzero(of_stored == label)[:, 0] for label in torch.unique(of_stored)]
    parts = []
    for stored in wanted:
        listed = (chunk.labels, chunk.slots, chunk.weights)
        chosen = slice(None) if stored is None else coder.of_decoded(stored)
        labels, slots, weights = (values[chosen] for values in listed)
        parts.append(
            Part(
                stored=None if stored is None else stored.to(runtime.device),
                batch=BatchLabels.of(
                    labels.to(runtime.device), slots.to(runtime.device), weights.to(runtime.device)
                ),
                real=RealBatches(losses, labels, dataset, runtime),
            )
        )
    return parts


class RealBatches:
    """Draws real images of the chunk's classes at every step.

    It draws the maximum `real_per_class` of the losses from each class, or all images of a smaller class.
    """

    def __init__(
        self, losses: Sequence[WeightedLoss], labels: Tensor, dataset: RealDataset, runtime: Runtime
    ) -> None:
        self.per_class = max((loss.needs.real_per_class for loss in losses), default=0)
        classes = torch.unique(labels)
        self._indices = [dataset.train.of_class(label) for label in classes.tolist()]
        taken = torch.tensor([min(self.per_class, len(indices)) for indices in self._indices])
        labels_of_real = classes.repeat_interleave(taken)
        self.batch = BatchLabels.of_real(labels_of_real.to(runtime.device))
        self._feed = feed_of(dataset.train, dataset, runtime) if self.per_class else None
        self.drawn: Tensor | None = None  # (n,) int64 on the CPU, the images of the last draw

    def draw(self, generator: torch.Generator) -> Tensor | None:
        """Return (n, C, S, S) on the device, ordered by class; None if no loss needs real images."""
        if self._feed is None:
            return None
        picks = [
            indices[torch.randperm(len(indices), generator=generator)[: self.per_class]]
            for indices in self._indices
        ]
        self.drawn = torch.cat(picks)
        return self._feed.centre(self.drawn)


def views_of_step(
    pixels: Tensor, real_images: RealBatches, augment: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Return an augmented view of the synthetic images, and one of the real images, or None if there are none.

    Only synthetic images are cropped, flipped and jittered, each with its own draw. One draw of the siamese
    augmentation is applied to both batches.
    """
    size = pixels.shape[-1]
    view = apply_view(pixels, draw_view(augment, len(pixels), size, size, generator))
    real = real_images.draw(generator)
    if augment.siamese:
        draw = draw_siamese(augment, len(pixels), size, generator, shared=True)
        view = apply_siamese(view, draw)
        real = apply_siamese(real, draw) if real is not None else None
    return view, real
