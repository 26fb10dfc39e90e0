"""Patches: images cut into factor x factor tiles, whose rows and columns change places.

Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv 2312.03526, make images of
tiles and train on them with the tiles in random places. As in their published code, the columns of tiles of
an image are permuted at random, and so are the rows. Each tile stays whole and upright, and tiles that share
a row or a column still share it. Rows and columns may differ in width, so any side length can be cut by any
factor up to itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from condense.errors import DataError


@dataclass(frozen=True)
class PatchShuffle:
    """The source positions of the pixels of B images of side length S, on the CPU.

    rows, columns: (B, S) int64.
    """

    rows: Tensor
    columns: Tensor

    def of(self, own: slice) -> PatchShuffle:
        """Return the positions for some of the images."""
        return PatchShuffle(self.rows[own], self.columns[own])


def strip_sides(size: int, factor: int) -> list[int]:
    """Return the widths in pixels of `factor` strips that make up `size` pixels.

    The first size % factor strips are one pixel wider. Raises DataError if a strip would be empty.
    """
    if not 1 <= factor <= size:
        raise DataError(f"{size} pixels cannot be cut into {factor} strips; use 1 to {size}")
    side, rest = divmod(size, factor)
    return [side + (strip < rest) for strip in range(factor)]


def draw_patch_shuffle(factor: int, count: int, size: int, generator: torch.Generator) -> PatchShuffle:
    """Draw an order of the rows and one of the columns of tiles, for `count` images of side length `size`."""
    sides = strip_sides(size, factor)
    strip_of = torch.arange(factor).repeat_interleave(torch.tensor(sides))
    # Strips get random places; a stable sort by place keeps the pixels of each strip in order.
    draws = torch.rand(2, count, factor, generator=generator, dtype=torch.float64)
    places = draws.argsort(dim=2)
    rows, columns = places[:, :, strip_of].argsort(dim=2, stable=True).unbind(0)
    return PatchShuffle(rows, columns)
