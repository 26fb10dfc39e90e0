"""The training loop: schedules and losses against slow forms, and that it learns, repeats itself and stops."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from condense.data.cutmix import CutMix, mix_labels
from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.data.feed import Batch, Feed
from condense.engine.training import (
    accuracy,
    distillation_loss,
    hard_loss,
    learning_rate_share,
    make_optimizer,
    train,
)
from condense.errors import NumericalError
from condense.models.network import Network
from condense.recipe.training import Augment, Training
from condense.runtime import Runtime, SilentReporter, make_runtime

RUNTIME = make_runtime("cpu", "fp32")
PLAIN = Training(epochs=3, batch_size=4, lr=0.1, schedule="constant")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(indices: list[int], mix: CutMix | None = None) -> Batch:
    return Batch(torch.tensor(indices), torch.zeros(len(indices), 1, 4, 4), mix)


# Schedules.


@pytest.mark.parametrize(
    ("schedule", "steps", "shares"),
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
    ],
)
def test_schedules_by_hand(schedule: str, steps: int, shares: list[float]) -> None:
    got = [learning_rate_share(schedule, step, steps) for step in range(len(shares))]
    assert got == pytest.approx(shares, abs=1e-12)


@given(st.sampled_from(["constant", "cosine", "half-cosine", "halfway"]), st.integers(1, 1000), st.data())
def test_a_learning_rate_never_rises_nor_turns_negative(
    schedule: str, steps: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, steps - 1))
    share, later = (learning_rate_share(schedule, step + more, steps) for more in (0, 1))
    assert 0 <= later <= share <= 1


def test_half_a_cosine_is_the_first_half_of_one_twice_as_long() -> None:
    for step in range(101):
        twice = learning_rate_share("cosine", step, 200)
        assert learning_rate_share("half-cosine", step, 100) == pytest.approx(twice, abs=1e-12)


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


LABELS = torch.tensor([2, 0, 1, 1, 0])
INDICES = [4, 2, 0]


def test_hard_loss_is_the_mean_cross_entropy_of_the_batch() -> None:
    logits = torch.randn(3, 3, generator=seeded())
    expected = [
        slow_cross_entropy(row, int(LABELS[index])) for row, index in zip(logits, INDICES, strict=True)
    ]
    got = hard_loss(LABELS, 3)(batch_of(INDICES), logits)
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
    got = hard_loss(LABELS, 3)(batch_of(INDICES, mix), logits)
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
    torch.testing.assert_close(got, hard_loss(LABELS, 3)(batch_of(INDICES), student))


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
            return hard_loss(LABELS, 3, weights)
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
    got = hard_loss(LABELS, 3, torch.tensor([3.0, 1.0, 0, 0, 0]))(batch_of([0, 1], mix), logits)
    torch.testing.assert_close(got, (3 * each[0] + each[1]) / 2)


# Optimizers.


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_that_was_named(name: Any, kind: type[torch.optim.Optimizer]) -> None:
    options = Training(optimizer=name, lr=0.3, weight_decay=0.02, momentum=0.7)
    optimizer = make_optimizer(options, [nn.Parameter(torch.ones(1))])
    assert type(optimizer) is kind
    [group] = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.02)
    if name == "sgd":
        assert (group["momentum"], group["nesterov"]) == (0.7, False)
    else:
        assert group["betas"] == (0.9, 0.999)


def test_sgd_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = make_optimizer(Training(lr=0.1, momentum=0.5, weight_decay=0.1), [weight])
    expected, velocity = 1.0, 0.0
    for _ in range(3):
        weight.grad = torch.tensor([2.0])
        velocity = 0.5 * velocity + (2.0 + 0.1 * expected)
        expected -= 0.1 * velocity
        optimizer.step()
    assert weight.item() == pytest.approx(expected, rel=1e-6)


# The loop.


def toy(per_class: int = 8, seed: int = 0) -> RealDataset:
    """Bright left halves against bright right halves, with a little noise: one plane separates them."""
    labels = torch.arange(2).repeat(per_class)
    pixels = torch.randint(0, 60, (2 * per_class, 1, 4, 4), generator=seeded(seed))
    pixels[labels == 0, :, :, :2] += 150
    pixels[labels == 1, :, :, 2:] += 150
    split = Split(MemoryImages(pixels.to(torch.uint8)), labels)
    return RealDataset(
        name="toy", classes=("left", "right"), train=split, test=split, size=4, mean=(0.4,), std=(0.3,)
    )


def feed_of(dataset: RealDataset) -> Feed:
    return Feed(dataset.train.images, size=4, mean=dataset.mean, std=dataset.std, runtime=RUNTIME)


def network(seed: int = 0) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
        )
    return Network(model, "toy")


def trained(options: Training, seed: int = 0, student: Network | None = None) -> Network:
    student, dataset = student or network(), toy()
    train(
        student,
        feed_of(dataset),
        hard_loss(dataset.train.labels, 2),
        options,
        generator=seeded(seed),
        runtime=RUNTIME,
        what="a toy",
    )
    return student


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_what_one_plane_separates_is_learnt(optimizer: Any) -> None:
    linear = Network(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), "linear")
    nn.init.zeros_(linear.model[1].weight)  # type: ignore[index]
    nn.init.zeros_(linear.model[1].bias)  # type: ignore[index]
    unseen = toy(per_class=50, seed=1)
    assert accuracy(linear, unseen.test, unseen, RUNTIME) == 0.5
    trained(Training(epochs=20, batch_size=4, lr=0.02, optimizer=optimizer), student=linear)
    assert accuracy(linear, unseen.test, unseen, RUNTIME) == 1.0
    assert not linear.model.training


AUGMENTED = Training(
    epochs=3,
    batch_size=4,
    lr=0.05,
    augment=Augment(crop_scale=(0.5, 1.0), flip=True, jitter=0.25, cutmix=1.0),
)


def test_one_seed_gives_the_same_weights_bit_for_bit() -> None:
    before = torch.get_rng_state()
    first, again, other = (trained(AUGMENTED, seed).model.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_no_epochs_change_nothing() -> None:
    before, after = network(), trained(Training(epochs=0))
    for name, value in before.model.state_dict().items():
        assert torch.equal(value, after.model.state_dict()[name])


def test_only_weights_that_want_gradients_are_trained() -> None:
    student = network()
    student.model[0].requires_grad_(False)  # type: ignore[index]
    frozen = student.model[0].weight.clone()  # type: ignore[index]
    head = student.model[4].weight.clone()  # type: ignore[index]
    trained(PLAIN, student=student)
    assert torch.equal(student.model[0].weight, frozen)  # type: ignore[index]
    assert not torch.equal(student.model[4].weight, head)  # type: ignore[index]


@pytest.mark.parametrize(("batch_size", "per_epoch"), [(4, 4), (16, 1), (5, 3), (100, 1), (3, 5)])
def test_the_schedule_ends_with_the_last_step(
    batch_size: int, per_epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 images: 5 + 5 + 6 where the last would be alone, and a cosine that still runs to its end."""
    seen: list[tuple[int, int]] = []

    def noted(_schedule: str, step: int, steps: int) -> float:
        seen.append((step, steps))
        return 1.0

    monkeypatch.setattr("condense.engine.training.learning_rate_share", noted)
    dataset, student = toy(), network()
    steps = train(
        student,
        feed_of(dataset),
        hard_loss(dataset.train.labels, 2),
        Training(epochs=2, batch_size=batch_size),
        generator=seeded(),
        runtime=RUNTIME,
        what="a toy",
    )
    assert steps == 2 * per_epoch
    assert seen == [(step, steps) for step in range(steps)]


