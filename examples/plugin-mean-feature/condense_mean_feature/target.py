"""The target: each class's mean feature in the teacher."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, Observation
from condense_mean_feature.plugin import MeanFeatureOptions


class MeanFeature(FeatureTarget):
    """sum_k || sum_j w_kj f(x_kj) - m_k ||^2 over the classes k of a batch and their images j.

    DM takes f from a fresh random network at every step; here it is the trained teacher, so the real means
    m_k are measured once. means: (K, D) float32.
    """

    def __init__(self, options: MeanFeatureOptions) -> None:
        self.options = options
        self.means = torch.empty(0)

    def begin(self, classes: int, generator: torch.Generator) -> None:
        self._classes = classes
        self._sums = torch.zeros(())
        self._counts = torch.zeros(())

    def observe(self, real: Observation) -> None:
        mine = F.one_hot(real.batch.labels, self._classes).float()
        self._sums = self._sums + mine.T @ real.features
        self._counts = self._counts + mine.sum(dim=0)

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        overall = self._sums.sum(dim=0) / self._counts.sum()
        self.means = torch.lerp(self._sums / self._counts[:, None], overall, self.options.shrink)

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.means = self.means.to(synthetic.features.device)
        means = synthetic.batch.membership @ synthetic.features
        return (means - self.means[synthetic.batch.classes]).square().sum()

    def state(self) -> dict[str, Tensor]:
        return {"means": self.means}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.means = state["means"]
