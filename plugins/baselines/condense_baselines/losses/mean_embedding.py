"""DM's target: equal mean features of real and synthetic images, class by class."""

from __future__ import annotations

from torch import Tensor

from condense import FeatureTarget, Observation
from condense_baselines.options import RealBatchOptions


class MeanEmbedding(FeatureTarget):
    """Pulls the mean feature of each class to that of real images, in a fresh random network at every step.

    Zhao & Bilen, WACV 2023, arXiv 2110.04181, eq. 6 and algorithm 1:

        sum over classes c of || mean_i f(A_c(x_ci)) - mean_j f(A_c(s_cj)) ||^2

    x_ci: `real_batch` real images of class c.
    s_cj: its synthetic images.
    f: the input of the classifier, (D,).
    A_c: one siamese view, drawn for each class and step.

    Squares are summed over features and classes, not averaged.

    Deviation: every image counts equally, even if another target of a recipe gives the slots weights.
    """

    def __init__(self, options: RealBatchOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        return (class_means(synthetic) - class_means(real)).square().sum()


def class_means(seen: Observation) -> Tensor:
    """Return (G, D): the mean feature of each class of a batch, classes ascending."""
    return seen.batch.equal_membership() @ seen.features
