"""What can be set of the regularizers of G-VBSM. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConvolutionsOptions:
    """first_weight: how much the network's first convolution counts, where every other one counts 1. patches: whether
    the statistics of patches are matched beside those of channels.
    """

    first_weight: float = 10.0
    patches: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.first_weight < math.inf:
            raise ValueError(f"first_weight must be 0 or more, not {self.first_weight}")


@dataclass(frozen=True, kw_only=True)
class DensificationOptions:
    """temperature: of the softened eigenvalues that the eigenvalues are drawn to. side: to which images are made
    smaller before, in pixels.
    """

    temperature: float = 4.0
    side: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        if self.side < 1:
            raise ValueError(f"side must be at least 1, not {self.side}")
