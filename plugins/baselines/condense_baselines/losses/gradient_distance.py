"""IDC's target: equal weight gradients of real and synthetic images, in length as well as in direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, ModelError, Observation
from condense_baselines.options import GradientDistanceOptions, Metric


class GradientDistance(FeatureTarget):
    """Pulls the weight gradients of each class's synthetic images to those of real images.

    Kim et al., ICML 2022, arXiv 2205.14959, eq. 6, and the published code, with filters W_l of layer l:

        sum over classes c and layers l of D(d CE(A_c(s_c)) / dW_l, d CE(A_c(x_c)) / dW_l)
        D(a, b) = sum of (a - b)^2 over all entries ("mse"), or sum of |a - b| ("l1")

    x_c: `real_batch` real images of class c. s_c: its synthetic images. CE: their mean cross-entropy.
    A_c: one siamese view, drawn for each class and step.

    As in the published code, biases, the weights of normalisation layers and the classifier do not count. The gradient
    to the pixels goes through the weight gradients, a second derivative.
    """

    def __init__(self, options: GradientDistanceOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        wanted = filter_gradients(real, differentiable=False)
        return distance(filter_gradients(synthetic, differentiable=True), wanted, self.options.metric)


def filter_gradients(seen: Observation, *, differentiable: bool) -> tuple[Tensor, ...]:
    """Return the gradients (O, I, h, w) of a batch's mean cross-entropy to the filters of convolutions.

    differentiable: whether gradients flow on through the result, to the images.

    Raises ModelError for a network without convolutions.
    """
    filters = [weight for weight in seen.parameters if weight.dim() > 2]
    if not filters:
        raise ModelError(
            "'gradient-distance' compares the gradients of filters, and the network has no convolutions; choose "
            "another with --set recover.network=NAME, or --set pool.model=NAME for a pool"
        )
    loss = F.cross_entropy(seen.logits, seen.batch.labels)
    return torch.autograd.grad(loss, filters, create_graph=differentiable)


def distance(one: Sequence[Tensor], other: Sequence[Tensor], metric: Metric) -> Tensor:
    """Return the sum over layers and entries of squared ("mse") or absolute ("l1") differences, a scalar."""
    gaps = [(mine - theirs).flatten() for mine, theirs in zip(one, other, strict=True)]
    each = torch.cat(gaps)
    return each.square().sum() if metric == "mse" else each.abs().sum()
