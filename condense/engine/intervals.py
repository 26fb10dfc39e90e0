"""The interval of a mean, for accuracies of students and of seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
Interval = tuple[float, float]


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the interval of a mean by Student's t, mean ± t s / √n, or None for fewer than two values.

    values: (n,), taken as independent. s: their sample standard deviation (n - 1). t: the quantile
    (1 + confidence) / 2 of Student's distribution with n - 1 degrees of freedom.
    """
    count = len(values)
    if count < 2:
        return None
    from scipy.special import stdtrit

    centre = statistics.fmean(values)
    quantile = float(stdtrit(count - 1, (1 + confidence) / 2))
    half = quantile * statistics.stdev(values) / math.sqrt(count)
    return centre - half, centre + half
