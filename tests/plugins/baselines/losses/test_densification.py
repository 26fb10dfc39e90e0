"""Densification: the loss against a loop over classes, and what a step down it does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from condense_baselines.losses.densification import Densification
from condense_baselines.options import DensificationOptions
from torch import Tensor

from condense.models.observation import BatchLabels, Observation
from condense.recipe.registry import load_registry


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loss(images: Tensor, labels: list[int], **options: Any) -> Tensor:
    batch = BatchLabels.of_real(torch.tensor(labels))
    nothing = torch.zeros(len(labels), 1)
    seen = Observation(images=images, batch=batch, features=nothing, logits=nothing)
    return Densification(DensificationOptions(**options)).loss(seen, None)


def slow(images: Tensor, labels: list[int], temperature: float, side: int) -> Tensor:
    total = torch.zeros(())
    for label in sorted(set(labels)):
        mine = images[torch.tensor(labels) == label]
        rows = F.adaptive_avg_pool2d(mine, side).flatten(1)
        squares = torch.linalg.svdvals(rows).square()
        wanted = torch.softmax(squares / temperature, 0).detach()
        for share, predicted in zip(wanted, torch.log_softmax(squares, 0), strict=True):
            total = total + share * (share.log() - predicted)
    return total


@pytest.mark.parametrize("labels", [[0, 0, 0], [3, 1, 1, 3], [2, 0, 1, 0, 1, 2, 1, 2, 0]])
@pytest.mark.parametrize(("temperature", "side", "used"), [(4.0, 32, 6), (2.0, 3, 3)])
def test_the_loss_is_a_sum_over_classes(labels: list[int], temperature: float, side: int, used: int) -> None:
    images = 0.2 * torch.randn(len(labels), 2, 6, 6, generator=seeded())
    images.requires_grad_(True)
    got = loss(images, labels, temperature=temperature, side=side)
    expected = slow(images, labels, temperature, used)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    (gradient,) = torch.autograd.grad(got, images)
    (slow_gradient,) = torch.autograd.grad(expected, images)
    torch.testing.assert_close(gradient, slow_gradient, rtol=1e-3, atol=1e-4)


def test_one_image_a_class_has_nothing_to_differ_from() -> None:
    images = torch.randn(3, 1, 6, 6, generator=seeded(), requires_grad=True)
    got = loss(images, [2, 0, 1])
    assert got.item() == 0
    (gradient,) = torch.autograd.grad(got, images)
    assert not bool(gradient.any())


def test_images_of_equal_length_that_share_nothing_cost_nothing() -> None:
    apart = torch.eye(4).reshape(4, 1, 2, 2)
    assert loss(apart, [0, 0, 0, 0]).item() == pytest.approx(0, abs=1e-6)
    alike = apart[:1].expand(4, 1, 2, 2) + 0.01 * apart
    assert loss(alike, [0, 0, 0, 0]).item() > 0.1


def test_a_step_down_it_makes_the_images_of_a_class_more_different() -> None:
    images = 0.3 * torch.ones(4, 1, 4, 4) + 0.1 * torch.randn(4, 1, 4, 4, generator=seeded())
    images.requires_grad_(True)
    before = loss(images, [0, 0, 1, 1])
    (gradient,) = torch.autograd.grad(before, images)
    after = images.detach() - 0.05 * gradient
    assert loss(after, [0, 0, 1, 1]).item() < before.item()


def test_equal_images_have_finite_gradients() -> None:
    images = torch.ones(6, 1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(images, [0, 0, 0, 1, 1, 1]), images)
    assert bool(torch.isfinite(gradient).all())


def test_it_needs_whole_classes_and_no_network() -> None:
    options = DensificationOptions()
    needs = load_registry().find("regularizer", "densification").needs_of(options)
    assert needs.network == "none"
    assert needs.at_once == "whole classes"
    assert needs.each_member
    assert not needs.observes
    assert Densification(options).state() == {}


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": math.inf}, {"side": 0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        DensificationOptions(**options)
