"""Medoids: the real images nearest to the features that a target wants, such as the atoms of a barycenter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from condense import FeatureTarget, Initializer, InitialRequest, NoOptions, OptionError
from condense_baselines.initializers.teacher_features import teacher_features


class Medoids(Initializer):
    """Starts each slot from the real image that stands for its slot feature, taken from the first target with any.

    With WMDD (`--method wmdd --set initializer=medoids`) this is the medoid of the slot's atom in the class's
    barycenter, so every image starts near the feature that it should have. Raises OptionError if no target
    has slot features.
    """

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def check(self, targets: Sequence[FeatureTarget]) -> None:
        if all(type(target).slot_features is FeatureTarget.slot_features for target in targets):
            raise no_features(targets)

    def images(self, request: InitialRequest) -> Tensor:
        atoms = wanted_features(request.targets)[request.label]
        indices = request.real()
        chosen = assign(teacher_features(request, indices), atoms.cpu().double())
        return request.dataset.training_images(indices[chosen])


def wanted_features(targets: Sequence[FeatureTarget]) -> Tensor:
    """Return (K, ipc, D): the slot features of the first target that has any.

    Raises OptionError if no target has any.
    """
    for target in targets:
        features = target.slot_features()
        if features is not None:
            return features
    raise no_features(targets)


def no_features(targets: Sequence[FeatureTarget]) -> OptionError:
    """Return the error for targets none of which has slot features."""
    names = ", ".join(type(target).__name__ for target in targets) or "none"
    return OptionError(
        "the initializer 'medoids' needs a target that says which feature each image should have, such as "
        f"'barycenter', and there is {names}; add it with --set targets.barycenter=1, or choose another initializer"
    )


def assign(features: Tensor, atoms: Tensor) -> Tensor:
    """Return (m,) int64: for each of `atoms` (m, D) the index of a point of its own in `features` (n, D); m <= n.

    The assignment has the minimum sum of squared distances, so two atoms that share their nearest point are
    separated at the minimum cost. It is exact, by scipy's linear_sum_assignment (a shortest augmenting path
    method).
    """
    distances = torch.cdist(atoms, features, compute_mode="donot_use_mm_for_euclid_dist")
    # Each atom is one row; all rows are assigned, in order.
    _, columns = linear_sum_assignment(distances.square().numpy())
    return torch.from_numpy(columns)
