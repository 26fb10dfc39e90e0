"""CutMix: each image gets a rectangle of another image of the batch, and labels are mixed by area.

Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, ICCV 2019,
arXiv 1905.04899, section 3.1. The centre of the rectangle is uniform over the image. Its side lengths are
size * sqrt(1 - lambda), with lambda from Beta(alpha, alpha). If the border clips the rectangle, labels are
mixed by the area that remains, as in the authors' code. Each batch has one rectangle and one lambda, also as
in their code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class CutMix:
    """The random values of CutMix for a batch of B images.

    size: the side length of the images in pixels.
    permutation: (B,) int64 on the CPU, the image that each image's rectangle comes from.
    box: top, left, bottom, right of the rectangle in pixels; bottom and right are exclusive.
    share: the fraction of its pixels that each image keeps, in [0, 1], after the border clipped the
        rectangle.
    """

    size: int
    permutation: Tensor
    box: tuple[int, int, int, int]
    share: float

    def of(self, own: slice) -> CutMix:
        """Return the draw for some of the images, which are mixed among themselves, in the order of their partners."""
        return replace(self, permutation=self.permutation[own].argsort().argsort())


def draw_cutmix(alpha: float, count: int, size: int, generator: torch.Generator) -> CutMix:
    """Draw the random values for `count` images of side length `size`.

    NumPy draws from Beta, seeded from `generator`, because PyTorch has no public Beta draw that takes a
    generator. Raises ValueError unless alpha is above 0.
    """
    if not alpha > 0:
        raise ValueError(
            f"CutMix needs an alpha above 0 for Beta(alpha, alpha), got {alpha!r}; 0 means: do not mix"
        )
    permutation = torch.randperm(count, generator=generator)
    seed = int(torch.randint(2**62, (), generator=generator))
    kept = float(np.random.default_rng(seed).beta(alpha, alpha))
    side = int(size * math.sqrt(1 - kept))
    row, column = torch.randint(size, (2,), generator=generator).tolist()
    top, bottom = _clipped(row, side, size)
    left, right = _clipped(column, side, size)
    share = 1 - (bottom - top) * (right - left) / size**2
    return CutMix(size, permutation, (top, left, bottom, right), share)


def apply_cutmix(images: Tensor, mix: CutMix) -> Tensor:
    """Return mixed images (B, C, size, size); differentiable, because pixels are only moved.

    images: (B, C, size, size).

    Raises ValueError if `mix` was drawn for images of another size or number.
    """
    if images.shape[-2:] != (mix.size, mix.size) or len(images) != len(mix.permutation):
        wanted = f"{len(mix.permutation)} images of side {mix.size}"
        raise ValueError(f"CutMix was drawn for {wanted}, got shape {tuple(images.shape)}")
    top, left, bottom, right = mix.box
    permutation = mix.permutation.to(images.device, non_blocking=True)
    result = images.clone()
    result[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right].index_select(0, permutation)
    return result


def mix_labels(targets: Tensor, mix: CutMix) -> Tensor:
    """Return probabilities (B, K), mixed by the fraction of pixels that each image keeps.

    targets: (B, K), the probabilities of the images before CutMix.

    Raises ValueError for another shape.
    """
    if targets.ndim != 2 or len(targets) != len(mix.permutation):
        raise ValueError(
            f"CutMix was drawn for {len(mix.permutation)} images and mixes probabilities (B, K), "
            f"got shape {tuple(targets.shape)}; one-hot encode class indices first"
        )
    others = targets.index_select(0, mix.permutation.to(targets.device, non_blocking=True))
    return mix.share * targets + (1 - mix.share) * others


def _clipped(middle: int, side: int, size: int) -> tuple[int, int]:
    """Return the first and one past the last pixel of `side` pixels around `middle`, clipped to [0, size)."""
    start = middle - side // 2
    return max(start, 0), min(start + side, size)
