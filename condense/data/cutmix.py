"""CutMix: a rectangle of every image comes from another image of the batch, and labels are mixed by area.

Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features, ICCV 2019,
arXiv 1905.04899, section 3.1. The rectangle's middle is uniform over the image and its sides are
size sqrt(1 - lambda), lambda from Beta(alpha, alpha). Where the border cuts it off, labels go by the area
that is left, as in the authors' code. One rectangle and one lambda per batch, as there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class CutMix:
    """What was drawn for B images of side `size`.

    permutation: (B,) int64 on the CPU, the image that each image's rectangle comes from.
    box: top, left, bottom, right of the rectangle in pixels, the last two exclusive.
    share: of the pixels that each image keeps, in [0, 1], after the border cut the rectangle off.
    """

    size: int
    permutation: Tensor
    box: tuple[int, int, int, int]
    share: float


def draw_cutmix(alpha: float, count: int, size: int, generator: torch.Generator) -> CutMix:
    """Draw for `count` images of side `size`; alpha above 0.

    PyTorch has no public Beta draw that takes a generator, so NumPy's draws it, seeded from `generator`.
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
    """(B, C, size, size) to the same; differentiable, pixels are only moved."""
    if images.shape[-2:] != (mix.size, mix.size) or len(images) != len(mix.permutation):
        wanted = f"{len(mix.permutation)} images of side {mix.size}"
        raise ValueError(f"CutMix was drawn for {wanted}, got shape {tuple(images.shape)}")
    top, left, bottom, right = mix.box
    permutation = mix.permutation.to(images.device, non_blocking=True)
    result = images.clone()
    result[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right].index_select(0, permutation)
    return result


def mix_labels(targets: Tensor, mix: CutMix) -> Tensor:
    """(B, K) probabilities of the images before mixing to those after: mixed in the shares of the pixels."""
    if targets.ndim != 2 or len(targets) != len(mix.permutation):
        raise ValueError(
            f"CutMix was drawn for {len(mix.permutation)} images and mixes probabilities (B, K), "
            f"got shape {tuple(targets.shape)}; one-hot encode class indices first"
        )
    others = targets.index_select(0, mix.permutation.to(targets.device, non_blocking=True))
    return mix.share * targets + (1 - mix.share) * others


def _clipped(middle: int, side: int, size: int) -> tuple[int, int]:
    """First and one past the last pixel of an interval of `side` about `middle`, within [0, size)."""
    start = middle - side // 2
    return max(start, 0), min(start + side, size)
