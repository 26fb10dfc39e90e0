"""The target of DC and DSA: real and synthetic images should give weight gradients of the same direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, Observation
from condense_baselines.options import RealBatchOptions

# As in the published code. Rows much shorter than the root of this number are at distance 1, in any direction.
_LEAST = 1e-6


class GradientMatch(FeatureTarget):
    """Pulls the weight gradients of each class's synthetic images to those of real images, in a random network.

    Zhao, Mopuri & Bilen, ICLR 2021, arXiv 2006.05929, eq. 9, with weights W:

        D(d CE(synthetic images) / dW, d CE(real images) / dW), D as in `gradient_distance`

    CE: the mean cross-entropy of the class's synthetic images, or of `real_batch` of its real images.

    The gradient to the pixels goes through the weight gradients, a second derivative. As in the published
    code, and unlike the paper, biases and the weights of normalisation layers do not count.
    """

    def __init__(self, options: RealBatchOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        wanted = weight_gradients(real, differentiable=False)
        return gradient_distance(weight_gradients(synthetic, differentiable=True), wanted)


def weight_gradients(seen: Observation, *, differentiable: bool) -> tuple[Tensor, ...]:
    """Return the gradients (O, ...) of a batch's mean cross-entropy to the weights that are matrices or filters.

    differentiable: whether gradients flow on through the result, to the images.
    """
    loss = F.cross_entropy(seen.logits, seen.batch.labels)
    matched = [weight for weight in seen.parameters if weight.dim() > 1]
    return torch.autograd.grad(loss, matched, create_graph=differentiable)


def gradient_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers and output nodes of 1 - cos(angle) between two sets of gradients (DC, eq. 10).

    one, other: a tensor (O, ...) for each layer with O output nodes: (O, I) for a linear layer, (O, I, h, w)
        for a convolution. All weights of an output node form one vector.

    As in the published code, 1e-6 is added to the product of the two lengths. The result is a scalar.
    """
    layers = [
        _row_distances(mine.flatten(1), theirs.flatten(1)) for mine, theirs in zip(one, other, strict=True)
    ]
    return torch.cat(layers).sum()


def _row_distances(one: Tensor, other: Tensor) -> Tensor:
    """Return the distances (O,) between the rows of (O, n) and (O, n)."""
    lengths = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    distances: Tensor = 1 - (one * other).sum(dim=1) / (lengths + _LEAST)
    return distances
