"""The training loop: that it learns, repeats itself and stops; and the accuracy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.data.feed import Batch, Feed
from condense.engine.training import accuracy, hard_loss, train
from condense.errors import NumericalError
from condense.models.network import Network
from condense.recipe.training import Augment, Training
from condense.runtime import Runtime, SilentReporter, make_runtime

RUNTIME = make_runtime("cpu", "fp32")
PLAIN = Training(epochs=3, batch_size=4, lr=0.1, schedule="constant")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    train = dataset.train
    return Feed(train.images, train.labels, size=4, mean=dataset.mean, std=dataset.std, runtime=RUNTIME)


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
        hard_loss(),
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

    monkeypatch.setattr("condense.engine.training.learning_rate_fraction", noted)
    dataset, student = toy(), network()
    steps = train(
        student,
        feed_of(dataset),
        hard_loss(),
        Training(epochs=2, batch_size=batch_size),
        generator=seeded(),
        runtime=RUNTIME,
        what="a toy",
    )
    assert steps == 2 * per_epoch
    assert seen == [(step, steps) for step in range(steps)]


def test_the_learning_rate_is_the_first_times_its_fraction() -> None:
    """One SGD step per epoch on a constant gradient moves the weight by lr times the fraction."""
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
        hard_loss(),
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
