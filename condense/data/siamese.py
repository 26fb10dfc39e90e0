"""Differentiable siamese augmentation (DSA).

Zhao & Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021, arXiv 2102.08259,
section 3.2: the real and the synthetic batch go through the same random transformation, and the gradient
flows back through it into the synthetic pixels. Strengths are those of the authors' experiments.

Deviations from the paper and its published code:
- Random values come from a generator that is passed in. Their bits differ from a run of the published code;
  their distributions do not.
- A draw can be applied to any number of batches. The published code seeds the global generator again before
  each batch instead.
- Operations are applied in the order in which they are named. The default is the order of the published code.

As in the published code, colour works on normalised pixels. Brightness is added to them, whatever their mean
and standard deviation. Crop, cutout, scale and rotate fill with 0, which is the mean colour, not black. Scale
and rotate resample with `grid_sample`; its backward pass on CUDA is not bitwise repeatable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.views import take_pixels
from condense.recipe.training import Augment

BRIGHTNESS = 0.5
"""Maximum offset in either direction, in normalised units."""
SATURATION = 2.0
"""Maximum factor on the distance from grey; the minimum is 0."""
CONTRAST = 0.5
"""Minimum factor on the distance from the image's mean; the maximum is CONTRAST + 1."""
CROP = 0.125
"""Maximum shift in either direction, as a fraction of the side length."""
CUTOUT = 0.5
"""Side length of the erased square, as a fraction of the image's."""
SCALE = 1.2
"""Maximum factor; the minimum is 1 / SCALE."""
ROTATE = 15.0
"""Maximum angle in either direction, in degrees."""


@dataclass(frozen=True)
class SiameseDraw:
    """The drawn operations for images of side length `size`.

    operations: (name, parameters) in order. Parameters are (n, ...) on the CPU; n is B, or 1 if all images
        share them. A shared draw fits batches of any length.
    """

    size: int
    operations: tuple[tuple[str, Tensor], ...]

    def of(self, own: slice) -> SiameseDraw:
        """Return the draw for some of the images. It must not be a shared one."""
        return SiameseDraw(self.size, tuple((name, drawn[own]) for name, drawn in self.operations))


def draw_siamese(
    options: Augment, count: int, size: int, generator: torch.Generator, *, shared: bool
) -> SiameseDraw:
    """Draw the operations and their parameters for `count` images of side length `size`.

    options: if `siamese_single` is set, one operation of `siamese` is drawn besides those of `siamese_always`,
        otherwise all of them are used. The operations are the same for the whole batch.
    shared: whether all images share one set of parameters. Matching needs this, so that the draw can be
        applied to a real and a synthetic batch alike. Otherwise each image gets its own set, as for training
        on the result.
    """
    names = options.siamese
    single = [name for name in names if name not in options.siamese_always]
    if single and options.siamese_single:
        chosen = single[int(torch.randint(len(single), (), generator=generator))]
        names = tuple(name for name in names if name == chosen or name in options.siamese_always)
    sets = 1 if shared else count
    return SiameseDraw(size, tuple((name, OPERATIONS[name].draw(sets, size, generator)) for name in names))


def apply_siamese(images: Tensor, draw: SiameseDraw) -> Tensor:
    """Return augmented images with the same shape and dtype; differentiable.

    images: (B, C, size, size) float, normalised. Half precision is computed in float32, also under autocast.

    Raises ValueError if the draw is for images of another size or number.
    """
    if images.shape[-2:] != (draw.size, draw.size):
        raise ValueError(f"the draw is for images of side {draw.size}, got shape {tuple(images.shape)}")
    result = images if images.dtype == torch.float64 else images.float()
    with torch.autocast(images.device.type, enabled=False):
        for name, drawn in draw.operations:
            if len(drawn) not in (1, len(images)):
                raise ValueError(f"the draw is for {len(drawn)} images, got {len(images)}")
            parameters = drawn.to(images.device, non_blocking=True)
            if parameters.is_floating_point():
                parameters = parameters.to(result.dtype)
            result = OPERATIONS[name].apply(result, parameters)
    return result.to(images.dtype)


