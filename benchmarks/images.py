"""A dataset for benchmarks in which it does not matter what the images show."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from condense.data.dataset import MemoryImages, RealDataset, Split


def noise(classes: int, per_class: int, channels: int, size: int) -> RealDataset:
    """Return smooth noise with one colour for every class; what images show does not matter for the time."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(per_class)
    colours = torch.rand(classes, channels, 1, 1, generator=source)
    coarse = 0.6 * torch.rand(len(labels), channels, 7, 7, generator=source) + 0.4 * colours[labels]
    pixels = 255 * F.interpolate(coarse, size=size, mode="bilinear")
    split = Split(MemoryImages(pixels.to(torch.uint8)), labels)
    return RealDataset(
        name="noise",
        classes=tuple(f"class {label}" for label in range(classes)),
        train=split,
        test=split,
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
