"""The scores of DD-Ranking: how much of an accuracy is owed to the images, not to their labels or augmentation."""

from __future__ import annotations

import math


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
