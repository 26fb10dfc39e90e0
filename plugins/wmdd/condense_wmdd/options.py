"""What can be set of WMDD's components. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["squares", "norms"]


@dataclass(frozen=True, kw_only=True)
class BarycenterOptions:
    """solver: see `condense_wmdd.barycenter`. restarts: of the solver quantize.

    form: "squares" is the paper's, sum_k sum_j ||f(x_kj) - b_kj||^2; "norms" the published code's,
    mean_k ||F_k - B_k|| (Frobenius norm of a class's feature matrix less its atoms). "norms" is the default
    because it measured better (docs/results.md).
    """

    solver: Literal["quantize", "balanced", "alternating"] = "quantize"
    form: Form = "norms"
    restarts: int = 10

    def __post_init__(self) -> None:
        if self.restarts < 1:
            raise ValueError(f"restarts must be at least 1, not {self.restarts}")


@dataclass(frozen=True, kw_only=True)
class ClassBatchNormOptions:
    """form: "squares" is the paper's, sum over layers and classes of squared differences; "norms" the published
    code's, the mean over classes of norms, summed over layers.

    weighted: whether the synthetic statistics weight each image as its atom (the paper) or equally (the code).
    per_class: False pools the classes: one mean and variance over all images, the "global BN" of the paper's ablation.
    """

    form: Form = "norms"
    weighted: bool = True
    per_class: bool = True
