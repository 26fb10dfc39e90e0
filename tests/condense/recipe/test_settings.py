"""Dotted keys: every form the module promises, values of every type, and all settings at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.recipe.config import RunConfig
from condense.recipe.method import Use, Weighted
from condense.recipe.settings import complete, flatten, options_of
from condense.recipe.training import Augment


def difference(config: RunConfig, knobs: Any) -> dict[str, Any]:
    """What differs from the plain configuration, by dotted key."""
    before = flatten(knobs.config)
    return {key: value for key, value in flatten(config).items() if before.get(key, "absent") != value}


# Every form of the docstring.


@pytest.mark.parametrize(
    ("key", "value", "full", "meant"),
    [
        ("recover.iterations", "500", "recover.iterations", 500),
        ("iterations", "500", "recover.iterations", 500),
        ("iterations", 500, "recover.iterations", 500),
        ("lr", "0.1", "recover.lr", 0.1),
        ("augment.flip", "true", "recover.augment.flip", True),
        ("teacher.lr", "0.1", "teacher.lr", 0.1),
        ("teacher.optimizer", "adamw", "teacher.optimizer", "adamw"),
        ("protocol.augment.cutmix", "0", "protocol.augment.cutmix", 0.0),
        ("protocol.labels", "hard", "protocol.labels", "hard"),
        ("regularizers.smooth", "10", "regularizers.smooth", 10.0),
        ("regularizers.class-batchnorm", "10", "regularizers.class-batchnorm", 10.0),
        ("targets.cross-entropy", 1, "targets.cross-entropy", 1.0),
        ("regularizers.smooth.form", "norms", "regularizers.smooth.form", "norms"),
        ("targets.match.count", "5", "targets.match.count", 5),
        ("initializer.on", "1", "initializer.on", True),
        ("dataset.count", "7", "dataset.count", 7),
        ("recover.betas", "0.9,0.99", "recover.betas", (0.9, 0.99)),
        ("recover.betas", "0.9, 0.99", "recover.betas", (0.9, 0.99)),
        ("recover.betas", (0.9, 0.99), "recover.betas", (0.9, 0.99)),
        ("augment.crop_scale", "0.08,1", "recover.augment.crop_scale", (0.08, 1.0)),
        ("protocol.augment.crop_scale", "none", "protocol.augment.crop_scale", None),
        ("augment.siamese", "flip,color", "recover.augment.siamese", ("flip", "color")),
        ("recover.inner.epochs", "3", "recover.inner.epochs", 3),
        ("network", "convnet", "recover.network", "convnet"),
        ("chunk", "slots", "recover.chunk", "slots"),
        ("batch", "0", "recover.batch", 0),
        ("teacher.seed", "4", "teacher.seed", 4),
        ("ipc", "50", "ipc", 50),
        ("students", "0", "students", 0),
    ],
)
def test_one_setting_changes_and_nothing_else(
    key: str, value: Any, full: str, meant: Any, knobs: Any
) -> None:
    assert difference(knobs.changed((key, value)), knobs) == {full: meant}


def test_another_network_comes_with_its_own_defaults(knobs: Any) -> None:
    config = knobs.changed(("teacher.model", "convnet"), ("teacher.model.width", "64"))
    assert config.recipe.teacher.model == Use(name="convnet", options={"width": 64})
    completed = complete(config, knobs.registry)
    assert completed.recipe.teacher.model.options == {"width": 64, "depth": 3, "norm": "batch"}


def test_naming_a_component_again_resets_its_options(knobs: Any) -> None:
    config = knobs.changed(("initializer.count", 9))
    assert config.recipe.initializer.options["count"] == 9
    assert knobs.changed(("initializer", "noise"), start=config).recipe.initializer == Use(name="noise")
    assert knobs.changed(("initializer", "real"), start=config).recipe.initializer == Use(name="real")


def test_a_use_may_be_given_whole(knobs: Any) -> None:
    use = Use(name="real", options={"count": 2})
    assert knobs.changed(("initializer", use)).recipe.initializer == use


def test_a_new_weight_keeps_the_options(knobs: Any) -> None:
    config = knobs.changed(("regularizers.smooth.form", "norms"), ("regularizers.smooth", "3"))
    assert list(config.recipe.regularizers) == ["smooth"]
    loss = config.recipe.regularizers["smooth"]
    assert (loss.weight, loss.options["form"]) == (3.0, "norms")


def test_a_component_is_added_behind_those_that_are_there(knobs: Any) -> None:
    config = knobs.changed(("targets.cross-entropy", "0.5"), ("targets.cross-entropy.count", "1"))
    targets = config.recipe.targets
    assert [(name, loss.weight) for name, loss in targets.items()] == [("match", 1.0), ("cross-entropy", 0.5)]
    assert targets["cross-entropy"].options == {"count": 1}


def test_networks_with_an_argument(knobs: Any) -> None:
    assert knobs.changed(("teacher.model", "timm:resnet10t")).recipe.teacher.model.name == "timm:resnet10t"


@pytest.mark.parametrize("name", ["teacher", "protocol"])
def test_the_student_may_go_back_to_a_network_that_is_chosen_elsewhere(name: str, knobs: Any) -> None:
    config = knobs.changed(("student.model", "convnet"), ("student.model", name))
    assert config.evaluation.student.model == Use(name=name)
    assert complete(config, knobs.registry).evaluation.student.model == Use(name=name)


# Values of every type.


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("count", "12", 12),
        ("count", "12.0", 12),
        ("share", "1e-3", 1e-3),
        ("share", "2", 2.0),
        ("form", "norms", "norms"),
        ("form", "none", "none"),
        ("on", "TRUE", True),
        ("on", "0", False),
        ("limit", "4", 4),
        ("limit", "None", None),
        ("text", "none", "none"),
        ("text", "a,b", "a,b"),
        ("text", "3", "3"),
        ("pair", "1,2", (1.0, 2.0)),
        ("names", "one", ("one",)),
        ("names", "", ()),
        ("range", "none", None),
        ("range", "0.5,1", (0.5, 1.0)),
    ],
)
def test_text_is_read_by_the_type_of_the_option(option: str, text: str, value: Any, knobs: Any) -> None:
    use = knobs.changed((f"initializer.{option}", text)).recipe.initializer
    read = use.options[option]
    assert (tuple(read) if isinstance(read, list) else read) == value
    assert type(getattr(options_of(use, "initializer", knobs.registry), option)) is type(value)


@given(st.integers(0, 2**40), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_numbers_survive_being_text(knobs: Any, count: int, share: float, on: bool) -> None:
    config = knobs.changed(
        ("initializer.count", str(count)), ("initializer.share", repr(share)), ("initializer.on", str(on))
    )
    options = options_of(config.recipe.initializer, "initializer", knobs.registry)
    assert (options.count, options.share, options.on) == (count, share, on)


# All settings at once.


def test_flatten_by_hand() -> None:
    assert flatten(Use(name="a", options={"x": 1}), "model") == {"model": "a", "model.x": 1}
    assert flatten({"a": Weighted(2.0, {"x": 1}), "b": Weighted()}, "targets") == {
        "targets.a": 2.0,
        "targets.a.x": 1,
        "targets.b": 1.0,
    }
    assert flatten(Augment(flip=True), "augment")["augment.flip"] is True
    assert flatten(3, "ipc") == {"ipc": 3}


def test_every_listed_setting_can_be_set_to_what_it_is(knobs: Any) -> None:
    """As values, and as the text a command line would carry."""
    for key, value in flatten(knobs.config).items():
        assert knobs.changed((key, value)).to_dict().keys() == knobs.config.to_dict().keys()
        named = ("initializer", "parametrization", "teacher.model", "protocol.model", "dataset", "evaluator")
        if key in (*named, "protocol.name"):
            continue  # Naming a component again resets its options; see above.
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for form in (value, text):
            assert flatten(knobs.changed((key, form))) == flatten(knobs.config), key


def test_the_settings_of_one_configuration_make_another_into_it(knobs: Any) -> None:
    wanted = knobs.changed(
        ("initializer", "real"),
        ("initializer.limit", 3),
        ("teacher.model", "convnet"),
        ("teacher.model.norm", "none"),
        ("iterations", 7),
        ("augment.crop_scale", (0.5, 1.0)),
        ("protocol.labels", "hard"),
        ("regularizers.smooth.pair", (2.0, 3.0)),
    )
    wanted = complete(wanted, knobs.registry)
    assert complete(knobs.changed(*flatten(wanted).items()), knobs.registry) == wanted


def test_completing_twice_changes_nothing(knobs: Any) -> None:
    assert complete(knobs.config, knobs.registry) == knobs.config
    options = knobs.config.recipe.targets["match"].options
    assert options["count"] == 4
    assert set(options) == {field.name for field in dataclasses.fields(knobs.options)}


def test_assign_leaves_its_argument_alone(knobs: Any) -> None:
    before = knobs.config.to_dict()
    knobs.changed(("iterations", 5), ("initializer.count", 5), ("regularizers.smooth", 5))
    assert knobs.config.to_dict() == before
