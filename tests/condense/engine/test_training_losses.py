"""Schedules, losses and optimizers of a training against slow forms."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from condense.data.cutmix import CutMix, mix_labels
from condense.data.feed import Batch
from condense.engine.training import (
    distillation_loss,
    hard_loss,
    learning_rate_fraction,
    make_optimizer,
)
from condense.recipe.training import Schedule


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Schedules.


@pytest.mark.parametrize(
    ("schedule", "steps", "fractions"),
    [
        ("constant", 3, [1, 1, 1]),
        ("cosine", 4, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("cosine", 1, [1, 0]),
        ("half-cosine", 2, [1, (1 + math.sqrt(0.5)) / 2, 0.5]),
        ("half-cosine", 3, [1, (1 + math.sqrt(0.75)) / 2, 0.75, 0.5]),
        ("half-cosine", 1, [1, 0.5]),
        ("halfway", 4, [1, 1, 0.1, 0.1]),
        ("halfway", 5, [1, 1, 0.1, 0.1, 0.1]),
        ("halfway", 1, [0.1]),
        ("two-drops", 12, [1] * 8 + [0.2] * 2 + [0.04] * 2),
        ("two-drops", 7, [1] * 5 + [0.2] + [0.04]),
        ("two-drops", 1, [1]),
        ("four-halvings", 10, [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]),
        ("four-halvings", 3, [1, 0.5, 0.125]),
        ("four-halvings", 1, [1]),
    ],
)
def test_schedules_by_hand(schedule: str, steps: int, fractions: list[float]) -> None:
    got = [learning_rate_fraction(schedule, step, steps) for step in range(len(fractions))]
    assert got == pytest.approx(fractions, abs=1e-12)


@given(st.sampled_from(list(get_args(Schedule))), st.integers(1, 1000), st.data())
def test_a_learning_rate_never_rises_nor_turns_negative(
    schedule: str, steps: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, steps - 1))
    fraction, later = (learning_rate_fraction(schedule, step + more, steps) for more in (0, 1))
    assert 0 <= later <= fraction <= 1


def test_half_a_cosine_is_the_first_half_of_one_twice_as_long() -> None:
    for step in range(101):
        twice = learning_rate_fraction("cosine", step, 200)
        assert learning_rate_fraction("half-cosine", step, 100) == pytest.approx(twice, abs=1e-12)


# Losses.


def slow_cross_entropy(logits: Tensor, label: int) -> float:
    values = logits.double().tolist()
    return math.log(sum(math.exp(value) for value in values)) - values[label]


def slow_divergence(teacher: Tensor, student: Tensor, temperature: float) -> float:
    """KL of two sets of logits (K,), term by term."""
    p, q = (
        [math.exp(value / temperature) for value in logits.double().tolist()] for logits in (teacher, student)
    )
    p, q = [value / sum(p) for value in p], [value / sum(q) for value in q]
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


# The classes of the 5 images of a feed, and the images of a batch.
LABELS = torch.tensor([2, 0, 1, 1, 0])
INDICES = [4, 2, 0]


def batch_of(indices: list[int], mix: CutMix | None = None) -> Batch:
    return Batch(torch.tensor(indices), LABELS[indices], torch.zeros(len(indices), 1, 4, 4), mix)


def test_hard_loss_is_the_mean_cross_entropy_of_the_batch() -> None:
    logits = torch.randn(3, 3, generator=seeded())
    expected = [
        slow_cross_entropy(row, int(LABELS[index])) for row, index in zip(logits, INDICES, strict=True)
    ]
    got = hard_loss()(batch_of(INDICES), logits)
    assert got.item() == pytest.approx(sum(expected) / 3, rel=1e-5)


@given(st.floats(0, 1), st.permutations([0, 1, 2]), st.integers(0, 2**32))
@settings(deadline=None)
def test_cutmix_mixes_the_losses_of_both_labels(share: float, order: list[int], seed: int) -> None:
    logits = torch.randn(3, 3, generator=seeded(seed))
    mix = CutMix(size=4, permutation=torch.tensor(order), box=(0, 0, 0, 0), share=share)
    own = [int(LABELS[index]) for index in INDICES]
    expected = [
        share * slow_cross_entropy(row, own[k]) + (1 - share) * slow_cross_entropy(row, own[order[k]])
        for k, row in enumerate(logits)
    ]
    got = hard_loss()(batch_of(INDICES, mix), logits)
    assert got.item() == pytest.approx(sum(expected) / 3, rel=1e-4)


@given(st.sampled_from([1.0, 4.0, 20.0]), st.integers(0, 2**32))
@settings(deadline=None)
def test_distillation_is_the_mean_divergence_from_the_teacher(temperature: float, seed: int) -> None:
    teacher, student = 5 * torch.randn(2, 4, 6, generator=seeded(seed))
    probabilities = torch.softmax(teacher / temperature, dim=1)
    got = distillation_loss(lambda _batch: probabilities, temperature)(batch_of([0, 1, 2, 3]), student)
    expected = [slow_divergence(a, b, temperature) for a, b in zip(teacher, student, strict=True)]
    assert got.item() == pytest.approx(sum(expected) / 4, rel=1e-3, abs=1e-6)


def test_a_student_that_agrees_with_its_teacher_has_nothing_to_learn() -> None:
    logits = torch.randn(4, 6, generator=seeded(), requires_grad=True)
    probabilities = torch.softmax(logits.detach() / 20, dim=1)
    loss = distillation_loss(lambda _batch: probabilities, 20.0)(batch_of([0, 1, 2, 3]), logits)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    [gradient] = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)


def test_a_certain_teacher_makes_it_cross_entropy() -> None:
    """Probabilities of 0 count nothing, though their logarithm is not finite."""
    student = torch.randn(3, 3, generator=seeded())
    certain = nn.functional.one_hot(LABELS[INDICES], 3).float()
    got = distillation_loss(lambda _batch: certain, 1.0)(batch_of(INDICES), student)
    torch.testing.assert_close(got, hard_loss()(batch_of(INDICES), student))


def test_the_teacher_is_asked_for_the_batch_at_hand() -> None:
    asked: list[Batch] = []

    def teach(batch: Batch) -> Tensor:
        asked.append(batch)
        return torch.full((1, 2), 0.5)

    batch = batch_of([3])
    loss = distillation_loss(teach, 2.0)(batch, torch.tensor([[1.0, 3.0]]))
    assert asked == [batch]
    # log of the mean of the two student probabilities' ratios to 1/2, at T = 2: q = 1 / (1 + e).
    q = 1 / (1 + math.e)
    assert loss.item() == pytest.approx(-0.5 * math.log(4 * q * (1 - q)), rel=1e-5)


@pytest.mark.parametrize("kind", ["hard", "distilled"])
def test_weights_count_by_image(kind: str) -> None:
    logits = torch.randn(3, 3, generator=seeded())
    weights = torch.tensor([2.0, 7.0, 0.5, 9.0, 0.0])
    shares = torch.softmax(torch.randn(5, 3, generator=seeded(1)), dim=1)

    def make(weights: Tensor | None) -> Any:
        if kind == "hard":
            return hard_loss(weights)
        return distillation_loss(lambda batch: shares[batch.indices], 1.0, weights)

    each = [make(None)(batch_of([index]), logits[k : k + 1]).item() for k, index in enumerate(INDICES)]
    expected = (0.0 * each[0] + 0.5 * each[1] + 2.0 * each[2]) / 3
    assert make(weights)(batch_of(INDICES), logits).item() == pytest.approx(expected, rel=1e-5)
    equal = make(torch.ones(5))(batch_of(INDICES), logits)
    torch.testing.assert_close(equal, make(None)(batch_of(INDICES), logits))


def test_mixed_and_weighted_go_together() -> None:
    logits = torch.randn(2, 3, generator=seeded())
    mix = CutMix(size=4, permutation=torch.tensor([1, 0]), box=(0, 0, 0, 0), share=0.25)
    shares = mix_labels(nn.functional.one_hot(LABELS[[0, 1]], 3).float(), mix)
    assert shares.tolist() == [[0.75, 0, 0.25], [0.25, 0, 0.75]]
    each = -(shares * torch.log_softmax(logits, dim=1)).sum(dim=1)
    got = hard_loss(torch.tensor([3.0, 1.0, 0, 0, 0]))(batch_of([0, 1], mix), logits)
    torch.testing.assert_close(got, (3 * each[0] + each[1]) / 2)


# Optimizers.


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_that_was_named(name: Any, kind: type[torch.optim.Optimizer]) -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(name, [weight], lr=0.3, momentum=0.7, weight_decay=0.02)
    assert type(optimizer) is kind
    [group] = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.02)
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.7, False)
    else:
        assert group["betas"] == (0.9, 0.999)
        chosen = make_optimizer(name, [weight], lr=0.3, momentum=0.7, betas=(0.5, 0.8))
        assert chosen.param_groups[0]["betas"] == (0.5, 0.8)
        assert chosen.param_groups[0]["weight_decay"] == 0


def test_sgd_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer("sgd", [weight], lr=0.1, momentum=0.5, weight_decay=0.1)
    expected, velocity = 1.0, 0.0
    for _ in range(3):
        weight.grad = torch.tensor([2.0])
        velocity = 0.5 * velocity + (2.0 + 0.1 * expected)
        expected -= 0.1 * velocity
        optimizer.step()
    assert weight.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_by_hand(name: Any) -> None:
    """Kingma & Ba, ICLR 2015, algorithm 1; the decay is part of the gradient, or apart from it for adamw."""
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer(name, [weight], lr=0.1, momentum=0.9, betas=(0.5, 0.8), weight_decay=0.1)
    expected, first, second = 1.0, 0.0, 0.0
    for step in (1, 2, 3):
        weight.grad = torch.tensor([2.0 / step])
        slope = 2.0 / step + (0.1 * expected if name == "adam" else 0.0)
        expected -= 0.1 * 0.1 * expected if name == "adamw" else 0.0
        first, second = 0.5 * first + 0.5 * slope, 0.8 * second + 0.2 * slope**2
        corrected = math.sqrt(second / (1 - 0.8**step)) + 1e-8
        expected -= 0.1 * first / (1 - 0.5**step) / corrected
        optimizer.step()
    assert weight.item() == pytest.approx(expected, rel=1e-5)
