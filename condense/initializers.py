"""The initial images that come with condense."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.components import InitialRequest, Initializer
from condense.data.feed import Feed
from condense.errors import DataError
from condense.initializer_options import NoiseOptions
from condense.specs import NoOptions


class Noise(Initializer):
    """Gaussian noise in the normalised space, clipped later to valid pixels (SRe2L, WMDD)."""

    def __init__(self, options: NoiseOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        shape = (request.ipc, request.dataset.channels, request.dataset.size, request.dataset.size)
        return torch.randn(shape, generator=request.generator) * self.options.std


class RandomReal(Initializer):
    """Distinct random real images of the class."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        dataset = request.dataset
        indices = dataset.train.of_class(request.label)
        if len(indices) < request.ipc:
            raise DataError(
                f"class {dataset.classes[request.label]!r} has {len(indices)} training images, fewer than the "
                f"{request.ipc} asked for"
            )
        picks = indices[torch.randperm(len(indices), generator=request.generator)[: request.ipc]]
        feed = Feed(
            dataset.train.images, size=dataset.size, mean=dataset.mean, std=dataset.std, runtime=request.runtime
        )
        return feed.centre(picks).cpu().contiguous()
