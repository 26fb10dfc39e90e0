"""Differentiable siamese augmentation (DSA).

Zhao & Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021, arXiv 2102.08259,
section 3.2: the real and the synthetic batch go through the same random transformation, and the gradient
flows back through it into the synthetic pixels. Strengths are those of the authors' experiments.

Deviations from the paper and its published code:
- Randomness comes from a passed generator, so the bits differ from a run of theirs; the distributions do not.
- A draw is a value of its own and is applied to as many batches as one likes; the published code seeds the
  global generator again before each batch.
- Operations apply in the order in which they are named, by default that of the published code.

As in the published code, colour works on normalised pixels: brightness adds to them, whatever their mean and
spread, and what crop, cutout, scale and rotate bring in is 0, the mean colour, not black.
`grid_sample` resamples for scale and rotate; its backward on CUDA is not bit for bit repeatable.
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
"""Greatest offset, either way, in normalised units."""
SATURATION = 2.0
"""Greatest factor on the distance from grey; the least is 0."""
CONTRAST = 0.5
"""Least factor on the distance from the image's mean; the greatest is 1 more."""
CROP = 0.125
"""Greatest shift, either way, as a share of the side."""
CUTOUT = 0.5
"""Side of the erased square as a share of the image's."""
SCALE = 1.2
"""Greatest factor, and one over the least."""
ROTATE = 15.0
"""Greatest angle, either way, in degrees."""


@dataclass(frozen=True)
class SiameseDraw:
    """Operations in order, each with its parameters, for images of side `size`.

    operations: (name, parameters); parameters (n, ...) on the CPU, n = B, or 1 where every image shares them,
    in which case the draw fits batches of any length.
    """

    size: int
    operations: tuple[tuple[str, Tensor], ...]


def draw_siamese(
    options: Augment, count: int, size: int, generator: torch.Generator, *, shared: bool
) -> SiameseDraw:
    """Draw for `count` images of side `size`: one of `options.siamese`, or all where not `siamese_single`.

    shared: one set of parameters for every image, so that it can be applied to a real and a synthetic batch
    alike, as matching needs; else one set per image, as for training on the result. The operation itself is
    the same for the whole batch either way.
    """
    names = options.siamese
    if names and options.siamese_single:
        names = (names[int(torch.randint(len(names), (), generator=generator))],)
    sets = 1 if shared else count
    return SiameseDraw(size, tuple((name, OPERATIONS[name].draw(sets, size, generator)) for name in names))


def apply_siamese(images: Tensor, draw: SiameseDraw) -> Tensor:
    """(B, C, size, size) normalised floats to the same shape and dtype; differentiable.

    Half precision is computed in float32, also under autocast.
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
    """Brightness, then saturation, then contrast.

    parameters: (n, 3), added to pixels, multiplies the distance from grey, multiplies the distance from the
    image's mean; (0, 1, 1) changes nothing.
    """
    offset, saturation, contrast = parameters[:, :, None, None, None].unbind(1)
    images = images + offset
    grey = images.mean(1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + contrast * (images - mean)


def crop(images: Tensor, shift: Tensor) -> Tensor:
    """Pad by `CROP` with zeros and crop again. shift: (n, 2) int64, pixels the image moves down and right."""
    size = images.shape[-1]
    border = _pixels(CROP, size)
    order = torch.arange(size, device=images.device) + border
    rows, columns = (order - shift[:, :, None]).unbind(1)
    return take_pixels(F.pad(images, (border,) * 4), rows, columns)


def cutout(images: Tensor, centre: Tensor) -> Tensor:
    """Set a square to zero, cut off at the border. centre: (n, 2) int64, row and column of its middle."""
    size = images.shape[-1]
    side = _pixels(CUTOUT, size)
    offset = torch.arange(size, device=images.device) - (centre - side // 2)[:, :, None]
    rows, columns = ((offset >= 0) & (offset < side)).unbind(1)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Mirror left to right where `mirrored` (n,) bool says so."""
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def scale(images: Tensor, factors: Tensor) -> Tensor:
    """Resample about the middle. factors: (n, 2), along x and y; above 1 shrinks, below enlarges."""
    return _affine(images, torch.diag_embed(factors))


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """Turn about the middle. angle: (n,) in radians, counter-clockwise."""
    cosine, sine = angle.cos(), angle.sin()
    return _affine(images, torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2))


def _affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Each output pixel p in [-1, 1]^2 shows the input at matrices (n, 2, 2) @ p, bilinear, zeros outside."""
    grid = F.affine_grid(F.pad(matrices, (0, 1)), [len(matrices), *images.shape[1:]], align_corners=False)
    return F.grid_sample(
        images, grid.expand(len(images), -1, -1, -1), padding_mode="zeros", align_corners=False
    )


def _pixels(share: float, size: int) -> int:
    """A share of the side in whole pixels, halves up."""
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
    # An even square has its middle between pixels, so one more place for it than there are pixels.
    places = size + 1 - _pixels(CUTOUT, size) % 2
    return torch.randint(places, (count, 2), generator=generator)


def _draw_flip(count: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _draw_scale(count: int, size: int, generator: torch.Generator) -> Tensor:
    return _uniform(1 / SCALE, SCALE, (count, 2), generator)


def _draw_rotate(count: int, size: int, generator: torch.Generator) -> Tensor:
    return _uniform(-math.radians(ROTATE), math.radians(ROTATE), (count,), generator)


class Operation(NamedTuple):
    """draw(n, size, generator) gives parameters (n, ...); apply(images, parameters) gives images."""

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
