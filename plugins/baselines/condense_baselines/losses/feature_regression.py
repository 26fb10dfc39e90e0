"""The target of feature regression: the labels of real images can be regressed from the synthetic images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import FeatureTarget, Observation
from condense_baselines.options import FeatureRegressionOptions


class FeatureRegression(FeatureTarget):
    """Regresses the labels of real images from the synthetic images, in a network's features, and measures the error.

    Zhou, Nezhadarya & Ba, NeurIPS 2022, arXiv 2206.00719, eq. 3, with synthetic images S, real images R and features
    f (B, D):

        mean over R of || y_R - K_RS (K_SS + r m I)^-1 y_S ||^2,  K_XY = f(X) f(Y)^T / D

    y: the labels as rows of one-hot vectors, less their mean 1 / G over the G classes of the chunk.
    r: the option `ridge`. m: the mean of the diagonal of K_SS, through which no gradient flows.

    The network is a student in training on the synthetic images (`recover.inner`), so this is what its last layer could
    answer at best. The gradient flows through the solution of the regression to the pixels.

    Deviations from the paper: labels of synthetic images stay fixed, K_SS keeps its scale by the mean of its diagonal,
    and the loss is not halved.
    """

    def __init__(self, options: FeatureRegressionOptions) -> None:
        self.options = options

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None, "the host gives real images to losses that need some"
        classes = torch.unique(synthetic.batch.labels)
        predicted = ridge_regression(
            synthetic.features.float(),
            centred(synthetic.batch.labels, classes),
            real.features.float(),
            self.options.ridge,
        )
        return (centred(real.batch.labels, classes) - predicted).square().sum(dim=1).mean()


def centred(labels: Tensor, classes: Tensor) -> Tensor:
    """Return (B, G) one-hot rows less 1 / G. labels: (B,) int64. classes: (G,) int64, ascending, all that may occur."""
    places = torch.searchsorted(classes, labels)
    return F.one_hot(places, len(classes)).float() - 1 / len(classes)


def ridge_regression(known: Tensor, answers: Tensor, asked: Tensor, ridge: float) -> Tensor:
    """Return the answers (M, G) float32 that kernel ridge regression with a linear kernel predicts.

    known: features (N, D) whose answers (N, G) are known.
    asked: features (M, D).
    ridge: as a fraction of the mean of the kernel's diagonal.
    """
    kernel = known @ known.T / known.shape[1]
    strength = ridge * kernel.diagonal().mean().detach()
    regular = kernel + strength * torch.eye(len(known), device=known.device)
    solved: Tensor = torch.linalg.solve(regular, answers)
    return asked @ (known.T @ solved) / known.shape[1]
