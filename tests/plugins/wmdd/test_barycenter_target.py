"""The barycenter target: its loss against loops over classes and slots, and what fitting gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from condense_wmdd.barycenter import SOLVERS
from condense_wmdd.barycenter_target import BarycenterTarget
from condense_wmdd.options import BarycenterOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.errors import NumericalError, OptionError
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry

FORMS = ("squares", "norms", "relative")
SPREADS = (1.0, 2.0, 0.5, 3.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seen(features: Tensor, batch: BatchLabels) -> Observation:
    count = len(features)
    return Observation(
        images=torch.zeros(count, 1, 2, 2), batch=batch, features=features, logits=torch.zeros(count, 2)
    )


def batch_of(labels: Sequence[int], ipc: int, weights: Tensor) -> BatchLabels:
    """All slots of these classes. weights: (K, ipc)."""
    chosen = torch.tensor(labels)
    return BatchLabels.of(
        chosen.repeat_interleave(ipc), torch.arange(ipc).repeat(len(labels)), weights[chosen].flatten()
    )


def fitted(form: Any, atoms: Tensor, weights: Tensor | None = None) -> BarycenterTarget:
    target = BarycenterTarget(BarycenterOptions(form=form))
    classes, ipc, _ = atoms.shape
    equal = torch.full((classes, ipc), 1 / ipc)
    target.restore(
        {
            "atoms": atoms,
            "weights": equal if weights is None else weights,
            "costs": torch.zeros(classes),
            "spreads": torch.tensor(SPREADS[:classes]),
        }
    )
    return target


def slow_loss(form: str, features: Tensor, atoms: Tensor, labels: Sequence[int]) -> float:
    """Class by class and slot by slot. features: (len(labels) * ipc, D)."""
    ipc = atoms.shape[1]
    per_class = []
    for place, label in enumerate(labels):
        total = 0.0
        for slot in range(ipc):
            gap = features[place * ipc + slot].double() - atoms[label, slot].double()
            total += sum(value * value for value in gap.tolist())
        per_class.append(total)
    if form == "squares":
        return sum(per_class)
    if form == "norms":
        return math.sqrt(sum(per_class))
    relative = [total / SPREADS[label] ** 2 for total, label in zip(per_class, labels, strict=True)]
    return math.sqrt(sum(relative) / len(features))


@given(
    st.sampled_from(FORMS),
    st.sampled_from([(0,), (2,), (0, 2), (1, 2, 3), (0, 1, 2, 3)]),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_loss_against_loops(form: str, labels: tuple[int, ...], ipc: int, seed: int) -> None:
    draws = seeded(seed)
    atoms = torch.randn(4, ipc, 5, generator=draws)
    weights = torch.rand(4, ipc, generator=draws) + 0.1
    weights = weights / weights.sum(1, keepdim=True)
    features = torch.randn(len(labels) * ipc, 5, generator=draws)
    target = fitted(form, atoms, weights)
    got = target.loss(seen(features, batch_of(labels, ipc, weights)), None)
    assert got.shape == ()
    assert got.item() == pytest.approx(slow_loss(form, features, atoms, labels), rel=1e-5)


def test_loss_by_hand() -> None:
    """Two classes of two slots: gaps (3, 4), (0, 0) and (0, 0), (0, 12)."""
    atoms = torch.zeros(2, 2, 2)
    features = torch.tensor([[3.0, 4], [0, 0], [0, 0], [0, 12]])
    batch = batch_of((0, 1), 2, torch.full((2, 2), 0.5))
    assert fitted("squares", atoms).loss(seen(features, batch), None).item() == 25 + 144
    assert fitted("norms", atoms).loss(seen(features, batch), None).item() == 13
    # Spreads 1 and 2: four gaps of 5, 0, 0 and 6 spreads.
    relative = fitted("relative", atoms).loss(seen(features, batch), None)
    assert relative.item() == pytest.approx(math.sqrt((25 + 36) / 4))


def test_classes_of_a_batch_are_independent() -> None:
    """Squares add up over classes, and norms as the sides of a triangle do; a class moves its own images alone."""
    draws = seeded()
    atoms, features = torch.randn(3, 2, 4, generator=draws), torch.randn(4, 4, generator=draws)
    equal = torch.full((3, 2), 0.5)
    for form in FORMS:
        target = fitted(form, atoms)
        both = features.clone().requires_grad_(True)
        together = target.loss(seen(both, batch_of((0, 2), 2, equal)), None)
        together.backward()
        parts = []
        for place, label in enumerate((0, 2)):
            alone = features[2 * place : 2 * place + 2].clone().requires_grad_(True)
            part = target.loss(seen(alone, batch_of((label,), 2, equal)), None)
            part.backward()
            parts.append(part.item())
            assert both.grad is not None and alone.grad is not None
            # The gradient of a norm is the gap divided by the norm of all gaps.
            scale = {"squares": 1.0, "norms": together.item() / part.item()}.get(
                form, 2 * together.item() / part.item()
            )
            torch.testing.assert_close(scale * both.grad[2 * place : 2 * place + 2], alone.grad)
        combined = math.hypot(*parts)
        expected = {"squares": sum(parts), "norms": combined, "relative": combined / math.sqrt(2)}
        assert together.item() == pytest.approx(expected[form], rel=1e-6)


def test_the_gradient_of_norms_does_not_shrink_with_the_number_of_classes() -> None:
    """The published code takes one norm of the whole batch: with K equal classes a class pulls with 1 / sqrt(K)."""
    gap = torch.tensor([[3.0, 4.0]])
    for classes in (1, 4):
        features = gap.repeat(classes, 1).requires_grad_(True)
        target = fitted("norms", torch.zeros(classes, 1, 2))
        loss = target.loss(seen(features, batch_of(tuple(range(classes)), 1, torch.ones(classes, 1))), None)
        loss.backward()
        assert features.grad is not None
        assert float(features.grad[0].norm()) == pytest.approx(1 / math.sqrt(classes))


@given(st.floats(0.01, 100), st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_the_relative_form_has_no_unit(unit: float, seed: int) -> None:
    """Features of a network in other units, and the atoms fitted to them, have the same loss."""
    draws = seeded(seed)
    real, labels = torch.randn(30, 5, generator=draws), torch.arange(30) % 3
    made = torch.randn(6, 5, generator=draws)
    losses = []
    for factor in (1.0, unit):
        target = BarycenterTarget(BarycenterOptions(form="relative", restarts=1))
        feed(target, factor * real, labels, 30, 3)
        target.fit(2, seeded())
        batch = batch_of((0, 1, 2), 2, target.weights)
        losses.append(target.loss(seen(factor * made, batch), None).item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_spreads_are_distances_from_the_class_mean() -> None:
    """Class 0 lies 5 from its mean, on both sides; the images of class 1 are equal, and its gaps stay as they are."""
    features = torch.tensor([[3.0, 4], [-3, -4], [1, 1], [1, 1]])
    target = BarycenterTarget(BarycenterOptions())
    feed(target, features, torch.tensor([0, 0, 1, 1]), 4, 2)
    target.fit(1, seeded())
    assert target.spreads.tolist() == [5.0, 1.0]


@pytest.mark.parametrize("form", FORMS)
def test_features_on_their_atoms_have_no_loss_and_a_finite_gradient(form: str) -> None:
    atoms = torch.randn(2, 3, 4, generator=seeded())
    features = atoms.flatten(0, 1).clone().requires_grad_(True)
    loss = fitted(form, atoms).loss(seen(features, batch_of((0, 1), 3, torch.full((2, 3), 1 / 3))), None)
    loss.backward()
    assert loss.item() < 1e-5
    assert features.grad is not None
    assert torch.equal(features.grad, torch.zeros_like(features))


def feed(target: BarycenterTarget, features: Tensor, labels: Tensor, batch: int, classes: int) -> None:
    target.begin(classes, torch.Generator())
    for rows in torch.arange(len(labels)).split(batch):
        target.observe(seen(features[rows], BatchLabels.of_real(labels[rows])))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_fit_finds_the_places_that_each_class_has(solver: Any, batch: int) -> None:
    """Class 0 has 3 points at 0 and 3 at (10, 0); class 1 has 4 at (0, 5) and 4 at (0, -5)."""
    places = [[0.0, 0.0]] * 3 + [[10.0, 0.0]] * 3 + [[0.0, 5.0]] * 4 + [[0.0, -5.0]] * 4
    order = torch.randperm(14, generator=seeded(1))
    features, labels = torch.tensor(places)[order], (torch.arange(14) >= 6).long()[order]
    target = BarycenterTarget(BarycenterOptions(solver=solver))
    feed(target, features, labels, batch, 2)
    target.fit(2, seeded())
    assert sorted(target.atoms[0].round(decimals=3).tolist()) == [[0, 0], [10, 0]]
    assert sorted(target.atoms[1].round(decimals=3).tolist()) == [[0, -5], [0, 5]]
    torch.testing.assert_close(target.slot_weights(), torch.full((2, 2), 0.5), rtol=1e-3, atol=1e-3)
    assert float(target.costs.max()) < 1e-3


def test_a_class_draws_from_its_own_generator() -> None:
    """Neither the images of another class nor more classes change the barycenter of a class."""
    draws = seeded(4)
    features, labels = torch.randn(120, 5, generator=draws), torch.arange(120) % 3
    found = []
    for classes, shift in ((3, 0.0), (3, 7.0), (2, 0.0)):
        shown = torch.where(
            (labels == 0)[:, None], features + shift * torch.randn(120, 5, generator=draws), features
        )
        kept = labels < classes
        target = BarycenterTarget(BarycenterOptions(restarts=2))
        feed(target, shown[kept], labels[kept], 50, classes)
        target.fit(6, seeded(9))
        found.append(target)
    assert not torch.allclose(found[0].atoms[0], found[1].atoms[0])
    for other in found[1:]:
        torch.testing.assert_close(other.atoms[1], found[0].atoms[1])
        assert torch.equal(other.weights[1], found[0].weights[1])
    torch.testing.assert_close(found[2].atoms[0], found[0].atoms[0])


def test_one_atom_is_the_mean_of_its_class_whatever_the_batches() -> None:
    features, labels = torch.randn(30, 6, generator=seeded()), torch.arange(30) % 3
    for batch in (1, 7, 30):
        target = BarycenterTarget(BarycenterOptions())
        feed(target, features, labels, batch, 3)
        target.fit(1, seeded())
        for label in range(3):
            own = features[labels == label].double()
            mean = own.sum(0) / len(own)
            torch.testing.assert_close(target.atoms[label, 0].double(), mean, rtol=1e-5, atol=1e-6)
            cost = float((own - mean).square().sum() / len(own))
            assert float(target.costs[label]) == pytest.approx(cost, rel=1e-5)
        assert target.slot_weights().tolist() == [[1.0]] * 3


def test_weights_of_each_class_sum_to_one_and_atoms_are_float32() -> None:
    features, labels = torch.randn(40, 5, generator=seeded()), torch.arange(40) % 2
    target = BarycenterTarget(BarycenterOptions(restarts=2))
    feed(target, features, labels, 9, 2)
    target.fit(4, seeded())
    assert target.atoms.shape == (2, 4, 5)
    assert target.atoms.dtype == target.weights.dtype == target.costs.dtype == torch.float32
    torch.testing.assert_close(target.weights.sum(1), torch.ones(2))
    assert float(target.weights.min()) > 0


def test_what_was_fitted_comes_back() -> None:
    features, labels = torch.randn(40, 5, generator=seeded()), torch.arange(40) % 2
    target, other = (BarycenterTarget(BarycenterOptions()) for _ in range(2))
    feed(target, features, labels, 40, 2)
    target.fit(3, seeded())
    other.restore({name: tensor.clone() for name, tensor in target.state().items()})
    batch = seen(torch.randn(6, 5, generator=seeded(2)), batch_of((0, 1), 3, target.weights))
    assert torch.equal(other.loss(batch, None), target.loss(batch, None))
    assert torch.equal(other.slot_weights(), target.slot_weights())
    assert torch.equal(other.costs, target.costs)


def test_it_observes_through_one_teacher_and_takes_any_part_of_a_class() -> None:
    needs = load_registry().find("feature target", "barycenter").needs_of(BarycenterOptions())
    assert needs.network == "teacher"
    assert needs.observes
    assert needs.statistics == ()
    assert needs.at_once == Needs().at_once
    assert not needs.each_member


def test_a_second_measurement_forgets_the_first() -> None:
    target = BarycenterTarget(BarycenterOptions())
    for shift in (100.0, 0.0):
        features = shift + torch.tensor([[0.0], [2.0], [5.0], [7.0]])
        feed(target, features, torch.tensor([0, 0, 1, 1]), 4, 2)
        target.fit(1, seeded())
    assert target.atoms.flatten().tolist() == [1.0, 6.0]


def test_features_that_are_not_finite() -> None:
    target = BarycenterTarget(BarycenterOptions())
    feed(target, torch.tensor([[0.0], [torch.inf]]), torch.tensor([0, 1]), 2, 2)
    with pytest.raises(NumericalError, match="features of the real images are not finite"):
        target.fit(1, seeded())


def test_more_atoms_than_images() -> None:
    target = BarycenterTarget(BarycenterOptions())
    feed(target, torch.randn(5, 3, generator=seeded()), torch.tensor([0, 0, 0, 1, 1]), 5, 2)
    with pytest.raises(OptionError, match=r"3 .* 2"):
        target.fit(3, seeded())


def test_restarts_below_one() -> None:
    with pytest.raises(ValueError, match="restarts must be at least 1, not 0"):
        BarycenterOptions(restarts=0)
