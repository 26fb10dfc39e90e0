"""Recipes: what cannot be said in one."""

from __future__ import annotations

import math
from typing import Any

import pytest

from condense.data.augment import Augment
from condense.method import Method, Recover, Student, Teacher, Use
from condense.training_options import Training

KEPT = Recover(iterations=0)


def test_a_method_that_keeps_its_initial_images_needs_no_target() -> None:
    method = Method(name="mine", summary="x", recover=KEPT)
    assert method.targets == method.regularizers == ()
    assert method.student.model.name == "teacher"


def test_a_method_that_recovers_needs_a_target() -> None:
    with pytest.raises(ValueError, match="'mine' recovers for 2000 steps without a target"):
        Method(name="mine", summary="x", regularizers=(Use(name="class-batchnorm"),))
    assert Method(name="mine", summary="x", targets=(Use(name="cross-entropy"),)).recover.iterations == 2000


@pytest.mark.parametrize("name", ["", "Upper", "two words", "under_score", "-a"])
def test_a_method_has_a_name_that_can_be_typed(name: str) -> None:
    with pytest.raises(ValueError, match="is not lower-case words joined by hyphens"):
        Method(name=name, summary="x", recover=KEPT)


@pytest.mark.parametrize("summary", ["", "two\nlines"])
def test_a_method_has_a_summary_of_one_line(summary: str) -> None:
    with pytest.raises(ValueError, match="needs a summary of one line"):
        Method(name="mine", summary=summary, recover=KEPT)


BAD_RECOVER: list[tuple[dict[str, Any], str]] = [
    ({"iterations": -1}, "iterations must be 0 or more, not -1"),
    ({"batch": 0}, "batch and log_every must be at least 1, not 0 and 50"),
    ({"log_every": 0}, "batch and log_every must be at least 1, not 100 and 0"),
    ({"lr": 0.0}, "lr must be above 0, not 0.0"),
    ({"lr": math.nan}, "lr must be above 0, not nan"),
    ({"lr": math.inf}, "lr must be above 0, not inf"),
    ({"betas": (0.5, 1.0)}, r"betas must lie in \[0, 1\)"),
    ({"betas": (math.nan, 0.9)}, r"betas must lie in \[0, 1\)"),
    ({"momentum": -0.1}, r"momentum must lie in \[0, 1\), not -0.1"),
    ({"augment": Augment(cutmix=1.0)}, "cutmix has no meaning"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_RECOVER)
def test_values_that_recover_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recover(**changes)


BAD_TRAINING: list[tuple[dict[str, Any], str]] = [
    ({"epochs": -1}, "epochs must be 0 or more"),
    ({"batch_size": 0}, "batch_size must be at least 1"),
    ({"lr": 0.0}, "lr must be above 0"),
    ({"lr": math.nan}, "lr must be above 0"),
    ({"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
    ({"weight_decay": -1e-4}, "weight_decay must be 0 or more"),
    ({"weight_decay": math.nan}, "weight_decay must be 0 or more"),
]


@pytest.mark.parametrize("kind", [Training, Teacher])
@pytest.mark.parametrize(("changes", "message"), BAD_TRAINING)
def test_values_that_training_refuses(kind: type[Training], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**changes)


def test_the_teacher_measures_at_least_one_image_at_a_time() -> None:
    with pytest.raises(ValueError, match="measure_batch must be at least 1, not 0"):
        Teacher(measure_batch=0)


def test_only_the_student_can_have_the_network_of_the_teacher() -> None:
    assert Student(model=Use(name="teacher")).model.name == "teacher"
    with pytest.raises(ValueError, match="the teacher needs a network of its own"):
        Teacher(model=Use(name="teacher"))


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_is_a_number(weight: float) -> None:
    with pytest.raises(ValueError, match="the weight of 'mine' must be a finite number"):
        Use(name="mine", weight=weight)


def test_two_components_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'same' stands more than once"):
        Method(name="mine", summary="x", targets=(Use(name="same"),), regularizers=(Use(name="same"),))
