"""Taps: the inputs of a network's layers, summed up image by image while a batch runs through it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.models.moments import per_image_moments
from condense.models.observation import Moments

# The two moments of each image, (B, C) each, then the layer's mean and variance, (C,) each.
Summary = tuple[Tensor, Tensor, Tensor, Tensor]
# Arguments: a layer, its input, and the side length of the images in pixels.
SumUp = Callable[[nn.Module, Tensor, int], Summary]

# Patches are 16 positions wide for images of at least 128 pixels, otherwise 4 (`Observation.patches`).
_LARGE_IMAGE, _LARGE_PATCH, _SMALL_PATCH = 128, 16, 4


class Tap:
    """Some layers of a network, and the function that sums up their inputs.

    A layer that runs twice shows its last run.
    """

    def __init__(self, layers: Mapping[str, nn.Module], sum_up: SumUp) -> None:
        self.layers, self._sum_up = layers, sum_up
        self._widths: tuple[int, ...] = ()
        self._layer_of = torch.empty(0)

    @contextmanager
    def opened(self, size: int) -> Iterator[dict[str, Summary]]:
        """Yield a dictionary that collects the summary of each layer's input inside the block, by layer name.

        size: the side length of the images in pixels.
        """
        seen: dict[str, Summary] = {}

        def keep(name: str, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            seen[name] = self._sum_up(layer, inputs[0], size)

        handles = [
            layer.register_forward_pre_hook(functools.partial(keep, name))
            for name, layer in self.layers.items()
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def moments(self, seen: Mapping[str, Summary]) -> Moments | None:
        """Return the moments of all layers in `seen`, joined in network order; None if `seen` is empty."""
        layers = tuple(layer for layer in self.layers if layer in seen)
        if not layers:
            return None
        means, seconds, centres, variances = zip(*(seen[layer] for layer in layers), strict=True)
        return Moments(
            mean=torch.cat(means, dim=1),
            second=torch.cat(seconds, dim=1),
            running_mean=torch.cat(centres).float(),
            running_var=torch.cat(variances).float(),
            layers=layers,
            layer_of=self._layers_of(means),
        )

    def _layers_of(self, means: tuple[Tensor, ...]) -> Tensor:
        """Return `Moments.layer_of` (S, L).

        It is cached, because it seldom changes: the number of patches depends on the size of the images.
        """
        widths = tuple(mean.shape[1] for mean in means)
        if self._widths != widths or self._layer_of.device != means[0].device:
            self._widths = widths
            self._layer_of = torch.block_diag(*(torch.ones(width, 1) for width in widths)).to(means[0].device)
        return self._layer_of


def norm_input(layer: nn.Module, x: Tensor, size: int) -> Summary:
    """Return the moments of a BatchNorm layer's input about its running mean."""
    centre, variance = cast("Tensor", layer.running_mean), cast("Tensor", layer.running_var)
    if layer.training:
        # The layer will update both in place.
        centre, variance = centre.clone(), variance.clone()
    return (*per_image_moments(x, centre), centre, variance)


def channels_of_input(layer: nn.Module, x: Tensor, size: int) -> Summary:
    """Return the moments of each channel of a convolution's input about 0."""
    centre = x.new_zeros(x.shape[1], dtype=torch.float32)
    return (*per_image_moments(x, centre), centre, torch.ones_like(centre))


def patches_of_input(layer: nn.Module, x: Tensor, size: int) -> Summary:
    """Return the moments of each patch of a convolution's input about 0, over all its channels."""
    side = _LARGE_PATCH if size >= _LARGE_IMAGE else _SMALL_PATCH
    mean, second = patch_moments(x, side)
    centre = torch.zeros_like(mean[0])
    return mean, second, centre, torch.ones_like(centre)


def patch_moments(x: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return first and second moment about 0 of each patch, both (B, P) float32, with P row by row.

    x: (B, C, H, W).
    side: the width and height of a patch in positions. If it does not divide H or W, that length is stretched
        linearly to the next multiple of `side`. Both moments use the same fraction of each position in each
        patch.
    """
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    # Compiled code has the shares as its own constants and does not see through a cache.
    shares = _shares.__wrapped__ if torch.compiler.is_compiling() else _shares
    rows, columns = (shares(length, side, x.device, exact.dtype) for length in x.shape[2:])
    with torch.autocast(x.device.type, enabled=False):
        moments = [rows @ moment.mean(dim=1) @ columns.T for moment in (exact, exact.square())]
    return moments[0].flatten(1), moments[1].flatten(1)


@functools.cache
def _shares(length: int, side: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the fraction of each position in each patch along one direction.

    The result is (patches, length); rows sum to 1.
    """
    patches = -(-length // side)
    stretched = F.interpolate(torch.eye(length)[None], patches * side, mode="linear", align_corners=False)
    shares: Tensor = stretched[0].unflatten(1, (patches, side)).mean(dim=2).T
    return shares.to(device, dtype)
