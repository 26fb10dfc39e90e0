"""RDED's images: tiles, side by side, from the crops of real images that the teacher finds easiest.

Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv 2312.03526, section 4 and
figure 3; published code LINs-lab/RDED. For every class:

1. Take a pool of real images and several random crops of each, shrunk to the size of a tile.
2. Score each crop by the teacher's cross-entropy with the true label. The teacher sees the crop in the centre
   of an image that otherwise has the mean colour (as in the code; the paper calls the negative loss the
   realism score).
3. Keep the best crop of every image, and of those the best ipc x factor^2.
4. Make the crop of rank k x ipc + j tile k of image j, so that every image has tiles of all ranks.

Deviations:

- If the factor does not divide the side length, some tiles are one pixel larger. They are resized bilinearly;
  the code resizes to the nearest pixel.
- Images are kept without JPEG.
- Crops are taken from images as they are stored. Of a photograph that is the centre square, reduced to 256
  pixels for networks of 224. The code crops whole photographs at full resolution, so its crops reach the edges
  and are sharper.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import (
    Augment,
    DataError,
    Initializer,
    InitialRequest,
    NumericalError,
    apply_view,
    centre_crop,
    draw_view,
    normalise,
    strip_sides,
)
from condense_baselines.options import RdedOptions

# How many images of the pool are read, cropped and scored together.
_BATCH = 64


class RdedImages(Initializer):
    """Makes images from tiles; each tile comes from another real image."""

    def __init__(self, options: RdedOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        """Return (ipc, C, S, S), normalised. Raises DataError if the class has fewer images than tiles."""
        factor, indices = self.options.factor, request.real()
        wanted = request.ipc * factor**2
        if len(indices) < wanted:
            raise DataError(
                f"class {request.dataset.classes[request.label]!r} has {len(indices)} training images, and RDED wants "
                f"{wanted}: {request.ipc} images of {factor} x {factor} tiles, each from another one; use a smaller "
                "--ipc, or fewer tiles with --set initializer.factor=1"
            )
        sides = strip_sides(request.dataset.size, factor)
        shuffled = indices[torch.randperm(len(indices), generator=request.generator)]
        pool = shuffled[: max(self.options.pool, wanted)]
        best = [easiest_crops(part, sides[-1], self.options, request) for part in pool.split(_BATCH)]
        losses, crops = (torch.cat(parts) for parts in zip(*best, strict=True))
        return tiled(crops[losses.argsort(stable=True)[:wanted]], sides)


def easiest_crops(
    indices: Tensor, side: int, options: RdedOptions, request: InitialRequest
) -> tuple[Tensor, Tensor]:
    """Return the losses (b,) and the best crops (b, C, side, side) of the training images `indices` (b,).

    The crops are normalised.
    """
    dataset, runtime = request.dataset, request.runtime
    pixels = dataset.train.images.read(indices)
    square = centre_crop(pixels, min(pixels.shape[-2:])).to(runtime.device)
    images = normalise(square, dataset.mean, dataset.std)
    cropping = Augment(crop_scale=options.crop_scale, crop_ratio=(1.0, 1.0))
    crops = torch.stack(
        [
            apply_view(images, draw_view(cropping, len(images), images.shape[-1], side, request.generator))
            for _ in range(options.crops)
        ]
    )
    losses = torch.stack([teacher_losses(taken, request) for taken in crops])
    least, which = losses.min(dim=0)
    return least.cpu(), crops[which, torch.arange(len(images), device=which.device)].cpu()


def teacher_losses(crops: Tensor, request: InitialRequest) -> Tensor:
    """Return (b,), the teacher's cross-entropy of crops (b, C, s, s) with the class of `request`.

    The crops are normalised and no larger than an image; each is shown in the centre of an image that is 0
    elsewhere. Raises NumericalError if a loss is not finite.
    """
    border = request.dataset.size - crops.shape[-1]
    before, after = border // 2, border - border // 2
    logits = request.look(F.pad(crops, (before, after, before, after))).logits
    labels = torch.full((len(logits),), request.label, device=logits.device)
    losses = F.cross_entropy(logits, labels, reduction="none")
    if not bool(torch.isfinite(losses).all()):
        name = request.dataset.classes[request.label]
        raise NumericalError(
            f"the teacher's losses of crops of class {name!r} are not finite; try --precision fp32, or another teacher"
        )
    return losses


def tiled(crops: Tensor, sides: list[int]) -> Tensor:
    """Return (n, C, S, S), made of crops (n * f * f, C, s, s).

    Tile (row, column) of image j is crop (row * f + column) * n + j.
    sides: the heights of the f rows, which are also the widths of the f columns; S is their sum.
    """
    factor = len(sides)
    grid = crops.unflatten(0, (factor, factor, -1))
    rows = [
        torch.cat([_sized(grid[i, j], height, width) for j, width in enumerate(sides)], dim=3)
        for i, height in enumerate(sides)
    ]
    return torch.cat(rows, dim=2)


def _sized(tiles: Tensor, height: int, width: int) -> Tensor:
    if tiles.shape[-2:] == (height, width):
        return tiles
    return F.interpolate(tiles, (height, width), mode="bilinear", antialias=True, align_corners=False)
