"""The initializers and the feature target that come with condense."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.engine.catalog import NoiseOptions
from condense.engine.components import FeatureTarget, Initializer, InitialRequest
from condense.models.observation import Observation
from condense.recipe.specs import NoOptions


class Noise(Initializer):
    """Gaussian noise in the normalised space (SRe2L, WMDD), clipped later to valid pixels."""

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
        indices = request.real()
        picks = indices[torch.randperm(len(indices), generator=request.generator)[: request.ipc]]
        return request.dataset.training_images(picks)


class CrossEntropy(FeatureTarget):
    """The network's cross-entropy on the class of each synthetic image, averaged over the batch (SRe2L)."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return F.cross_entropy(synthetic.logits, synthetic.batch.labels)
