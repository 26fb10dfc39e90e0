"""NCFM's target: characteristic functions in loops, what it sees that means do not, and the draws of frequencies."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from condense_baselines.losses.characteristic_function import (
    CharacteristicFunction,
    characteristic_distance,
    draw_frequencies,
)
from condense_baselines.losses.mean_embedding import MeanEmbedding
from condense_baselines.losses.trained_entropy import TrainedEntropy
from condense_baselines.options import CharacteristicFunctionOptions, RealBatchOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry
from condense.recipe.specs import NoOptions

EQUAL = {"amplitude": 0.5, "phase": 0.5}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_function(features: Tensor, frequency: list[float]) -> complex:
    """The mean of exp(i <t, f / |f|>), image by image, with complex numbers."""
    values = []
    for row in features.tolist():
        length = math.sqrt(sum(value * value for value in row))
        angle = sum(t * value / length for t, value in zip(frequency, row, strict=True))
        values.append(cmath.exp(1j * angle))
    return sum(values) / len(values)


def slow_distance(one: Tensor, other: Tensor, frequencies: Tensor, amplitude: float, phase: float) -> float:
    terms = []
    for frequency in frequencies.tolist():
        p, q = slow_function(one, frequency), slow_function(other, frequency)
        longer = (abs(q) - abs(p)) ** 2
        turned = 2 * (abs(q) * abs(p) - (p * q.conjugate()).real)
        terms.append(math.sqrt(amplitude * longer + phase * max(turned, 1e-12)))
    return sum(terms) / len(terms)


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from([(0.5, 0.5), (0.0, 1.0), (2.0, 0.3)]),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_distance_against_loops_with_complex_numbers(
    count: int, size: int, terms: tuple[float, float], seed: int
) -> None:
    draws = seeded(seed)
    one, other = (torch.randn(many, size, generator=draws, dtype=torch.float64) for many in (count, 4))
    frequencies = torch.randn(7, size, generator=draws, dtype=torch.float64)
    got = characteristic_distance(one, other, frequencies, amplitude=terms[0], phase=terms[1])
    assert got.shape == ()
    assert got.item() == pytest.approx(slow_distance(one, other, frequencies, *terms), rel=1e-6, abs=1e-8)


def test_with_equal_terms_it_is_the_length_of_the_difference() -> None:
    draws = seeded()
    one, other, frequencies = (
        torch.randn(many, 5, generator=draws, dtype=torch.float64) for many in (3, 6, 20)
    )
    gaps = [abs(slow_function(one, t) - slow_function(other, t)) for t in frequencies.tolist()]
    got = characteristic_distance(one, other, frequencies, **EQUAL)
    assert got.item() == pytest.approx(sum(gaps) / 20 / math.sqrt(2), rel=1e-6)


def test_equal_sets_are_near_and_their_gradient_is_finite() -> None:
    """Up to the constant of the published code: the root of 1e-12 / 2 at every frequency."""
    features = torch.randn(4, 6, generator=seeded(), dtype=torch.float64).requires_grad_(True)
    frequencies = torch.randn(9, 6, generator=seeded(1), dtype=torch.float64)
    order = torch.tensor([2, 0, 3, 1])
    loss = characteristic_distance(features, features.detach()[order], frequencies, **EQUAL)
    assert loss.item() == pytest.approx(math.sqrt(0.5e-12), rel=1e-2)
    loss.backward()
    assert features.grad is not None
    assert bool(torch.isfinite(features.grad).all())


def observation(features: Tensor, generator: torch.Generator | None = None) -> Observation:
    nothing = torch.zeros(len(features), 1, 1, 1)
    batch = BatchLabels.of_real(torch.zeros(len(features), dtype=torch.int64))
    return Observation(images=nothing, batch=batch, features=features, logits=features, generator=generator)


def test_it_sees_more_than_means_and_less_than_lengths() -> None:
    """Two points apart and one point twice have one mean: DM is content. Longer features are the same to NCFM."""
    apart = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    middle = torch.tensor([[0.55, 0.55], [0.55, 0.55]])
    ours = CharacteristicFunction(CharacteristicFunctionOptions(frequencies=200))
    dm = MeanEmbedding(RealBatchOptions())
    assert dm.loss(observation(apart), observation(middle)).item() == pytest.approx(0, abs=1e-10)
    assert ours.loss(observation(apart, seeded()), observation(middle)).item() > 0.1
    longer = 7 * apart
    assert dm.loss(observation(longer), observation(apart)).item() > 1
    assert ours.loss(observation(longer, seeded()), observation(apart)).item() < 1e-4


# Frequencies.


def test_frequencies_are_standard_normal_and_new_at_every_call() -> None:
    draws = seeded()
    one, other = (draw_frequencies(500, 40, draws, torch.device("cpu")) for _ in range(2))
    assert one.shape == (500, 40)
    assert abs(one.mean().item()) < 5 / math.sqrt(20000)
    assert one.std().item() == pytest.approx(1, abs=0.03)
    assert not torch.equal(one, other)


def test_the_generator_of_the_observation_decides_and_the_global_one_is_not_touched() -> None:
    before = torch.get_rng_state()
    one, other = (torch.randn(many, 5, generator=seeded()) for many in (3, 6))
    ours = CharacteristicFunction(CharacteristicFunctionOptions(frequencies=8))
    found = [ours.loss(observation(one, seeded(seed)), observation(other)).item() for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert torch.equal(torch.get_rng_state(), before)
    frequencies = draw_frequencies(8, 5, seeded(1), torch.device("cpu"))
    assert found[0] == characteristic_distance(one, other, frequencies, **EQUAL).item()


# Declared.


def needs_of(name: str, options: Any) -> Needs:
    found: Needs = load_registry().find("feature target", name).needs_of(options)
    return found


def test_it_looks_through_the_draw_and_the_entropy_through_the_trained_network() -> None:
    ours = needs_of("characteristic-function", CharacteristicFunctionOptions(real_batch=9))
    assert (ours.network, ours.at_once, ours.real_per_class) == ("pool", "one class", 9)
    entropy = needs_of("trained-cross-entropy", NoOptions())
    assert (entropy.network, entropy.at_once, entropy.real_per_class) == ("trained", "one class", 0)
    assert not ours.weight_gradients
    assert not entropy.weight_gradients


def test_the_entropy_against_a_loop() -> None:
    logits = torch.randn(4, 3, generator=seeded())
    labels = torch.tensor([2, 2, 0, 1])
    seen = replace(observation(logits), batch=BatchLabels.of_real(labels))
    expected = sum(
        math.log(sum(math.exp(value) for value in row)) - row[label]
        for row, label in zip(logits.tolist(), labels.tolist(), strict=True)
    )
    assert TrainedEntropy(NoOptions()).loss(seen, None).item() == pytest.approx(expected / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"frequencies": 0}, "frequencies must be at least 1"),
        ({"real_batch": 0}, "real_batch must be at least 1"),
        ({"amplitude": -1.0}, "amplitude must be 0 or more"),
        ({"phase": 0.0}, "phase must be above 0"),
        ({"phase": math.nan}, "phase must be a finite number"),
    ],
)
def test_options_are_checked(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CharacteristicFunctionOptions(**options)
