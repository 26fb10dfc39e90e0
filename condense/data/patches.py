"""Patches: an image cut into factor x factor tiles, and put together with its strips of tiles in another order.

Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv 2312.03526, make images of tiles and
train on them with tiles that change places. As in their published code, an image's columns of tiles are permuted, and
its rows, both at random: every tile stays whole and upright, and tiles that share a row or a column go on sharing it.
Strips may then differ in width, so any side can be cut by any factor up to itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense.errors import DataError


@dataclass(frozen=True)
class PatchShuffle:
    """Where the pixels of B images of side S come from, on the CPU: rows, columns, both (B, S) int64."""

    rows: Tensor
    columns: Tensor


def strip_sides(size: int, factor: int) -> list[int]:
    """How many of `size` pixels each of `factor` strips has: the first size % factor strips have one more.

    Raises DataError where a strip would be empty.
    """
    if not 1 <= factor <= size:
        raise DataError(f"{size} pixels cannot be cut into {factor} strips; use 1 to {size}")
    side, rest = divmod(size, factor)
    return [side + (strip < rest) for strip in range(factor)]


def draw_patch_shuffle(factor: int, count: int, size: int, generator: torch.Generator) -> PatchShuffle:
    """Draw an order of the rows of tiles and one of the columns for each of `count` images of side `size`."""
    sides = strip_sides(size, factor)
    strip_of = torch.arange(factor).repeat_interleave(torch.tensor(sides))
    # The place of every strip is a random permutation; a stable sort by it keeps the pixels of a strip in order.
    draws = torch.rand(2, count, factor, generator=generator, dtype=torch.float64)
    places = draws.argsort(dim=2)
    rows, columns = places[:, :, strip_of].argsort(dim=2, stable=True).unbind(0)
    return PatchShuffle(rows, columns)
