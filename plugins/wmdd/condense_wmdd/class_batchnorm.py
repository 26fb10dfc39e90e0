"""WMDD's regularizer: BatchNorm statistics class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import torch
from torch import Tensor

from condense import ClassMoments, Moments, Observation, Regularizer, group_statistics, safe_norm
from condense_wmdd.options import ClassBatchNormOptions


class ClassBatchNorm(Regularizer):
    """Pulls the mean and variance of every BatchNorm input to those of the real images, class by class.

    Liu et al., eq. 9, with ~ for statistics over a class's synthetic images:

        sum over layers and classes of ||mu~_k - mu_k||^2 + ||sigma~^2_k - sigma^2_k||^2

    The real statistics are exact over the training images and do not depend on the batches. With `per_class`
    off there is one group instead of K: all real images, and all synthetic images, among which every class
    counts equally.

    mean, variance: (K, S) float32, or (1, S) with `per_class` off; all layers side by side.
    """

    def __init__(self, options: ClassBatchNormOptions) -> None:
        self.options = options
        self._sums = ClassMoments(0)
        self.mean = torch.empty(0)
        self.variance = torch.empty(0)

    def begin(self, classes: int, generator: torch.Generator) -> None:
        self._sums = ClassMoments(classes)

    def observe(self, real: Observation) -> None:
        self._sums.add(_moments(real), real.batch)

    def observed(self) -> dict[str, Tensor]:
        return self._sums.sums()

    def merge(self, observed: Mapping[str, Tensor]) -> None:
        self._sums.merge(observed)

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        per_class = self.options.per_class
        mean, variance = self._sums.class_statistics() if per_class else self._sums.global_statistics()
        self.mean, self.variance = torch.atleast_2d(mean.float()), torch.atleast_2d(variance.float())

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        moments, batch = _moments(synthetic), synthetic.batch
        membership = batch.membership if self.options.weighted else batch.equal_membership()
        if not self.options.per_class:
            membership = membership.mean(dim=0, keepdim=True)
        mean, variance = group_statistics(moments, membership)
        self._move_to(mean.device)
        groups = batch.classes if self.options.per_class else torch.zeros_like(batch.classes[:1])
        mean_gap, variance_gap = mean - self.mean[groups], variance - self.variance[groups]
        if self.options.form == "squares":
            return mean_gap.square().sum() + variance_gap.square().sum()
        if self.options.form == "norms":
            norms = safe_norm(moments.by_layer(mean_gap.square())) + safe_norm(
                moments.by_layer(variance_gap.square())
            )
            return norms.sum(dim=1).mean()
        if self.options.form != "relative":
            assert_never(self.options.form)
        spread = self._real_spread(moments)[groups]
        channels = moments.layer_of.sum(dim=0)
        means = moments.by_layer(mean_gap.square() / spread) / channels
        variances = moments.by_layer((variance_gap / spread).square()) / channels
        return (safe_norm(means) + safe_norm(variances)).mean()

    def _real_spread(self, moments: Moments) -> Tensor:
        """Return the real variances (G, S), at least a hundredth of their layer's mean: some channels hardly vary."""
        layer_means = moments.by_layer(self.variance) / moments.layer_of.sum(dim=0)
        return torch.maximum(self.variance, layer_means @ moments.layer_of.T / 100).clamp_min(1e-12)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "variance": self.variance}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.mean, self.variance = state["mean"], state["variance"]

    def _move_to(self, device: torch.device) -> None:
        if self.mean.device != device:
            self.mean, self.variance = self.mean.to(device), self.variance.to(device)


def _moments(seen: Observation) -> Moments:
    assert seen.moments is not None, "the host reads the statistics that a loss needs"
    return seen.moments
