"""Unrolled training as a recipe: what it needs, how far students are unrolled, and that it does what it is for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import condense
from condense.engine.epochs import unrolled_steps
from condense.engine.plan import make_plan
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure

REGISTRY = load_registry()


def test_it_needs_a_teacher_that_answers_and_no_pass_over_the_real_images() -> None:
    plan = make_plan(configure(REGISTRY, method="unrolled", dataset="cifar10", ipc=10), REGISTRY)
    assert plan.needs_teacher
    assert not plan.measures


def test_hard_labels_need_no_teacher() -> None:
    settings = {"recover.inner_labels": "hard", "recover.network": "convnet", "select.students": 0}
    plan = make_plan(
        configure(REGISTRY, method="unrolled", dataset="cifar10", ipc=10, settings=settings, protocol="dc"),
        REGISTRY,
    )
    assert not plan.needs_teacher


@pytest.mark.parametrize("images", [9, 10, 100, 1000, 50000])
def test_students_take_eight_steps_however_many_images_there_are(images: int) -> None:
    recover = configure(REGISTRY, method="unrolled", dataset="fashion-mini", ipc=1).recipe.recover
    assert unrolled_steps(recover, images) == 8


def test_students_are_trained_as_the_protocol_trains_them() -> None:
    config = configure(REGISTRY, method="unrolled", dataset="fashion-mini", ipc=1)
    inner, protocol = config.recipe.recover.inner, config.evaluation.protocol
    shared = ("batch_size", "optimizer", "lr", "weight_decay", "schedule", "augment")
    assert [getattr(inner, name) for name in shared] == [getattr(protocol, name) for name in shared]
    recover = config.recipe.recover
    assert (recover.inner_labels, recover.inner_temperature) == (protocol.labels, protocol.temperature)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recover.inner.epochs": 0}, r"student-entropy looks through a student .* recover\.inner\.epochs"),
        ({"recover.inner_on": "real"}, r"recover\.inner_on synthetic"),
    ],
)
def test_a_student_that_learns_nothing_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(condense.OptionError, match=said):
        make_plan(
            configure(REGISTRY, method="unrolled", dataset="fashion-mini", ipc=1, settings=settings), REGISTRY
        )


@pytest.mark.thorough
def test_students_know_real_images_better_in_the_end(
    short_run: Callable[..., condense.RunResult], losses_of: Callable[[condense.RunResult], list[float]]
) -> None:
    """Fresh students at every step, so that all losses are of students of one age."""
    settings = {
        "iterations": 60,
        "select.students": 0,
        "lr": 0.1,
        "recover.log_every": 1,
        "recover.network": "convnet(width=4,depth=2)",
        "recover.networks": 1,
        "recover.network_steps": 1,
        "recover.inner_labels": "hard",
        "recover.inner.lr": 0.01,
        "recover.inner.epochs": 8,
        "initializer": "noise",
        "recover.inner.schedule": "constant",
        "recover.inner.augment.cutmix": 0,
        "recover.inner.augment.crop_scale": "none",
    }
    result = short_run("unrolled", settings, students=0)
    losses = losses_of(result)
    assert torch.tensor(losses[-10:]).mean() < torch.tensor(losses[:10]).mean() - 0.1
