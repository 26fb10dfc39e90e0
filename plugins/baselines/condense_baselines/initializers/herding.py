"""Herding: choose real images one by one, so that their mean stays close to the class's mean."""

from __future__ import annotations

import torch
from torch import Tensor

from condense import Initializer, InitialRequest, NoOptions
from condense_baselines.initializers.teacher_features import teacher_features


class Herding(Initializer):
    """Starts slot j from the j-th image that herding chooses, so fewer images are the first of more."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        indices = request.real()
        chosen = herd(teacher_features(request, indices), request.ipc)
        return request.dataset.training_images(indices[chosen])


def herd(features: Tensor, count: int) -> Tensor:
    """Return (count,) int64, the indices of the points that herding chooses, in order.

    features: (n, D), the points. count: at most n.

    The greedy form with a running mean, Rebuffi et al., iCaRL, CVPR 2017, arXiv 1611.07725, algorithm 4:

        p_k = argmin over x not yet chosen of || mean - (x + p_1 + ... + p_{k-1}) / k ||

    The lowest index of equal points is chosen. Welling's herding (ICML 2009) is p_k = argmax <w_{k-1}, x>
    with w_k = w_{k-1} + mean - p_k and w_0 = mean. It chooses the same points if all features have one norm
    (Chen, Welling & Smola, UAI 2010, arXiv 1203.3472) and no image comes twice.

    Deviations:

    - No image is chosen twice, which neither paper rules out.
    - The features are as the teacher gives them. iCaRL divides them by their norms, for its classifier by
      class means.
    """
    # With the mean at the origin, the mean of k points is nearest to it exactly when their sum is.
    away = features - features.mean(dim=0)
    total = torch.zeros_like(away[0])
    free = torch.ones(len(away), dtype=torch.bool)
    chosen = []
    for _ in range(count):
        distances = (total + away).square().sum(dim=1)
        pick = int(distances.where(free, torch.inf).argmin())
        free[pick] = False
        total = total + away[pick]
        chosen.append(pick)
    return torch.tensor(chosen)
