"""Means, intervals, paired differences and DD-Ranking's scores: pure functions on accuracies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from condense.engine.intervals import Interval, t_interval

BySeed = Mapping[
    int, Sequence[float]
]  # (students,) accuracies of each seed; a seed without students is missing


@dataclass(frozen=True)
class Difference:
    """A difference of two rows, paired by seed.

    mean: over the paired seeds, a fraction.
    interval: 95 %; None for a single seed, which does not show the spread.
    seeds: how many seeds are paired.
    """

    mean: float
    interval: Interval | None
    seeds: int

    @property
    def excludes_zero(self) -> bool | None:
        """Whether the interval lies on one side of 0; None without an interval."""
        if self.interval is None:
            return None
        low, high = self.interval
        return low > 0 or high < 0


def interval_over_seeds(values: BySeed) -> Interval | None:
    """Return `t_interval` of the seeds' means over students; for a single seed, `t_interval` of its students.

    None without two values. Students of one seed learn from the same images, so they are not independent draws of
    what a method reaches: if seeds spread as much as the students of one seed, 3 seeds of 5 students taken as 15
    values hold the true mean 71 times in 100, not 95 times.
    """
    found = [students for students in values.values() if students]
    return t_interval(found[0] if len(found) == 1 else [statistics.fmean(students) for students in found])


def mean_over_seeds(values: BySeed) -> float | None:
    """Return the mean over seeds of each seed's mean over students, or None without any."""
    means = [statistics.fmean(students) for students in values.values() if students]
    return statistics.fmean(means) if means else None


def paired_difference(values: BySeed, base: BySeed) -> Difference | None:
    """Return how much better `values` are than `base`, paired by seed, or None if they share no seed.

    The difference of one seed is the mean over its students in `values` minus the mean in `base`; the mean and the
    interval are over seeds. What a seed does to both, such as a harder draw of initial weights, cancels.
    """
    gaps = [
        statistics.fmean(students) - statistics.fmean(base[seed])
        for seed, students in sorted(values.items())
        if students and base.get(seed)
    ]
    return Difference(statistics.fmean(gaps), t_interval(gaps), len(gaps)) if gaps else None


def label_robust_score(
    *, full_hard: float, synthetic_hard: float, synthetic: float, random: float, weight: float = 0.5
) -> float:
    """Return LRS in [0, 1]: (exp(α) - exp(-1)) / (exp(1) - exp(-1)), α = w IOR - (1 - w) HLR.

    HLR = full_hard - synthetic_hard: the loss against all real images, both with hard labels.
    IOR = synthetic - random: the gain over random real images under the protocol as it is.
    All accuracies are fractions in [0, 1]; w is `weight`, 0.5 on DD-Ranking's leaderboard.
    Source: Li et al., DD-Ranking, arXiv 2505.13300, the definition of the label-robust score. Deviations: full_hard
    is the accuracy of the comparison's teacher, not of a student network trained on all real images; no learning rate
    is tuned for the random images; the score is computed from mean accuracies and is not a mean of scores.
    Raises ValueError for a value outside [0, 1].
    """
    _check(full_hard, synthetic_hard, synthetic, random, weight)
    loss = full_hard - synthetic_hard
    gain = synthetic - random
    return _normalised(weight * gain - (1 - weight) * loss)


def augmentation_robust_score(
    *, synthetic: float, random: float, synthetic_plain: float, random_plain: float, weight: float = 0.5
) -> float:
    """Return ARS in [0, 1]: (exp(β) - exp(-1)) / (exp(1) - exp(-1)), β = γ gain + (1 - γ) plain gain.

    gain = synthetic - random: the gain over random real images under the protocol as it is.
    plain gain = synthetic_plain - random_plain: the same gain without any augmentation.
    All accuracies are fractions in [0, 1]; γ is `weight`. Images as good as random ones have the score 0.269.
    Source: Li et al., DD-Ranking, arXiv 2505.13300, the definition of the augmentation-robust score; deviations as
    in `label_robust_score`. Raises ValueError for a value outside [0, 1].
    """
    _check(synthetic, random, synthetic_plain, random_plain, weight)
    return _normalised(weight * (synthetic - random) + (1 - weight) * (synthetic_plain - random_plain))


def _normalised(exponent: float) -> float:
    """Map [-1, 1] onto [0, 1], growing faster towards 1."""
    return (math.exp(exponent) - math.exp(-1)) / (math.e - math.exp(-1))


def _check(*fractions: float) -> None:
    for fraction in fractions:
        if not 0 <= fraction <= 1:
            raise ValueError(f"accuracies and weights are fractions in [0, 1], not {fraction}")
