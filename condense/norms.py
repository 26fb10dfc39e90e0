"""Norms whose gradient is 0, and not NaN, where they are 0."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-12


def safe_norm(sum_of_squares: Tensor) -> Tensor:
    """The square root of sums of squares, each at least 1e-12 inside the root."""
    return torch.sqrt(sum_of_squares.clamp_min(_LEAST))
