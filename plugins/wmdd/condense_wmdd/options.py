"""The options of WMDD's components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense import checked

Form = Literal["squares", "norms", "relative"]


@checked
@dataclass(frozen=True, kw_only=True)
class BarycenterOptions:
    """solver: quantize (free weights), balanced (equal weights) or alternating (the paper's algorithm).
    restarts: how many starts compete in the solver quantize, and in the start of balanced.
    form: "squares" is the paper's loss, sum_k sum_j ||f(x_kj) - b_kj||^2. "norms" is the published code's,
        ||F - B||, the Frobenius norm of all features that are seen at once minus their atoms. "relative" has no
        unit: the root mean square of ||f(x_kj) - b_kj|| / s_k, where s_k is the root mean square distance of class
        k's real features from their mean.
    """

    solver: Literal["quantize", "balanced", "alternating"] = "quantize"
    form: Form = "norms"
    restarts: int = 10

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise ValueError(f"restarts must be at least 1, not {self.restarts}")


@checked
@dataclass(frozen=True, kw_only=True)
class ClassBatchNormOptions:
    """form: "squares" is the paper's loss, the sum over layers and classes of squared differences. "norms" is
        the published code's, the mean over classes of norms, summed over layers.
    weighted: whether each image counts in the synthetic statistics with the weight of its atom (the paper) or
        equally (the code).
    per_class: whether each class has statistics of its own. False pools the classes into one mean and
        variance over all images, the "global BN" of the paper's ablation.
    """

    form: Form = "norms"
    weighted: bool = True
    per_class: bool = True
