"""Feature regression as a recipe: what it needs, how images are stored, and that it does what it is for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import condense
from condense.engine.plan import make_plan
from condense.recipe.method import Use
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure

REGISTRY = load_registry()


def test_it_needs_neither_a_teacher_nor_a_pass_over_the_real_images() -> None:
    plan = make_plan(configure(REGISTRY, method="feature-regression", dataset="cifar10", ipc=10), REGISTRY)
    assert not plan.needs_teacher
    assert not plan.measures
    assert not plan.needs_pool


@pytest.mark.parametrize(("ipc", "stored"), [(1, "mosaic"), (4, "mosaic"), (5, "identity"), (50, "identity")])
def test_few_images_hold_several_each(ipc: int, stored: str) -> None:
    recipe = configure(REGISTRY, method="feature-regression", dataset="fashion-mini", ipc=ipc).recipe
    expected = (
        Use(name="mosaic", options={"factor": 2, "reduce": "fit"}) if stored == "mosaic" else Use(name=stored)
    )
    assert recipe.parametrization == expected


def test_digits_are_not_mirrored() -> None:
    for dataset, mirrored in (("mnist", False), ("svhn", False), ("cifar10", True)):
        recover = configure(REGISTRY, method="feature-regression", dataset=dataset, ipc=1).recipe.recover
        assert ("flip" in recover.augment.siamese) is ("flip" in recover.inner.augment.siamese) is mirrored


def test_the_error_of_the_regression_falls(
    short_run: Callable[..., condense.RunResult], losses_of: Callable[[condense.RunResult], list[float]]
) -> None:
    """In one network that learns nothing: networks of other ages have errors of other sizes."""
    settings = {
        "iterations": 60,
        "recover.log_every": 1,
        "recover.network.width": 4,
        "recover.network.depth": 2,
        "recover.augment.siamese": "",
        "recover.networks": 1,
        "recover.network_steps": 1000,
        "recover.inner.epochs": 0,
    }
    result = short_run("feature-regression", settings)
    assert result.distilled.images.shape == (3, 1, 8, 8)
    assert len(result.distilled) == 12
    losses = losses_of(result)
    assert torch.tensor(losses[-20:]).mean() < 0.5 * torch.tensor(losses[:5]).mean()
