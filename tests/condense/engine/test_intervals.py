"""Intervals of means, against scipy.stats and by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from condense.engine.intervals import t_interval

fractions = st.floats(0, 1)
samples = st.lists(fractions, min_size=2, max_size=12)


def test_an_interval_by_hand() -> None:
    """Mean 0.5, s = 0.1, n = 3; t(0.975; 2) = 4.302653 from a table."""
    low, high = t_interval([0.4, 0.5, 0.6]) or (0, 0)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


@given(samples, st.floats(0.5, 0.999))
def test_an_interval_is_that_of_scipy(values: list[float], confidence: float) -> None:
    found = t_interval(values, confidence)
    assert found is not None
    scale = statistics.stdev(values) / math.sqrt(len(values))
    if scale == 0:  # scipy.stats cannot do this
        assert found == (statistics.fmean(values),) * 2
        return
    wanted = stats.t.interval(confidence, len(values) - 1, loc=statistics.fmean(values), scale=scale)
    assert found == pytest.approx(wanted, abs=1e-9)


@given(samples)
def test_an_interval_contains_the_mean_and_grows_with_confidence(values: list[float]) -> None:
    narrow, wide = t_interval(values, 0.8), t_interval(values, 0.99)
    assert narrow is not None
    assert wide is not None
    assert wide[0] <= narrow[0] <= statistics.fmean(values) <= narrow[1] <= wide[1]


@pytest.mark.parametrize("values", [[], [0.7]])
def test_there_is_no_interval_of_less_than_two(values: list[float]) -> None:
    assert t_interval(values) is None
