"""Students that are differentiated through: their steps are torch's, and the gradient is that of small changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.data.feed import Batch
from condense.engine.training import hard_loss, learning_rate_fraction, optimizer_of
from condense.engine.unrolled import UnrolledStudent
from condense.models.network import Network
from condense.recipe.training import Training

STEPS = 5
KINDS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
    {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.1},
    {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(*, normalised: bool = True) -> Network:
    """Without a bias before the norm, whose gradient is rounding alone, which Adam would make as large as any other."""
    norm = nn.BatchNorm2d(4) if normalised else nn.Identity()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        convolution, linear = nn.Conv2d(1, 4, 3, bias=False), nn.Linear(4 * 16, 3)
    return Network(nn.Sequential(convolution, norm, nn.Softplus(), nn.Flatten(), linear), "small")


def batches(images: Tensor) -> list[Batch]:
    """One batch for each step: images (STEPS, 7, 1, 6, 6)."""
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    return [Batch(torch.arange(7), labels, part, None) for part in images]


def images() -> Tensor:
    return torch.randn(STEPS, 7, 1, 6, 6, generator=seeded())


@pytest.mark.parametrize(
    "options", KINDS, ids=lambda options: f"{options['optimizer']}-{options['weight_decay']}"
)
def test_weights_and_statistics_are_those_of_torch(options: dict[str, Any]) -> None:
    training = Training(epochs=1, schedule="cosine", **options)
    plain = network()
    student = UnrolledStudent(copy.deepcopy(plain), training, steps=2 * STEPS)
    optimizer = optimizer_of(plain, training)
    plain.model.train()
    for step, batch in enumerate(batches(images())):
        optimizer.param_groups[0]["lr"] = training.lr * learning_rate_fraction("cosine", step, 2 * STEPS)
        optimizer.zero_grad()
        F.cross_entropy(plain.model(batch.images), batch.labels).backward()
        optimizer.step()
    plain.model.eval()
    shown = torch.randn(9, 1, 6, 6, generator=seeded(4))
    found = student.train(batches(images()), hard_loss())
    torch.testing.assert_close(found.logits(shown), plain.model(shown), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", KINDS, ids=lambda options: f"{options['optimizer']}-{options['weight_decay']}"
)
def test_the_gradient_is_that_of_small_changes(options: dict[str, Any]) -> None:
    """Along the gradient itself, where the change of the outcome is the largest."""
    training = Training(epochs=1, schedule="constant", **options)
    shown = torch.randn(20, 1, 6, 6, generator=seeded(4))
    classes = torch.arange(20) % 3

    def outcome(pixels: Tensor) -> Tensor:
        student = UnrolledStudent(network(normalised=False), training, steps=STEPS)
        return F.cross_entropy(student.train(batches(pixels), hard_loss()).logits(shown), classes)

    pixels = images().requires_grad_(True)
    (gradient,) = torch.autograd.grad(outcome(pixels), [pixels])
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
    direction = gradient / gradient.norm()
    small = 0.005
    up, down = (float(outcome(pixels.detach() + sign * small * direction).detach()) for sign in (1, -1))
    assert (up - down) / (2 * small) == pytest.approx(float(gradient.norm()), rel=0.05)


def test_a_weight_without_any_gradient_leaves_that_of_the_images_finite() -> None:
    """A pixel that is always 0 gives the weights behind it a gradient of exactly 0, at which a root has none."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    student = UnrolledStudent(Network(model, "linear"), Training(epochs=1, optimizer="adamw"), steps=STEPS)
    pixels = images()
    pixels[..., 0, 0] = 0
    pixels.requires_grad_(True)
    found = student.train(batches(pixels), hard_loss()).logits(torch.ones(3, 1, 6, 6))
    (gradient,) = torch.autograd.grad(found.square().sum(), [pixels])
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.norm()) > 0


def test_settling_ends_the_graph_and_keeps_the_state() -> None:
    """Two trainings in a row are one training of all the steps."""
    training = Training(epochs=1, optimizer="adam", lr=0.01, schedule="cosine")
    shown = torch.randn(9, 1, 6, 6, generator=seeded(4))
    whole = UnrolledStudent(network(), training, steps=STEPS).train(batches(images()), hard_loss())
    pixels = images().requires_grad_(True)
    student = UnrolledStudent(network(), training, steps=STEPS)
    student.train(batches(pixels)[:2], hard_loss())
    student.settle()
    found = student.train(batches(pixels)[2:], hard_loss()).logits(shown)
    torch.testing.assert_close(found, whole.logits(shown))
    (gradient,) = torch.autograd.grad(found.square().sum(), [pixels])
    assert float(gradient[:2].abs().max()) == 0
    assert bool((gradient[2:].flatten(1).norm(dim=1) > 0).all())


def test_attention_is_differentiated_twice() -> None:
    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inputs, self.outputs = nn.Linear(6, 12), nn.Linear(12, 3)

        def forward(self, shown: Tensor) -> Tensor:
            rows = self.inputs(shown[:, 0]).unsqueeze(1)
            return self.outputs(F.scaled_dot_product_attention(rows, rows, rows).mean(dim=(1, 2)))

    student = UnrolledStudent(
        Network(Attentive(), "attentive"), Training(epochs=1, optimizer="adam"), steps=STEPS
    )
    pixels = images().requires_grad_(True)
    found = student.train(batches(pixels), hard_loss()).logits(torch.ones(3, 1, 6, 6))
    (gradient,) = torch.autograd.grad(found.square().sum(), [pixels])
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())


def test_steps_that_nothing_flows_through_are_the_same_steps() -> None:
    training = Training(epochs=1, optimizer="adamw", lr=0.01)
    shown = torch.randn(9, 1, 6, 6, generator=seeded(4))
    pixels = images().requires_grad_(True)
    through = (
        UnrolledStudent(network(), training, steps=STEPS).train(batches(pixels), hard_loss()).logits(shown)
    )
    plain = UnrolledStudent(network(), training, steps=STEPS)
    found = plain.train(batches(pixels), hard_loss(), through=False).logits(shown)
    torch.testing.assert_close(found, through)
    assert torch.autograd.grad(found.sum(), [pixels], allow_unused=True) == (None,)


def test_the_network_itself_keeps_its_weights() -> None:
    given = network()
    before = copy.deepcopy(given.model.state_dict())
    UnrolledStudent(given, Training(epochs=1, optimizer="adam"), steps=STEPS).train(
        batches(images()), hard_loss()
    )
    after = given.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
