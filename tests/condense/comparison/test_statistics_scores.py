"""DD-Ranking's scores: by hand, at the ends of their scale and in between."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.comparison.statistics import augmentation_robust_score, label_robust_score

fraction = st.floats(0, 1)
NONE = (1 - math.exp(-1)) / (math.e - math.exp(-1))  # the score for an exponent of 0


def test_a_label_robust_score_by_hand() -> None:
    """HLR = 0.9 - 0.5 = 0.4, IOR = 0.8 - 0.6 = 0.2, α = 0.1 - 0.2 = -0.1."""
    found = label_robust_score(full_hard=0.9, synthetic_hard=0.5, synthetic=0.8, random=0.6)
    assert found == pytest.approx((0.904837 - 0.367879) / (2.718282 - 0.367879), abs=1e-5)


def test_an_augmentation_robust_score_by_hand() -> None:
    """β = 0.5 · 0.2 + 0.5 · 0.4 = 0.3."""
    found = augmentation_robust_score(synthetic=0.8, random=0.6, synthetic_plain=0.6, random_plain=0.2)
    assert found == pytest.approx((1.349859 - 0.367879) / (2.718282 - 0.367879), abs=1e-5)


def test_the_ends_of_the_scale() -> None:
    assert label_robust_score(full_hard=0, synthetic_hard=1, synthetic=1, random=0) == pytest.approx(1)
    assert label_robust_score(full_hard=1, synthetic_hard=0, synthetic=0, random=1) == pytest.approx(0)
    assert augmentation_robust_score(
        synthetic=1, random=0, synthetic_plain=1, random_plain=0
    ) == pytest.approx(1)
    assert augmentation_robust_score(
        synthetic=0, random=1, synthetic_plain=0, random_plain=1
    ) == pytest.approx(0)


@given(fraction, fraction)
def test_random_images_are_level_with_themselves(accuracy: float, plain: float) -> None:
    found = augmentation_robust_score(
        synthetic=accuracy, random=accuracy, synthetic_plain=plain, random_plain=plain
    )
    assert found == pytest.approx(NONE)


@given(fraction, fraction, fraction, fraction, fraction)
def test_scores_lie_between_0_and_1(a: float, b: float, c: float, d: float, weight: float) -> None:
    scores = (
        label_robust_score(full_hard=a, synthetic_hard=b, synthetic=c, random=d, weight=weight),
        augmentation_robust_score(synthetic=a, random=b, synthetic_plain=c, random_plain=d, weight=weight),
    )
    assert all(-1e-12 <= score <= 1 + 1e-12 for score in scores)


@given(fraction, fraction, fraction, fraction, fraction)
def test_better_images_never_score_worse(
    full: float, random: float, low: float, high: float, fixed: float
) -> None:
    low, high = sorted((low, high))
    common = {"full_hard": full, "random": random}
    assert label_robust_score(synthetic=low, synthetic_hard=fixed, **common) <= label_robust_score(
        synthetic=high, synthetic_hard=fixed, **common
    )
    assert label_robust_score(synthetic=fixed, synthetic_hard=low, **common) <= label_robust_score(
        synthetic=fixed, synthetic_hard=high, **common
    )
    assert augmentation_robust_score(
        synthetic=low, random=random, synthetic_plain=fixed, random_plain=full
    ) <= augmentation_robust_score(synthetic=high, random=random, synthetic_plain=fixed, random_plain=full)


def test_the_weight_shifts_between_the_two_parts() -> None:
    common = {"full_hard": 0.9, "synthetic_hard": 0.5, "synthetic": 0.8, "random": 0.6}
    alone = label_robust_score(weight=1, **common)
    assert alone == pytest.approx((math.exp(0.2) - math.exp(-1)) / (math.e - math.exp(-1)))


@pytest.mark.parametrize("wrong", [85.2, -0.1, math.nan])
def test_what_is_no_fraction_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"fractions in \[0, 1\], not"):
        label_robust_score(full_hard=0.9, synthetic_hard=0.5, synthetic=wrong, random=0.6)
    with pytest.raises(ValueError, match=r"fractions in \[0, 1\], not"):
        augmentation_robust_score(synthetic=0.9, random=0.5, synthetic_plain=0.4, random_plain=wrong)
