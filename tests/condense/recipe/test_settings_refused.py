"""Dotted keys and values that are refused, with a text that says what would have worked."""

from __future__ import annotations

import math
from typing import Any

import pytest

from condense.errors import OptionError, UnknownNameError, UnknownSettingError
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.recipe.settings import flatten


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("iterations", "many", "iterations=many: must be a whole number$"),
        ("iterations", "1.5", "iterations=1.5: must be a whole number$"),
        ("iterations", True, "iterations=True: must be a whole number$"),
        ("teacher.lr", "fast", "teacher.lr=fast: must be a number$"),
        ("augment.flip", "perhaps", "augment.flip=perhaps: must be true or false$"),
        ("recover.optimizer", "sdg", "recover.optimizer=sdg: must be one of adam, sgd$"),
        ("recover.betas", "0.5", "recover.betas=0.5: must be two numbers$"),
        ("recover.betas", (0.5, 0.9, 0.99), "recover.betas=0.5,0.9,0.99: must be two numbers$"),
        ("regularizers.smooth", "heavy", "regularizers.smooth=heavy: must be a number$"),
        ("initializer.form", "cubes", "initializer.form=cubes: must be one of squares, norms, none$"),
    ],
)
def test_a_value_of_the_wrong_type(key: str, value: Any, message: str, knobs: Any) -> None:
    with pytest.raises(OptionError, match=message):
        knobs.changed((key, value))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("iterations", "-1", "iterations=-1: iterations and batch must be 0 or more, not -1 and 100"),
        ("lr", "nan", "lr=nan: must be a finite number$"),
        ("teacher.batch_size", "0", "teacher.batch_size=0: batch_size must be at least 1"),
        ("protocol.temperature", "0", "protocol.temperature=0: temperature must be above 0"),
        ("recover.augment.cutmix", "1", "recover.augment.cutmix=1: recover.augment.cutmix has no meaning"),
        ("augment.siamese", "flpi", r"unknown siamese operation 'flpi'. Did you mean 'flip'\?"),
        ("ipc", "0", "ipc=0: images per class must lie between 1 and 1000000"),
        ("students", -1, "students must lie between 0 and 10000"),
        ("precision", "fp8", "precision=fp8: must be one of auto, bf16, fp32$"),
        ("initializer.count", "-1", "initializer 'noise': count must be 0 or more, not -1"),
        ("regularizers.smooth", "nan", "regularizers.smooth=nan: must be a finite number$"),
        ("teacher.model", "teacher", "the teacher needs a network of its own"),
        ("teacher.model", "protocol", "the teacher needs a network of its own"),
        ("protocol.model", "protocol", "protocol.model is a network or 'teacher'"),
        ("recover.network", "protocol", "recover.network is a network of its own or 'teacher'"),
    ],
)
def test_a_value_out_of_range(key: str, value: Any, message: str, knobs: Any) -> None:
    with pytest.raises(OptionError, match=message):
        knobs.changed((key, value))


@pytest.mark.parametrize(
    ("key", "close"),
    [
        ("iteration", "iterations"),
        ("recover.iteratons", "recover.iterations"),
        ("teacher.epoch", "teacher.epochs"),
        ("protocol.augment.cutmx", "protocol.augment.cutmix"),
        ("regularizer.smooth", "regularizers.smooth"),
        ("recover.lr.more", "recover.lr"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, close: str, knobs: Any) -> None:
    with pytest.raises(OptionError, match=f"unknown option '{key}'. Did you mean '{close}'") as caught:
        knobs.changed((key, "1"))
    assert all(f" {section}," in str(caught.value) for section in ("recover", "regularizers", "seed"))
    assert "--dry-run" in str(caught.value)


def test_an_unknown_option_of_a_component_names_those_it_has(knobs: Any) -> None:
    with pytest.raises(
        OptionError, match=r"unknown option 'initializer.cuont'. Did you mean 'count'\?"
    ) as caught:
        knobs.changed(("initializer.cuont", "1"))
    assert "count, form, limit, names" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("initializer", "nois", r"unknown initializer 'nois'. Did you mean 'noise'\?"),
        ("targets.mach", "1", r"unknown feature target 'mach'. Did you mean 'match'\?"),
        ("regularizers.smoth.form", "norms", r"unknown regularizer 'smoth'. Did you mean 'smooth'\?"),
        ("teacher.model", "resnet81", r"unknown model 'resnet81'. Did you mean 'resnet18'\?"),
    ],
)
def test_an_unknown_component(key: str, value: str, message: str, knobs: Any) -> None:
    with pytest.raises(UnknownNameError, match=message):
        knobs.changed((key, value))


def test_options_of_a_component_that_the_method_has_not(knobs: Any) -> None:
    with pytest.raises(
        OptionError, match="the method has no regularizer 'class-batchnorm'; add it with its weight"
    ):
        knobs.changed(("regularizers.class-batchnorm.form", "norms"))


@pytest.mark.parametrize(
    ("key", "whose"),
    [("student.model", "protocol"), ("protocol.model", "teacher"), ("recover.network", "teacher")],
)
def test_options_of_a_network_that_is_chosen_elsewhere(key: str, whose: str, knobs: Any) -> None:
    with pytest.raises(OptionError) as caught:
        knobs.changed((f"{key}.width", "64"))
    assert str(caught.value) == f"{key}.width: the network is that of the {whose}; first choose another"
    chosen = knobs.changed((key, "convnet"), (f"{key}.width", "64"))
    assert flatten(chosen)[f"{key}.width"] == 64


@pytest.mark.parametrize(("key", "below"), [("recover", "recover.iterations"), ("augment", "augment.flip")])
def test_a_group_of_settings_is_no_setting(key: str, below: str, knobs: Any) -> None:
    with pytest.raises(OptionError, match=f"'{key}' is a group of settings; say which: .*{below}") as caught:
        knobs.changed((key, "1"))
    listed = str(caught.value).partition("say which: ")[2].split(", ")
    assert all(name.startswith(f"{key}.") for name in listed)


@pytest.mark.parametrize(
    "key", ["regularizers", "targets.match.count.more", "initializer.count.more", "", "."]
)
def test_keys_of_no_form(key: str, knobs: Any) -> None:
    with pytest.raises(OptionError, match="unknown option"):
        knobs.changed((key, "1"))


def test_a_nan_never_becomes_a_learning_rate(knobs: Any) -> None:
    for key in ("lr", "teacher.lr", "protocol.lr"):
        for value in ("nan", math.nan, "inf", "-1", "0"):
            with pytest.raises(OptionError, match=r"lr must be above 0|lr=.*must be a finite number"):
                knobs.changed((key, value))


def test_an_option_of_a_part_without_options_names_the_part_that_has_it() -> None:
    registry = load_registry(environment={})
    with pytest.raises(UnknownSettingError) as caught:
        configure(registry, method="random", settings={"parametrization.factor": 3})
    assert str(caught.value) == (
        "unknown option 'parametrization.factor': parametrization 'identity' has no options; 'mosaic' has one of that "
        "name: first --set parametrization=mosaic"
    )
    with pytest.raises(UnknownSettingError, match=r"evaluator 'students' has no options$"):
        configure(registry, method="random", settings={"evaluator.factor": 3})
