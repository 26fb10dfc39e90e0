"""Pixels in 8 bits and as network input: normalisation, its inverse and the valid range."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from condense.errors import DataError

# Standard deviations by which images are normalised: some networks of timm want 1/255, others 1.
_STDS = (1e-3, 1.0)


def check_normalisation(what: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Raise DataError for numbers that cannot be a mean and a standard deviation of pixels in [0, 1].

    what: whose numbers they are, for the message.
    """
    # Written so that NaN is refused too.
    if not all(0 <= value <= 1 for value in mean):
        raise DataError(f"{what}: the mean of pixels must lie in [0, 1], not {tuple(mean)}")
    if not all(_STDS[0] <= value <= _STDS[1] for value in std):
        raise DataError(
            f"{what}: the std of pixels must lie between {_STDS[0]:g} and {_STDS[1]:g}, not {tuple(std)}"
        )


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return the values as (1, C, 1, 1) float32.

    The tensor is cached, because making one on an accelerator from numbers waits for the accelerator.
    """
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def _per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    return _constant(tuple(values), like.device)


def normalise(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (pixels / 255 - mean) / std per channel, float32, for pixels (B, C, H, W) uint8."""
    # In place on a copy: four passes over fresh memory would take about as long as decoding the files.
    result = pixels.to(torch.float32, copy=True)
    return result.div_(255).sub_(_per_channel(mean, pixels)).div_(_per_channel(std, pixels))


def to_bytes(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return the inverse of `normalise`, rounded and clipped to uint8; exact for images it normalised."""
    unit = images.float() * _per_channel(std, images) + _per_channel(mean, images)
    return (unit * 255).round().clamp(0, 255).to(torch.uint8)


def valid_range(mean: Sequence[float], std: Sequence[float], like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the minimum and maximum normalised value of each channel, both (1, C, 1, 1)."""
    centre, spread = _per_channel(mean, like), _per_channel(std, like)
    return -centre / spread, (1 - centre) / spread


def centre_crop(images: Tensor, size: int) -> Tensor:
    """Return the centres (B, C, size, size) of images (B, C, H, W), with H and W at least `size`."""
    height, width = images.shape[-2:]
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size]
