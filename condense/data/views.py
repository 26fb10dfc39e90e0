"""Views of images: patches in another order, random resized crops, flips and rolled shifts, drawn for every image.

A bilinear resize of a crop is linear and separable, so a view is two small matrices per image,
out = A_y @ X @ A_x^T, with flip and shift as a reordering of their rows. `grid_sample` could do it too, but
its backward adds with atomics on CUDA, so the same run would give other bits, and it has no antialiasing.
Matrix products have neither fault. (They obey PyTorch's setting for float32 matrix products: where a program
allows TF32, pixels keep its 11 bits, still finer than the 8 they are stored with.)

torchvision.transforms.v2 draws one set of parameters for a whole batch, and only from the global generator;
that is why this module exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data.patches import PatchShuffle, draw_patch_shuffle
from condense.data.pixels import centre_crop
from condense.errors import DataError
from condense.recipe.training import Augment

_TRIES = 10
"""How often a crop that does not fit is drawn again, as torchvision does."""


@dataclass(frozen=True)
class View:
    """What was drawn for B images of side `stored` that are to be seen at side `size`; tensors on the CPU.

    box: (B, 4) int64, top, left, height, width of the crop in stored pixels; None: the middle of side `size`.
    flip: (B,) bool, mirrored left to right; None: none is.
    shift: (B, 2) int64, pixels down and right, rolled around the border after crop and flip; None: no shift.
    patches: the order of the tiles of the stored image, before the crop; None: as they are.
    """

    stored: int
    size: int
    box: Tensor | None = None
    flip: Tensor | None = None
    shift: Tensor | None = None
    patches: PatchShuffle | None = None


def draw_view(options: Augment, count: int, stored: int, size: int, generator: torch.Generator) -> View:
    """Draw a view for each of `count` images of side `stored`, to be seen at side `size`.

    Raises DataError where `stored` is below `size` and no `crop_scale` is set, for then nothing would resize, or where
    an image has fewer pixels to a side than `shuffle_patches`.
    """
    if options.crop_scale is None and stored < size:
        raise DataError(
            f"images of side {stored} cannot be cropped to {size}; store them at {size} or more, or set "
            "crop_scale, so that crops are resized"
        )
    box = flip = shift = patches = None
    if options.shuffle_patches > 1:
        patches = draw_patch_shuffle(options.shuffle_patches, count, stored, generator)
    if options.crop_scale is not None:
        box = _draw_boxes(options.crop_scale, options.crop_ratio, count, stored, generator)
    if options.flip:
        flip = torch.rand(count, generator=generator) < 0.5
    limit = round(options.jitter * size)
    if limit > 0:
        shift = torch.randint(-limit, limit + 1, (count, 2), generator=generator)
    return View(stored, size, box, flip, shift, patches)


def apply_view(images: Tensor, view: View) -> Tensor:
    """(B, C, stored, stored) floats to (B, C, size, size), same dtype; differentiable.

    Without a resized crop pixels are only moved, never computed. With nothing to do the images themselves
    come back. Half precision is computed in float32, also under autocast.
    """
    _check_batch(images, view)
    if view.patches is not None:
        order = (view.patches.rows, view.patches.columns)
        images = take_pixels(images, *(part.to(images.device, non_blocking=True) for part in order))
    rows, columns = _source_positions(view, images.device)
    if view.box is None:
        return take_pixels(centre_crop(images, view.size), rows, columns)
    dtype = images.dtype if images.dtype == torch.float64 else torch.float32
    top, left, height, width = view.box.to(images.device, non_blocking=True).unbind(1)
    identity = torch.arange(view.size, device=images.device)[None]
    vertical = _interpolation(top, height, identity if rows is None else rows, view.stored, dtype)
    horizontal = _interpolation(left, width, identity if columns is None else columns, view.stored, dtype)
    with torch.autocast(images.device.type, enabled=False):
        wide = torch.einsum("bcij,bxj->bcix", images.to(dtype), horizontal)
        return torch.einsum("byi,bcix->bcyx", vertical, wide).to(images.dtype)


def take_pixels(images: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """(B, C, h, w): out[b, c, y, x] = images[b, c, rows[b, y], columns[b, x]], exactly.

    rows: (B or 1, h) int64. columns: (B or 1, w) int64. None takes all in order.
    """
    batch, channels, height, width = images.shape
    if rows is not None:
        images = images.gather(2, rows[:, None, :, None].expand(batch, channels, -1, width))
        height = rows.shape[1]
    if columns is not None:
        images = images.gather(3, columns[:, None, None, :].expand(batch, channels, height, -1))
    return images


def _check_batch(images: Tensor, view: View) -> None:
    if images.shape[-2:] != (view.stored, view.stored):
        raise ValueError(
            f"the view was drawn for images of side {view.stored}, got shape {tuple(images.shape)}"
        )
    rows = None if view.patches is None else view.patches.rows
    for drawn in (view.box, view.flip, view.shift, rows):
        if drawn is not None and len(drawn) != len(images):
            raise ValueError(f"the view was drawn for {len(drawn)} images, got {len(images)}")


def _source_positions(view: View, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """Which row (B, size) and column (B, size) of the resized crop each output pixel shows; None: its own."""
    rows = columns = None
    order = torch.arange(view.size, device=device)[None]
    if view.shift is not None:
        down, right = view.shift.to(device, non_blocking=True).unbind(1)
        rows = (order - down[:, None]) % view.size
        columns = (order - right[:, None]) % view.size
    if view.flip is not None:
        flip = view.flip.to(device, non_blocking=True)[:, None]
        columns = order if columns is None else columns
        columns = torch.where(flip, view.size - 1 - columns, columns)
    return rows, columns


def _interpolation(
    start: Tensor, extent: Tensor, positions: Tensor, stored: int, dtype: torch.dtype
) -> Tensor:
    """(B, size, stored): F.interpolate(mode="bilinear", antialias=True) of a crop along one side, as matrix.

    start, extent: (B,) int64, the crop's first pixel and its length. positions: (B or 1, size) int64, which
    pixel of the resized crop each row gives.
    Pixel centres lie at halves. Weights are a triangle that reaches one pixel to each side when enlarging and
    extent / size pixels when reducing, 0 outside the crop, divided by their sum.
    """
    size = positions.shape[1]
    # In units of 1 / (2 size) stored pixels all distances are whole numbers, so float32 has them exactly.
    shown = (2 * positions + 1) * extent[:, None]
    pixel = torch.arange(stored, device=start.device) - start[:, None]
    inside = (pixel >= 0) & (pixel < extent[:, None])
    reach = 2 * extent.clamp_min(size)[:, None, None]
    distance = (size * (2 * pixel + 1)).to(dtype)[:, None, :] - shown.to(dtype)[:, :, None]
    weights = distance.abs_().neg_().add_(reach).clamp_(min=0).mul_(inside[:, None, :])
    return weights.div_(weights.sum(2, keepdim=True))


def _draw_boxes(
    scale: tuple[float, float],
    ratio: tuple[float, float],
    count: int,
    stored: int,
    generator: torch.Generator,
) -> Tensor:
    """(count, 4) int64, top, left, height, width: the distribution of torchvision's RandomResizedCrop.

    Area uniform, log of width / height uniform, up to 10 tries until it fits, place uniform; where no try
    fits, the largest central crop of an allowed ratio. All tries of all images are drawn at once.
    """
    draws = torch.rand(count, 2 * _TRIES + 2, generator=generator, dtype=torch.float64)
    area_draws, ratio_draws, place = draws[:, :_TRIES], draws[:, _TRIES:-2], draws[:, -2:]
    area = (scale[0] + (scale[1] - scale[0]) * area_draws) * stored**2
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + (high - low) * ratio_draws)
    heights, widths = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()
    fits = (heights > 0) & (heights <= stored) & (widths > 0) & (widths <= stored)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    fitted = torch.cat([heights.gather(1, first), widths.gather(1, first)], dim=1)
    corner = (place * (stored - fitted + 1)).floor()
    drawn = torch.cat([corner, fitted], dim=1).to(torch.int64)
    return torch.where(fits.any(1, keepdim=True), drawn, _central_box(ratio, stored))


def _central_box(ratio: tuple[float, float], stored: int) -> Tensor:
    """(4,) int64: the largest crop in the middle of a square whose width / height is within `ratio`."""
    height = min(stored, max(1, round(stored / ratio[0])))
    width = min(stored, max(1, round(stored * ratio[1])))
    return torch.tensor([(stored - height) // 2, (stored - width) // 2, height, width])
