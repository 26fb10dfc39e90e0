"""Recipes: what cannot be said in one."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from condense.recipe.method import Method, Recover, Student, Teacher, Use, Weighted
from condense.recipe.training import Augment, Training
from condense.recipe.variant import Variant

KEPT = Recover(iterations=0)


def test_a_method_that_keeps_its_initial_images_needs_no_target() -> None:
    method = Method(name="mine", summary="x", recover=KEPT)
    assert method.targets == method.regularizers == {}
    assert method.student.model.name == "protocol"
    assert method.variants == ()


def test_a_method_that_recovers_needs_a_target() -> None:
    with pytest.raises(ValueError, match="'mine' recovers for 2000 steps without a target"):
        Method(name="mine", summary="x", regularizers={"class-batchnorm": Weighted()})
    assert Method(name="mine", summary="x", targets={"cross-entropy": Weighted()}).recover.iterations == 2000


@pytest.mark.parametrize("name", ["", "Upper", "two words", "under_score", "-a"])
def test_a_method_has_a_name_that_can_be_typed(name: str) -> None:
    with pytest.raises(ValueError, match="is not lower-case words joined by hyphens"):
        Method(name=name, summary="x", recover=KEPT)


@pytest.mark.parametrize("summary", ["", "two\nlines"])
def test_a_method_has_a_summary_of_one_line(summary: str) -> None:
    with pytest.raises(ValueError, match="needs a summary of one line"):
        Method(name="mine", summary=summary, recover=KEPT)


BAD_RECOVER: list[tuple[dict[str, Any], str]] = [
    ({"iterations": -1}, "iterations and batch must be 0 or more, not -1 and 100"),
    ({"batch": -1}, "iterations and batch must be 0 or more, not 2000 and -1"),
    ({"log_every": 0}, "log_every must be at least 1, not 0"),
    ({"network_steps": 0}, "network_steps must be at least 1, not 0"),
    ({"network": Use(name="protocol")}, "recover.network is a network of its own or 'teacher'"),
    ({"inner_temperature": 0.0}, "inner_temperature must be above 0, not 0"),
    ({"inner_labels": "soft"}, "inner_labels"),
    ({"crop_share": 0.0}, r"crop_share must lie in \(0, 1\], not 0.0"),
    ({"crop_share": 1.5}, r"crop_share must lie in \(0, 1\], not 1.5"),
    ({"crop_share": math.nan}, "crop_share must be a finite number, not nan"),
    ({"crop_start": 0.0}, r"crop_start must lie in \(0, 1\], not 0.0"),
    ({"crop_start": 1.5}, r"crop_start must lie in \(0, 1\], not 1.5"),
    ({"lr": 0.0}, "lr must be above 0, not 0.0"),
    ({"lr": math.nan}, "lr must be a finite number, not nan"),
    ({"lr": math.inf}, "lr must be a finite number, not inf"),
    ({"betas": (0.5, 1.0)}, r"betas must be two numbers in \[0, 1\)"),
    ({"betas": (math.nan, 0.9)}, "betas must be two numbers, all finite"),
    ({"momentum": -0.1}, r"momentum must lie in \[0, 1\), not -0.1"),
    ({"augment": Augment(cutmix=1.0)}, "cutmix has no meaning"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_RECOVER)
def test_values_that_recover_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recover(**changes)


def test_values_at_the_border_that_recover_takes() -> None:
    assert Recover(batch=0).batch == 0
    assert (Recover(crop_start=1.0, crop_share=1.0).crop_start, Recover(crop_start=0.01).crop_start) == (
        1.0,
        0.01,
    )


def test_random_networks_are_not_trained_unless_a_method_says_so() -> None:
    assert Recover().inner.epochs == 0
    assert (Recover().network.name, Recover().network_steps) == ("teacher", 1)


BAD_TRAINING: list[tuple[dict[str, Any], str]] = [
    ({"epochs": -1}, "epochs must be 0 or more"),
    ({"batch_size": 0}, "batch_size must be at least 1"),
    ({"lr": 0.0}, "lr must be above 0"),
    ({"lr": math.nan}, "lr must be a finite number"),
    ({"momentum": 1.0}, r"momentum must lie in \[0, 1\)"),
    ({"weight_decay": -1e-4}, "weight_decay must be 0 or more"),
    ({"weight_decay": math.nan}, "weight_decay must be a finite number"),
]


@pytest.mark.parametrize("kind", [Training, Teacher])
@pytest.mark.parametrize(("changes", "message"), BAD_TRAINING)
def test_values_that_training_refuses(kind: type[Training], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**changes)


def test_the_teacher_measures_at_least_one_image_at_a_time() -> None:
    with pytest.raises(ValueError, match="measure_batch must be at least 1, not 0"):
        Teacher(measure_batch=0)


@pytest.mark.parametrize("name", ["teacher", "protocol"])
def test_the_network_of_the_teacher_is_its_own(name: str) -> None:
    assert Student(model=Use(name=name)).model.name == name
    with pytest.raises(ValueError, match=f"needs a network of its own; only student.model can be '{name}'"):
        Teacher(model=Use(name=name))


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_a_weight_is_a_number(weight: float) -> None:
    with pytest.raises(ValueError, match=f"^weight must be a finite number, not {weight}"):
        Weighted(weight)


def test_a_weight_is_one_unless_another_is_given() -> None:
    assert (Weighted().weight, Weighted().options) == (1.0, {})


@pytest.mark.parametrize("part", ["targets", "regularizers"])
@pytest.mark.parametrize("losses", [(Use(name="a"),), {"a": 1.0}, {"a": Use(name="a")}, ("a",)])
def test_losses_are_given_by_name_with_a_weight(part: str, losses: Any) -> None:
    with pytest.raises(ValueError, match=rf"{part} must be a mapping from texts to condense\.Weighted"):
        Method(name="mine", summary="x", recover=KEPT, **{part: losses})


def test_numbers_of_images_per_class_are_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"for_ipc must be a mapping from whole numbers to mappings, not \{'10': .*"
    ):
        Method(name="mine", summary="x", recover=KEPT, for_ipc={"10": {"lr": 1.0}})  # type: ignore[dict-item]


def test_a_target_and_a_regularizer_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'same' is named both as a target and as a regularizer"):
        Method(
            name="mine",
            summary="x",
            targets={"same": Weighted()},
            regularizers={"same": Weighted(weight=2.0)},
        )


# Presets.

PRESET = Method(
    name="mine",
    summary="x",
    recover=KEPT,
    presets={"there": {"lr": 0.5, "teacher.lr": 0.1}, "photographs": {"teacher.lr": 0.3, "batch": 7}},
    for_ipc={10: {"lr": 10.0}, 50: {"batch": 0}, 2: {"lr": 2.0, "log_every": 7}},
)


@pytest.mark.parametrize(
    ("dataset", "ipc", "expected"),
    [
        ("elsewhere", 1, {}),
        ("elsewhere", 2, {"lr": 2.0, "log_every": 7}),
        ("elsewhere", 9, {"lr": 2.0, "log_every": 7}),
        ("elsewhere", 10, {"lr": 10.0}),
        ("elsewhere", 49, {"lr": 10.0}),
        ("elsewhere", 1000, {"batch": 0}),
        ("there", 1, {"lr": 0.5, "teacher.lr": 0.1}),
        ("there", 10, {"lr": 0.5, "teacher.lr": 0.1}),
        ("there", 2, {"lr": 0.5, "teacher.lr": 0.1, "log_every": 7}),
        ("there", 50, {"lr": 0.5, "teacher.lr": 0.1, "batch": 0}),
    ],
)
def test_the_entry_of_the_greatest_number_reached_counts_and_the_preset_wins_over_it(
    dataset: str, ipc: int, expected: dict[str, Any]
) -> None:
    """One entry counts, not all that are reached: that of 50 takes nothing from those of 10 and 2."""
    assert dict(PRESET.settings_for(dataset, "small-grey", ipc)) == expected


@pytest.mark.parametrize(
    ("dataset", "ipc", "expected"),
    [
        ("elsewhere", 1, {"teacher.lr": 0.3, "batch": 7}),
        ("elsewhere", 2, {"lr": 2.0, "log_every": 7, "teacher.lr": 0.3, "batch": 7}),
        ("elsewhere", 50, {"teacher.lr": 0.3, "batch": 7}),
        ("there", 1, {"lr": 0.5, "teacher.lr": 0.1, "batch": 7}),
        ("there", 50, {"lr": 0.5, "teacher.lr": 0.1, "batch": 7}),
    ],
)
def test_a_preset_for_a_name_wins_over_one_for_a_kind_and_both_over_one_for_images_per_class(
    dataset: str, ipc: int, expected: dict[str, Any]
) -> None:
    assert dict(PRESET.settings_for(dataset, "photographs", ipc)) == expected


def test_presets_are_listed_from_the_weakest_to_the_strongest() -> None:
    """A later setting may name a network anew, which resets the options that an earlier one set."""
    listed = PRESET.settings_for("there", "photographs", 2)
    assert listed == [
        *(("lr", 2.0), ("log_every", 7)),
        *(("teacher.lr", 0.3), ("batch", 7)),
        *(("lr", 0.5), ("teacher.lr", 0.1)),
    ]


def test_a_preset_that_was_chosen_with_one_network_holds_with_that_one_or_by_name() -> None:
    method = dataclasses.replace(PRESET, preset_networks={"there": "convnet"})
    of_name, of_kind = {"lr": 0.5, "teacher.lr": 0.1, "batch": 7}, {"teacher.lr": 0.3, "batch": 7}
    for network in ("", "convnet"):
        assert dict(method.settings_for("there", "photographs", 1, network=network)) == of_name
    assert dict(method.settings_for("there", "photographs", 1, network="resnet18")) == of_kind
    assert (
        dict(method.settings_for("there", "photographs", 1, "there", "resnet18")) == PRESET.presets["there"]
    )
    with pytest.raises(ValueError, match="unknown preset 'their'"):
        dataclasses.replace(PRESET, preset_networks={"their": "convnet"})


@pytest.mark.parametrize("labels", [("a", "a"), ("",), ("a", "")])
def test_variants_have_labels_of_their_own(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="the variants of method 'mine' need labels, each another"):
        Method(
            name="mine", summary="x", recover=KEPT, variants=tuple(Variant(label=label) for label in labels)
        )


def test_variants_in_order() -> None:
    variants = (Variant(label="b", settings={"lr": 0.1}), Variant(label="a", without=("smooth",)))
    assert Method(name="mine", summary="x", recover=KEPT, variants=variants).variants == variants
