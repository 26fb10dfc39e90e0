"""Herding: real images, one after the other, so that the mean of those chosen stays close to the class's mean."""

from __future__ import annotations

import torch
from torch import Tensor

from condense import Initializer, InitialRequest, NoOptions
from condense_baselines.initializers.teacher_features import teacher_features


class Herding(Initializer):
    """Slot j starts from the image that herding chooses as number j, so fewer images are the first of more."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        indices = request.real()
        chosen = herd(teacher_features(request, indices), request.ipc)
        return request.dataset.training_images(indices[chosen])


def herd(features: Tensor, count: int) -> Tensor:
    """(count,) int64: which of the points `features` (n, D) herding chooses, in order; count at most n.

    The greedy form with a running mean, Rebuffi et al., iCaRL, CVPR 2017, arXiv 1611.07725, algorithm 4:

        p_k = argmin over x not yet chosen of || mean - (x + p_1 + ... + p_{k-1}) / k ||

    the lowest index of equals. Welling's herding (ICML 2009), p_k = argmax <w_{k-1}, x> with w_k = w_{k-1} + mean - p_k
    and w_0 = mean, chooses the same where all features have one norm (Chen, Welling & Smola, UAI 2010, arXiv 1203.3472)
    and no image comes twice.

    Deviations: never an image twice, which neither paper rules out; features as the teacher gives them, not divided by
    their norms, which iCaRL does for its classifier by class means.
    """
    # With the mean at the origin the mean of k points is nearest to it where their sum is.
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
