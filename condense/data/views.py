"""Views of images: shuffled patches, random resized crops, flips and rolled shifts, drawn for each image.

A bilinear resize of a crop is linear and separable. A view is therefore two small matrices per image:

    out = A_y @ X @ A_x^T

Flip and shift reorder the rows of the matrices. `grid_sample` has no antialiasing, and its backward pass on
CUDA adds with atomics, so that the same run would give different bits. Matrix products have neither fault.
They obey PyTorch's setting for float32 matrix products: if a program allows TF32, pixels keep 11 bits, which
is still finer than the 8 bits they are stored with.

This module exists because torchvision.transforms.v2 draws one set of parameters for a whole batch, and only
from the global generator.
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
"""Number of tries to draw a crop that fits, as in torchvision."""


@dataclass(frozen=True)
class View:
    """The random values of a view for each of B images; tensors are on the CPU.

    stored: the side length of the stored images in pixels.
    size: the side length of the views in pixels.
    box: (B, 4) int64, top, left, height, width of the crop in stored pixels; None: the centre of side length
        `size`.
    flip: (B,) bool, whether to mirror left to right; None: no image is mirrored.
    shift: (B, 2) int64, pixels down and right, rolled around the border after crop and flip; None: no shift.
    patches: the order of the patches of the stored image, before the crop; None: unchanged.
    """

    stored: int
    size: int
    box: Tensor | None = None
    flip: Tensor | None = None
    shift: Tensor | None = None
    patches: PatchShuffle | None = None

    def of(self, own: slice) -> View:
        """Return the view of some of the images."""
        box, flip, shift = (
            None if drawn is None else drawn[own] for drawn in (self.box, self.flip, self.shift)
        )
        patches = None if self.patches is None else self.patches.of(own)
        return View(self.stored, self.size, box, flip, shift, patches)


def draw_view(options: Augment, count: int, stored: int, size: int, generator: torch.Generator) -> View:
    """Draw a view of side length `size` for each of `count` images of side length `stored`.

    Raises DataError if `stored` is below `size` without `crop_scale`, because nothing would resize the
    images, or if `stored` is below `shuffle_patches`.
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
    """Return views (B, C, size, size) of images (B, C, stored, stored), same float dtype; differentiable.

    Without a resized crop, pixels are moved and never computed; if nothing moves either, they are not copied.
    Half precision is computed in float32, also under autocast.

    Raises ValueError if the view was drawn for images of another size or number.
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
    """Return out (B, C, h, w): out[b, c, y, x] = images[b, c, rows[b, y], columns[b, x]], exactly.

    images: (B, C, H, W).
    rows: (B or 1, h) int64. None takes all rows in order.
    columns: (B or 1, w) int64. None takes all columns in order.
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
    """Return the row and the column of the resized crop that each output pixel shows.

    Both are (B, size) or (1, size) int64; None means that each pixel shows its own.
    """
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
    """Return matrices (B, size, stored) that resize a crop along one direction.

    They compute F.interpolate(mode="bilinear", antialias=True).

    start, extent: (B,) int64, the first pixel of the crop and its length.
    positions: (B or 1, size) int64, the pixel of the resized crop that each row of the matrix computes.

    Pixel centres lie at halves. The weights form a triangle that reaches one pixel to each side when
    enlarging, and extent / size pixels when reducing. They are 0 outside the crop and are divided by their
    sum.
    """
    size = positions.shape[1]
    # In units of 1 / (2 size) stored pixels, all distances are whole numbers, which float32 holds exactly.
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
    """Return crops (count, 4) int64: top, left, height, width, as torchvision's RandomResizedCrop draws them.

    Area, logarithm of width / height, and place are uniform. A crop gets 10 tries to fit; if none does, it is
    the largest central crop of an allowed ratio. All tries of all images are drawn at once.
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
    """Return the largest central crop of a square with width / height within `ratio`, (4,) int64."""
    height = min(stored, max(1, round(stored / ratio[0])))
    width = min(stored, max(1, round(stored * ratio[1])))
    return torch.tensor([(stored - height) // 2, (stored - width) // 2, height, width])
