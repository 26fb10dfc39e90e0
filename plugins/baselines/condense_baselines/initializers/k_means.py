"""K-means: the real images nearest to the centres of the clusters of their class's features."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

from condense import Initializer, InitialRequest, NoOptions
from condense_baselines.initializers.medoids import assign
from condense_baselines.initializers.teacher_features import teacher_features

_RESTARTS = 10
_ITERATIONS = 50


class KMeans(Initializer):
    """Starts each slot from the image nearest to the centre of a cluster of its own, of whole real images.

    It needs no target. The initializer `medoids` does the same with the features that a target wants, which may be
    those of views: here the images are always looked at as they are.
    """

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def images(self, request: InitialRequest) -> Tensor:
        indices = request.real()
        features = teacher_features(request, indices)
        seed = int(torch.randint(2**31, (), generator=request.generator))
        chosen = assign(features, cluster_centres(features, request.ipc, seed))
        return request.dataset.training_images(indices[chosen])


def cluster_centres(features: Tensor, count: int, seed: int) -> Tensor:
    """Return (count, D) float64, the centres of clusters of features (n, D) float64; count is at most n.

    k-means by Lloyd's iterations from k-means++ starts (Arthur & Vassilvitskii, SODA 2007), as scipy has it. The best
    of several starts is returned: the one with the smallest sum of squared distances of points to their nearest centre.
    """
    points, draws = features.numpy(), np.random.default_rng(seed)
    found = [_once(points, count, draws) for _ in range(_RESTARTS if count > 1 else 1)]
    best = min(found, key=lambda centres: float(np.square(vq(points, centres)[1]).sum()))
    return torch.from_numpy(best)


def _once(points: np.ndarray, count: int, draws: np.random.Generator) -> np.ndarray:
    # Among coinciding points k-means++ has no distance to draw by, and a cluster may stay empty. Its centre then stays
    # at a point.
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres: np.ndarray = kmeans2(points, count, iter=_ITERATIONS, minit="++", seed=draws)[0]
    return centres