def color(images: Tensor, parameters: Tensor) -> Tensor:
    """Change brightness, then saturation, then contrast.

    parameters: (n, 3): the offset of pixels, the factor on the distance from grey, and the factor on the
        distance from the image's mean. (0, 1, 1) changes nothing.
    """
    offset, saturation, contrast = parameters[:, :, None, None, None].unbind(1)
    images = images + offset
    grey = images.mean(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (images - mean)


def crop(images: Tensor, shift: Tensor) -> Tensor:
    """Pad by `CROP` with zeros and crop again.

    shift: (n, 2) int64, pixels by which the image moves down and right.
    """
    size = images.shape[-1]
    border = _pixels(CROP, size)
    order = torch.arange(size, device=images.device) + border
    rows, columns = (order - shift[:, :, None]).unbind(1)
    return take_pixels(F.pad(images, (border,) * 4), rows, columns)


def cutout(images: Tensor, centre: Tensor) -> Tensor:
    """Set a square to zero; the border clips it.

    centre: (n, 2) int64, row and column of the centre of the square.
    """
    size = images.shape[-1]
    side = _pixels(CUTOUT, size)
    offset = torch.arange(size, device=images.device) - (centre - side // 2)[:, :, None]
    rows, columns = ((offset >= 0) & (offset < side)).unbind(1)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror images left to right if `mirrored` (n,) bool is True for them."""
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def scale(images: Tensor, factors: Tensor) -> Tensor:
    """Resample around the centre.

    factors: (n, 2), along x and y; above 1 shrinks, below 1 enlarges.
    """
    return _affine(images, torch.diag_embed(factors))


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate around the centre.

    angle: (n,) in radians, counter-clockwise.
    """
    cosine, sine = angle.cos(), angle.sin()
    return _affine(images, torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2))


def _affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample images so that output pixel p in [-1, 1]^2 shows the input at matrices @ p.

    matrices: (n, 2, 2). Resampling is bilinear, with zeros outside the input.
    """
    grid = F.affine_grid(F.pad(matrices, (0, 1)), [len(matrices), *images.shape[1:]], align_corners=False)
    return F.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), padding_mode="zeros", align_corners=False
    )


def _pixels(share: float, size: int) -> int:
    """Return a fraction of the side length in whole pixels, with halves rounded up."""
    return int(share * size + 0.5)


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _draw_color(count: int, size: int, generator: torch.Generator) -> Tensor:
    brightness = _uniform(-BRIGHTNESS, BRIGHTNESS, (count,), generator)
    saturation = _uniform(0, SATURATION, (count,), generator)
    contrast = _uniform(CONTRAST, CONTRAST + 1, (count,), generator)
    return torch.stack([brightness, saturation, contrast], dim=1)


def _draw_crop(count: int, size: int, generator: torch.Generator) -> Tensor:
    border = _pixels(CROP, size)
    return torch.randint(-border, border + 1, (count, 2), generator=generator)


def _draw_cutout(count: int, size: int, generator: torch.Generator) -> Tensor:
    # The centre of an even square lies between pixels; there is one more place for it than pixels.
    places = size + 1 - _pixels(CUTOUT, size) % 2
    return torch.randint(places, (count, 2), generator=generator)


def _draw_flip(count: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _draw_scale(count: int, size: int, generator: torch.Generator) -> Tensor:
    return _uniform(1 / SCALE, SCALE, (count, 2), generator)


def _draw_rotate(count: int, size: int, generator: torch.Generator) -> Tensor:
    return _uniform(-math.radians(ROTATE), math.radians(ROTATE), (count,), generator)


class Operation(NamedTuple):
    """An operation on images.

    draw: draw(n, size, generator) returns parameters (n, ...).
    apply: apply(images, parameters) returns images.
    """

    draw: Callable[[int, int, torch.Generator], Tensor]
    apply: Callable[[Tensor, Tensor], Tensor]


OPERATIONS = {
    "color": Operation(_draw_color, color),
    "crop": Operation(_draw_crop, crop),
    "cutout": Operation(_draw_cutout, cutout),
    "flip": Operation(_draw_flip, flip),
    "scale": Operation(_draw_scale, scale),
    "rotate": Operation(_draw_rotate, rotate),
}
