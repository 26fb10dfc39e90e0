"""Intervals against scipy.stats and by hand; paired differences by hand and by their properties."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.comparison.statistics import interval_over_seeds, mean_over_seeds, paired_difference
from condense.engine.intervals import t_interval

fractions = st.floats(0, 1)
samples = st.lists(fractions, min_size=2, max_size=12)
by_seed = st.dictionaries(st.integers(0, 9), st.lists(fractions, min_size=1, max_size=4), min_size=1)


def test_a_paired_difference_by_hand() -> None:
    """Seeds 1 and 2 are shared: gaps 0.10 and 0.06, mean 0.08, s = 0.02 √2; t(0.975; 1) = 12.7062."""
    values = {0: [0.9], 1: [0.6, 0.8], 2: [0.5, 0.62]}
    base = {1: [0.6, 0.6], 2: [0.5], 3: [0.1], 4: []}
    found = paired_difference(values, base)
    assert found is not None
    assert (found.mean, found.seeds) == (pytest.approx(0.08), 2)
    assert found.interval is not None
    assert found.interval[1] - found.mean == pytest.approx(
        12.7062 * 0.02 * math.sqrt(2) / math.sqrt(2), rel=1e-5
    )
    assert found.excludes_zero is False


def test_a_single_seed_has_a_difference_without_an_interval() -> None:
    found = paired_difference({3: [0.5]}, {3: [0.25]})
    assert found is not None
    assert (found.mean, found.interval, found.excludes_zero) == (0.25, None, None)


@pytest.mark.parametrize("base", [{}, {1: [0.5]}, {0: []}])
def test_no_seed_in_common_is_no_difference(base: dict[int, list[float]]) -> None:
    assert paired_difference({0: [0.5]}, base) is None


@given(by_seed)
def test_a_row_does_not_differ_from_itself(values: dict[int, list[float]]) -> None:
    found = paired_difference(values, values)
    assert found is not None
    assert found.mean == 0
    assert found.excludes_zero in (None, False)


@given(by_seed, by_seed, st.lists(st.floats(-0.3, 0.3), min_size=10, max_size=10))
def test_what_a_seed_does_to_both_rows_cancels(
    values: dict[int, list[float]], base: dict[int, list[float]], shifts: list[float]
) -> None:
    def moved(found: dict[int, list[float]]) -> dict[int, list[float]]:
        return {seed: [value + shifts[seed] for value in students] for seed, students in found.items()}

    plain, shifted = paired_difference(values, base), paired_difference(moved(values), moved(base))
    assert (plain is None) == (shifted is None)
    if plain and shifted:
        assert shifted.mean == pytest.approx(plain.mean, abs=1e-9)
        assert (shifted.interval or ()) == pytest.approx(plain.interval or (), abs=1e-9)


@given(by_seed, by_seed)
def test_a_difference_turned_around_changes_its_sign(
    values: dict[int, list[float]], base: dict[int, list[float]]
) -> None:
    there, back = paired_difference(values, base), paired_difference(base, values)
    if there and back:
        assert there.mean == pytest.approx(-back.mean, abs=1e-12)
        assert there.excludes_zero == back.excludes_zero


def test_seeds_count_alike_whatever_their_students() -> None:
    assert mean_over_seeds({0: [0.2, 0.4], 1: [0.9], 2: []}) == pytest.approx(0.6)
    assert mean_over_seeds({}) is None


def test_an_interval_over_seeds_holds_the_truth_as_often_as_it_says() -> None:
    """Students of one seed are alike here, as students that learn from the same images are."""
    draws = random.Random(0)
    held = 0
    for _ in range(1000):
        seeds = [draws.gauss(0, 1) for _ in range(3)]
        values = {seed: [mean + draws.gauss(0, 1) for _ in range(5)] for seed, mean in enumerate(seeds)}
        low, high = interval_over_seeds(values) or (0, 0)
        held += low < 0 < high
    assert 0.92 < held / 1000 < 0.98
    assert interval_over_seeds({0: [0.1, 0.2, 0.4], 1: []}) == t_interval([0.1, 0.2, 0.4])
    assert interval_over_seeds({0: [0.1]}) is None
