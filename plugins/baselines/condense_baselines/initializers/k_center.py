"""K-center: real images that cover their class, so that none is far from all of those chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from condense import Initializer, InitialRequest, NoOptions
from condense_baselines.initializers.teacher_features import teacher_features


class KCenter(Initializer):
    """Slot j starts from the image that is chosen as number j, so fewer images are the first of more."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        indices = request.real()
        chosen = greedy_centers(teacher_features(request, indices), request.ipc)
        return request.dataset.training_images(indices[chosen])


def greedy_centers(features: Tensor, count: int) -> Tensor:
    """(count,) int64: which of the points `features` (n, D) are centers, in order of choice; count at most n.

    Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018, arXiv
    1708.00489, algorithm 1 (k-Center-Greedy):

        u = argmax over i not yet chosen of min over chosen j of || x_i - x_j ||

    the lowest index of equals. Its radius, the greatest distance of a point to its nearest center, is at most twice
    the least there is for `count` centers, whatever the first one.

    Deviations: it starts from nothing instead of a labelled pool, so the first center is the point nearest to the mean;
    it chooses within one class; no mixed-integer programme afterwards (their "robust k-center").
    """
    away = features - features.mean(dim=0)
    pick = int(away.square().sum(dim=1).argmin())
    chosen = [pick]
    free = torch.ones(len(away), dtype=torch.bool)
    distances = torch.full((len(away),), torch.inf, dtype=away.dtype)
    while len(chosen) < count:
        free[pick] = False
        distances = torch.minimum(distances, (away - away[pick]).square().sum(dim=1))
        # A free copy of a center is at distance 0, and still to be preferred to a center.
        pick = int(distances.where(free, -1).argmax())
        chosen.append(pick)
    return torch.tensor(chosen)
