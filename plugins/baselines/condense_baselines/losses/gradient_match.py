"""The target of DC and DSA: real and synthetic images should pull at a network's weights in the same direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, Observation
from condense_baselines.options import RealBatchOptions

# As in the published code. A row whose gradient is far shorter than its root counts as 1, wherever it points.
_LEAST = 1e-6


class GradientMatch(FeatureTarget):
    """For each class, in a random network with weights W (Zhao, Mopuri & Bilen, ICLR 2021, arXiv 2006.05929, eq. 9):

        D(d CE(synthetic images) / dW, d CE(real images) / dW), D as in `gradient_distance`

    CE: the mean cross-entropy of the class's synthetic images, and of `real_batch` of its real ones. The gradient to
    the pixels goes through that of the weights, a second derivative. As in the published code, and not in the paper,
    biases and the weights of norms do not count.
    """

    def __init__(self, options: RealBatchOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        wanted = weight_gradients(real, differentiable=False)
        return gradient_distance(weight_gradients(synthetic, differentiable=True), wanted)


def weight_gradients(seen: Observation, *, differentiable: bool) -> tuple[Tensor, ...]:
    """Of the mean cross-entropy of a batch to the weights that are matrices or filters, (O, ...) each.

    differentiable: whether gradients flow on through the result, to the images.
    """
    loss = F.cross_entropy(seen.logits, seen.batch.labels)
    matched = [weight for weight in seen.parameters if weight.dim() > 1]
    return torch.autograd.grad(loss, matched, create_graph=differentiable)


def gradient_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Sum over layers and output nodes of 1 - cos(angle) between two sets of gradients (DC, eq. 10): a scalar.

    one, other: by layer, (O, ...) with O output nodes: a linear layer's (O, I), a convolution's (O, I, h, w); all that
    leads to an output node is one vector. As in the published code, 1e-6 is added to the product of the two lengths.
    """
    layers = [
        _row_distances(mine.flatten(1), theirs.flatten(1)) for mine, theirs in zip(one, other, strict=True)
    ]
    return torch.cat(layers).sum()


def _row_distances(one: Tensor, other: Tensor) -> Tensor:
    """(O, n) and (O, n) to (O,)."""
    lengths = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    distances: Tensor = 1 - (one * other).sum(dim=1) / (lengths + _LEAST)
    return distances
