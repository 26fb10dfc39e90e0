"""Means, intervals and paired differences: pure functions on accuracies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """mean: over `seeds` paired seeds. interval: None for a single seed, which says nothing of the spread."""

    mean: float
    interval: Interval | None
    seeds: int

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the interval lies on one side of 0; None without one."""
        if self.interval is None:
            return None
        low, high = self.interval
        return low > 0 or high < 0


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """mean ± t s / √n: the interval of a mean by Student's t. None for fewer than two values.

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


def interval_over_seeds(values: Mapping[int, Sequence[float]]) -> Interval | None:
    """`t_interval` of the seeds' means over students, or of a single seed's students; None without two of either.

    Students of one seed learn from the same images, so they are no independent draws of what a method reaches: with
    as much spread between seeds as within, 3 seeds of 5 students taken as 15 hold the truth 71 times in 100, not 95.
    values: by seed, (students,).
    """
    found = [students for students in values.values() if students]
    if len(found) == 1:
        return t_interval(found[0])
    return t_interval([statistics.fmean(students) for students in found])


def mean_over_seeds(values: Mapping[int, Sequence[float]]) -> float | None:
    """The mean over seeds of each seed's mean over students; None without any.

    values: by seed, (students,).
    """
    means = [statistics.fmean(students) for students in values.values() if students]
    return statistics.fmean(means) if means else None


def paired_difference(
    values: Mapping[int, Sequence[float]], base: Mapping[int, Sequence[float]]
) -> Difference | None:
    """How much better `values` are than `base`, paired by seed; None where they have no seed in common.

    For every seed that both have, the mean over its students of `values` minus that of `base`; then mean and
    interval over seeds. What a seed does to both alike, as a harder draw of weights does, cancels.
    values, base: by seed, (students,); a seed without students counts as missing.
    """
    gaps = [
        statistics.fmean(students) - statistics.fmean(base[seed])
        for seed, students in sorted(values.items())
        if students and base.get(seed)
    ]
    if not gaps:
        return None
    return Difference(statistics.fmean(gaps), t_interval(gaps), len(gaps))


def label_robust_score(
    *, full_hard: float, synthetic_hard: float, synthetic: float, random: float, weight: float = 0.5
) -> float:
    """LRS in [0, 1]: (exp(α) - exp(-1)) / (exp(1) - exp(-1)), α = w IOR - (1 - w) HLR.

    HLR = full_hard - synthetic_hard, what is lost against all real images where both have hard labels;
    IOR = synthetic - random, what is gained over random real images under the protocol as it stands.
    All accuracies are fractions in [0, 1]; w, the `weight`, is 0.5 on DD-Ranking's leaderboard.
    Li et al., DD-Ranking, arXiv 2505.13300, the definition of the label-robust score. Deviations: full_hard is
    the accuracy of the comparison's teacher, not of a student network trained on all real images for this; no
    learning rate is tuned for the random images; the score is of mean accuracies, not the mean of scores.
    Raises ValueError for a value outside [0, 1].
    """
    _check(full_hard, synthetic_hard, synthetic, random, weight)
    loss = full_hard - synthetic_hard
    gain = synthetic - random
    return _normalised(weight * gain - (1 - weight) * loss)


def augmentation_robust_score(
    *, synthetic: float, random: float, synthetic_plain: float, random_plain: float, weight: float = 0.5
) -> float:
    """ARS in [0, 1]: (exp(β) - exp(-1)) / (exp(1) - exp(-1)), β = γ (synthetic - random) + (1 - γ) (the same, plain).

    plain: without any augmentation. All accuracies are fractions in [0, 1]; γ is `weight`. Images no better than
    random ones have 0.269. Li et al., DD-Ranking, arXiv 2505.13300, the definition of the augmentation-robust
    score; deviations as in `label_robust_score`. Raises ValueError for a value outside [0, 1].
    """
    _check(synthetic, random, synthetic_plain, random_plain, weight)
    return _normalised(weight * (synthetic - random) + (1 - weight) * (synthetic_plain - random_plain))


def _normalised(exponent: float) -> float:
    """[-1, 1] onto [0, 1], growing faster towards 1."""
    return (math.exp(exponent) - math.exp(-1)) / (math.e - math.exp(-1))


def _check(*fractions: float) -> None:
    for fraction in fractions:
        if not 0 <= fraction <= 1:
            raise ValueError(f"accuracies and weights are fractions in [0, 1], not {fraction}")
