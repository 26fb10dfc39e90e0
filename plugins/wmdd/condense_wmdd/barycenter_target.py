"""WMDD's target: the Wasserstein barycenter of each class's features in the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import torch
from torch import Tensor

from condense import FeatureTarget, NumericalError, Observation, safe_norm
from condense_wmdd.barycenter import wasserstein_barycenters
from condense_wmdd.options import BarycenterOptions


class BarycenterTarget(FeatureTarget):
    """Pulls the feature of slot j of class k to b_kj, atom j of the class's barycenter (Liu et al., eq. 7).

    atoms: (K, ipc, D) float32.
    weights: (K, ipc) float32.
    costs: (K,) float32, the W2^2 of each class.
    spreads: (K,) float32, the root mean square distance of each class's real features from their mean.
    """

    def __init__(self, options: BarycenterOptions) -> None:
        self.options = options
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._classes = 0
        self.atoms = torch.empty(0)
        self.weights = torch.empty(0)
        self.costs = torch.empty(0)
        self.spreads = torch.empty(0)

    def begin(self, classes: int, generator: torch.Generator) -> None:
        self._classes = classes
        self._seen = []

    def observe(self, real: Observation) -> None:
        self._seen.append((real.features, real.batch.labels))

    def observed(self) -> dict[str, Tensor]:
        if not self._seen:
            return {}
        features, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        return {"features": features, "labels": labels}

    def merge(self, observed: Mapping[str, Tensor]) -> None:
        if observed:
            self._seen.append((observed["features"], observed["labels"]))

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        features = torch.cat([batch for batch, _ in self._seen])
        labels = torch.cat([batch for _, batch in self._seen])
        self._seen = []
        if not bool(torch.isfinite(features).all()):
            raise NumericalError("the features of the real images are not finite; try --precision fp32")
        sizes = torch.bincount(labels, minlength=self._classes).tolist()
        by_class = features[labels.argsort(stable=True)].split(sizes)
        # A class draws from its own generator, so that its barycenter does not depend on the other classes.
        seeds = torch.randint(2**62, (self._classes,), generator=generator).tolist()
        found = wasserstein_barycenters(
            by_class,
            ipc,
            solver=self.options.solver,
            restarts=self.options.restarts,
            generators=[torch.Generator().manual_seed(seed) for seed in seeds],
        )
        self.atoms = torch.stack([barycenter.atoms for barycenter in found])
        self.weights = torch.stack([barycenter.weights for barycenter in found])
        self.costs = torch.tensor([barycenter.cost for barycenter in found])
        self.spreads = torch.stack([_spread(of_class) for of_class in by_class]).cpu()

    def slot_weights(self) -> Tensor:
        return self.weights

    def slot_features(self) -> Tensor:
        return self.atoms

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        batch = synthetic.batch
        self._move_to(synthetic.features.device)
        away = synthetic.features - self.atoms[batch.labels, batch.slots]
        squared = away.square().sum(dim=1)
        if self.options.form == "squares":
            return squared.sum()
        if self.options.form == "norms":
            return safe_norm(squared.sum())
        if self.options.form == "relative":
            return safe_norm((squared / self.spreads[batch.labels].square()).mean())
        assert_never(self.options.form)

    def state(self) -> dict[str, Tensor]:
        return {"atoms": self.atoms, "weights": self.weights, "costs": self.costs, "spreads": self.spreads}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.atoms, self.weights, self.costs = state["atoms"], state["weights"], state["costs"]
        self.spreads = state["spreads"]

    def _move_to(self, device: torch.device) -> None:
        if self.atoms.device != device:
            self.atoms, self.spreads = self.atoms.to(device), self.spreads.to(device)


def _spread(features: Tensor) -> Tensor:
    """Return the root mean square distance of features (n, D) from their mean, at least 1e-6; 1 for equal features."""
    spread = (features - features.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    return torch.where(spread > 1e-6, spread, torch.ones_like(spread))
