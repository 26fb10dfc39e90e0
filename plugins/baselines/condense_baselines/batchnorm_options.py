"""What can be set of the regularizer batchnorm. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchNormOptions:
    """first_weight: how much the network's first BatchNorm layer counts, where every other layer counts 1. The
    published code of SRe2L and CDA has 10, and the paper does not give it.
    """

    first_weight: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.first_weight < math.inf:
            raise ValueError(f"first_weight must be 0 or more, not {self.first_weight}")
