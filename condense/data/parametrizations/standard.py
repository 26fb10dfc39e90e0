"""The parametrizations that come with condense: images as they are, and several smaller images in one.

Enlarging is linear and separable, so it is a product with two small matrices, as in `condense.data.views`:

    out = A_y @ X @ A_x^T

The backward pass of PyTorch's `interpolate` adds with atomics on CUDA, so that the same run would give different bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.parametrizations.base import Coder, Parametrization
from condense.data.parametrizations.catalog import MosaicOptions
from condense.errors import DataError
from condense.recipe.method import IDENTITY, Use
from condense.recipe.specs import NoOptions

_UNFOLDING = """\
# Each image is {factor} x {factor} smaller ones, row by row, to be enlarged: (n, C, H, W) to (n * {count}, C, H, W)
def unfold(images):
    rows = images.tensor_split({factor}, dim=2)
    tiles = [tile for row in rows for tile in row.tensor_split({factor}, dim=3)]
    sized = {{"size": images.shape[2:], "mode": "bilinear", "align_corners": False}}
    tiles = [F.interpolate(tile, **sized) for tile in tiles]
    return torch.stack(tiles, dim=1).flatten(0, 1)
"""


class Identity(Parametrization):
    """Images are stored as they are."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, stored: Tensor) -> Tensor:
        return stored


class Mosaic(Parametrization):
    """A stored image is f x f tiles in reading order; an image is a tile, enlarged bilinearly to the full side length.

    This is the multi-formation of IDC (Kim et al., ICML 2022): `interpolate(tile, size=(H, W),
    mode="bilinear", align_corners=False)`. Deviations from its published code:

    - A side length that f does not divide is cut into tiles of which the first are one pixel longer: 28 into 10, 9
      and 9. IDC fills its initial images in this way, but decodes tiles of 10, 10 and 8 with a grey border.
    - The images of a stored image follow each other. IDC puts the first tiles of all stored images first.
    - Images are made small by least squares; the option `reduce` chooses IDC's way.
    """

    def __init__(self, options: MosaicOptions) -> None:
        self.options = options

    def encode(self, images: Tensor) -> Tensor:
        factor = self.options.factor
        stored = images.new_empty((len(images) // factor**2, *images.shape[1:]))
        for number, tile in enumerate(self._tiles(stored)):
            chosen, size = images[number :: factor**2], tile.shape[2:]
            if self.options.reduce == "sample":
                tile.copy_(F.interpolate(chosen, size=size, mode="nearest"))
            else:
                tile.copy_(_product(_fitting, chosen, size))
        return stored

    def decode(self, stored: Tensor) -> Tensor:
        enlarged = [_product(_enlarging, tile, stored.shape[2:]) for tile in self._tiles(stored)]
        return torch.stack(enlarged, dim=1).flatten(0, 1)

    def unfolding(self) -> str:
        return _UNFOLDING.format(factor=self.options.factor, count=self.options.factor**2)

    def _tiles(self, stored: Tensor) -> Iterator[Tensor]:
        """Yield each tile of stored images (n, C, H, W) as a view, row by row."""
        factor, (height, width) = self.options.factor, stored.shape[2:]
        if factor > min(height, width):
            raise DataError(
                f"a mosaic of {factor} x {factor} images does not fit into {height}x{width} pixels; use a smaller "
                "--set parametrization.factor"
            )
        for row in stored.tensor_split(factor, dim=2):
            yield from row.tensor_split(factor, dim=3)


def _product(matrix: Callable[..., Tensor], images: Tensor, size: torch.Size) -> Tensor:
    """Return images (n, C, H, W) with their lines and columns brought to `size` by the products with matrices."""
    place = (images.dtype, images.device)
    rows = matrix(images.shape[2], size[0], *place)
    columns = matrix(images.shape[3], size[1], *place)
    return rows @ images @ columns.T


@lru_cache(maxsize=64)
def _enlarging(before: int, after: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix (after, before) that enlarges a line of pixels as `interpolate` does."""
    lines = torch.eye(before, dtype=torch.float64)[None, None]
    made: Tensor = F.interpolate(lines, size=(after, before), mode="bilinear", align_corners=False)[0, 0]
    return made.to(device, dtype)


@lru_cache(maxsize=64)
def _fitting(before: int, after: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix (after, before) that gives the short line whose enlargement is nearest to a line of pixels."""
    exact = _enlarging(after, before, torch.float64, torch.device("cpu"))
    fitting: Tensor = torch.linalg.pinv(exact)
    return fitting.to(device, dtype)


AS_THEY_ARE = Coder(Use(name=IDENTITY), Identity(NoOptions()), 1)
