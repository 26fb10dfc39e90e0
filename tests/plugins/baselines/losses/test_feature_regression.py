"""The target of feature regression: another solver, labels that are known already, and parts of the classes."""

from __future__ import annotations

import pytest
import torch
from condense_baselines.losses.feature_regression import FeatureRegression, centred, ridge_regression
from condense_baselines.options import FeatureRegressionOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from condense.models.observation import BatchLabels, Observation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seen(features: Tensor, labels: list[int]) -> Observation:
    nothing = features.new_empty((len(features), 0))
    return Observation(
        images=nothing, batch=BatchLabels.of_real(torch.tensor(labels)), features=features, logits=nothing
    )


@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 6), st.floats(1e-3, 10), st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_predictions_are_those_of_another_solver(
    known: int, width: int, asked: int, ridge: float, seed: int
) -> None:
    draws = seeded(seed)
    features = torch.randn(known, width, generator=draws)
    answers = torch.randn(known, 3, generator=draws)
    others = torch.randn(asked, width, generator=draws)
    kernel = (features @ features.T / width).double().numpy()
    strength = ridge * kernel.diagonal().mean()
    solver = KernelRidge(kernel="precomputed", alpha=strength).fit(kernel, answers.double().numpy())
    expected = solver.predict((others @ features.T / width).double().numpy())
    found = ridge_regression(features, answers, others, ridge)
    torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=2e-3, atol=2e-3)


def test_the_loss_is_the_mean_squared_error_of_the_labels() -> None:
    """Features that are the unit vectors: an image predicts its own label, shrunk by 1 / (1 + ridge)."""
    one_of_each = torch.eye(2)
    found = FeatureRegression(FeatureRegressionOptions(ridge=1.0)).loss(
        seen(one_of_each, [0, 1]), seen(one_of_each, [0, 1])
    )
    # Labels are (1/2, -1/2) and its negative, predictions are half of them: 2 entries with an error of 1/4.
    assert float(found) == pytest.approx(2 * 0.25**2)


def test_real_images_like_the_synthetic_ones_cost_nothing_and_swapped_labels_much() -> None:
    features = torch.randn(6, 20, generator=seeded())
    loss = FeatureRegression(FeatureRegressionOptions(ridge=1e-5)).loss
    labels = [0, 0, 1, 1, 2, 2]
    assert float(loss(seen(features, labels), seen(features, labels))) < 1e-6
    swapped = float(loss(seen(features, labels), seen(features, [1, 1, 2, 2, 0, 0])))
    assert swapped == pytest.approx(2.0, abs=1e-2)  # |e_a - e_b|^2


def test_a_chunk_may_hold_some_of_the_classes() -> None:
    draws = seeded()
    synthetic, real = torch.randn(4, 5, generator=draws), torch.randn(6, 5, generator=draws)
    loss = FeatureRegression(FeatureRegressionOptions()).loss
    low = loss(seen(synthetic, [0, 0, 1, 1]), seen(real, [0, 0, 0, 1, 1, 1]))
    high = loss(seen(synthetic, [3, 3, 7, 7]), seen(real, [3, 3, 3, 7, 7, 7]))
    assert torch.equal(low, high)
    assert torch.equal(
        centred(torch.tensor([7, 3]), torch.tensor([3, 7])), torch.tensor([[-0.5, 0.5], [0.5, -0.5]])
    )


def test_a_step_against_the_gradient_makes_the_error_smaller() -> None:
    draws = seeded(1)
    features = torch.randn(4, 8, generator=draws).requires_grad_(True)
    real = seen(torch.randn(30, 8, generator=draws), [index % 2 for index in range(30)])
    loss = FeatureRegression(FeatureRegressionOptions(ridge=0.1)).loss
    before = loss(seen(features, [0, 0, 1, 1]), real)
    (gradient,) = torch.autograd.grad(before, features)
    moved = features.detach() - 0.01 * gradient / gradient.norm()
    after = loss(seen(moved, [0, 0, 1, 1]), real)
    expected = -0.01 * float(gradient.norm())
    assert float(after - before.detach()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("options", [{"ridge": 0.0}, {"ridge": float("nan")}, {"real_batch": 0}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        FeatureRegressionOptions(**options)  # type: ignore[arg-type]
