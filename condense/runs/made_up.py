"""Made-up images that stand for a real dataset while steps are timed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data.dataset import ImageSource, MemoryImages, RealDataset, Split
from condense.data.feed import Feed
from condense.engine.work import Counts
from condense.rng import generator
from condense.runtime import Runtime

_POOL = 256  # images that stand for a larger number
_IN_MEMORY = 2**28  # maximum bytes of made-up images that are kept apart


@dataclass(frozen=True)
class Noise:
    """An ImageSource of n images that repeats a few made-up ones. pool: (p, C, S, S) uint8."""

    pool: Tensor
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.pool.shape[1:]
        return int(channels), int(height), int(width)

    def read(self, indices: Tensor) -> Tensor:
        return self.pool[indices % len(self.pool)]


def noise_dataset(counts: Counts, classes: int) -> RealDataset:
    """Return a dataset of made-up images with the counts' side length and images per class, of so many classes."""
    draws = generator(0, "plan")
    shape = (counts.channels, counts.side, counts.side)
    pool = torch.randint(0, 256, (_POOL, *shape), generator=draws, dtype=torch.uint8)

    def split(per_class: int) -> Split:
        total = per_class * classes
        images: ImageSource = Noise(pool, total)
        if counts.in_memory and total * counts.bytes_of_image < _IN_MEMORY:
            images = MemoryImages(images.read(torch.arange(total)))
        return Split(images, torch.arange(total) % classes)

    return RealDataset(
        name="made-up",
        classes=tuple(f"class {label}" for label in range(classes)),
        train=split(max(1, counts.train // counts.classes)),
        test=split(max(1, counts.test // counts.classes)),
        size=counts.side,
        mean=(0.5,) * counts.channels,
        std=(0.29,) * counts.channels,
    )


def pool_of(dataset: RealDataset) -> Tensor:
    """Return a few images of a made-up dataset, (p, C, S, S) uint8."""
    return dataset.train.images.read(torch.arange(min(_POOL, len(dataset.train))))


def noise_feed(dataset: RealDataset, count: int, runtime: Runtime) -> Feed:
    """Return the feed of `count` images and labels that are made up like those of a made-up dataset."""
    return Feed(
        Noise(pool_of(dataset), count),
        torch.arange(count) % len(dataset.classes),
        size=dataset.size,
        mean=dataset.mean,
        std=dataset.std,
        runtime=runtime,
    )