def test_the_learning_rate_is_the_first_times_its_share() -> None:
    """One SGD step per epoch on a constant gradient moves the weight by lr times the share."""
    moved: list[float] = []

    def slope(_batch: Batch, logits: Tensor) -> Tensor:
        bias = student.model[1].bias  # type: ignore[index]
        moved.append(float(bias[0].detach()))
        return bias[0] + 0 * logits.sum()

    student = Network(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), "linear")
    options = Training(epochs=3, batch_size=16, lr=0.4, momentum=0.0, weight_decay=0.0, schedule="cosine")
    dataset = toy()
    train(student, feed_of(dataset), slope, options, generator=seeded(), runtime=RUNTIME, what="a toy")
    moved.append(float(student.model[1].bias[0].detach()))  # type: ignore[index]
    steps = [before - after for before, after in pairwise(moved)]
    assert steps == pytest.approx([0.4, 0.4 * 0.75, 0.4 * 0.25], rel=1e-5)


def test_the_reporter_hears_of_every_epoch() -> None:
    class Counting(SilentReporter):
        told: list[tuple[int, Any]]

        def advance(self, count: int, values: Any = None) -> None:
            self.told.append((count, values))

    reporter = Counting()
    reporter.told = []
    dataset = toy()
    train(
        network(),
        feed_of(dataset),
        hard_loss(dataset.train.labels, 2),
        PLAIN,
        generator=seeded(),
        runtime=Runtime(torch.device("cpu"), False, reporter),
        what="a toy",
    )
    assert [count for count, _ in reporter.told] == [1, 1, 1]
    assert all(math.isfinite(values["loss"]) for _, values in reporter.told)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_training(bad: float) -> None:
    dataset, steps = toy(), 0

    def breaking(batch: Batch, logits: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        return logits.sum() * (bad if steps == 8 else 0.0)  # The last of epoch 2.

    with pytest.raises(NumericalError, match=rf"the loss of a toy became -?{bad} in epoch 2; lower.*now 0.1"):
        train(network(), feed_of(dataset), breaking, PLAIN, generator=seeded(), runtime=RUNTIME, what="a toy")


# Accuracy.


def test_accuracy_by_hand() -> None:
    class Brightness(nn.Module):
        """Class 1 where the image is bright, else 0."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, images: Tensor) -> Tensor:
            bright = images.mean(dim=(1, 2, 3))
            return torch.stack([-bright, bright], dim=1)

    values = torch.tensor([0, 255, 10, 250, 240], dtype=torch.uint8)
    split = Split(MemoryImages(values.view(-1, 1, 1, 1).expand(5, 1, 4, 4)), torch.tensor([0, 1, 1, 1, 0]))
    dataset = RealDataset(
        name="toy", classes=("dark", "bright"), train=split, test=split, size=4, mean=(0.5,), std=(0.5,)
    )
    for batch_size in (1, 2, 5, 100):
        assert accuracy(Network(Brightness(), "x"), split, dataset, RUNTIME, batch_size) == 3 / 5


def test_accuracy_is_measured_in_eval_mode_and_moves_no_statistics() -> None:
    student, dataset = network(), toy()
    student.model.train()
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    one_by_one = accuracy(student, dataset.test, dataset, RUNTIME, batch_size=1)
    assert one_by_one == accuracy(student, dataset.test, dataset, RUNTIME)
    assert all(torch.equal(before[name], value) for name, value in student.model.state_dict().items())
