"""RDED's images: of real images the crops that the teacher finds easiest, several of them side by side.

Sun et al., On the Diversity and Realism of Distilled Dataset, CVPR 2024, arXiv 2312.03526, section 4 and figure 3;
published code LINs-lab/RDED. For every class:

1. take a pool of real images and several random crops of each, shrunk to the size of a tile;
2. score each crop by the teacher's cross-entropy with the true label, the crop in the middle of a canvas of the mean
   colour as large as an image (so the code; the paper calls the negative loss the realism score);
3. keep the best crop of every image, and of those the best ipc x factor^2;
4. tile k of image j is the one ranked k x ipc + j, so every image has tiles of all ranks.

Deviations: tiles that are one pixel larger, where the factor does not divide the side, are resized bilinearly (there to
the nearest pixel); images are kept without JPEG.
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

# Images of the pool that are read, cropped and looked at together.
_BATCH = 64


class RdedImages(Initializer):
    """Tiles of real images, each from another one."""

    def __init__(self, options: RdedOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        """(ipc, C, S, S), normalised. Raises DataError where the class has fewer images than there are tiles."""
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
    """The best crop of each of the training images (b,), normalised (b, C, side, side), and before it its loss (b,)."""
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
    """(b,) the teacher's cross-entropy with the class of `request` for crops (b, C, s, s), normalised, none larger than
    an image; each is shown in the middle of an image that is 0 elsewhere.
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
    """(n, C, S, S) of crops (n * f * f, C, s, s): tile (row, column) of image j is crop (row * f + column) * n + j.

    sides: the heights of the f rows, and the widths of the columns; S is their sum.
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
