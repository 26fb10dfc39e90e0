"""The teacher's features of the real images of one class, among which coresets are chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from condense import InitialRequest, NumericalError

# How many images have their pixels in memory at once. Of the others only the features are kept.
_BATCH = 256


def teacher_features(request: InitialRequest, indices: Tensor) -> Tensor:
    """Return (n, D) float64 on the CPU: the teacher's features of training images (n,), not augmented.

    Raises NumericalError if they are not finite.
    """
    parts = [request.observe(part).features.cpu() for part in indices.split(_BATCH)]
    features = torch.cat(parts).double()
    if not bool(torch.isfinite(features).all()):
        name = request.dataset.classes[request.label]
        raise NumericalError(
            f"the teacher's features of class {name!r} are not finite; try --precision fp32, or another teacher"
        )
    return features
