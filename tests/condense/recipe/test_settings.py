"""Dotted keys: every form the module promises, and every way to get one wrong."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.builtin import DC, FKD
from condense.errors import OptionError, UnknownNameError
from condense.models.catalog import MODELS
from condense.recipe.config import RunConfig, resolve
from condense.recipe.method import Method, Recover, Use
from condense.recipe.registry import KINDS, Offer, Registry
from condense.recipe.settings import assign, complete, flatten, options_of
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    RegularizerSpec,
)
from condense.recipe.training import Augment


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnobOptions:
    """One option of every type."""

    count: int = 3
    share: float = 0.5
    form: Literal["squares", "norms", "none"] = "squares"
    on: bool = False
    limit: int | None = None
    text: str = ""
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be 0 or more, not {self.count}")


TOY = Method(
    name="toy",
    summary="x",
    initializer=Use(name="noise"),
    targets=(Use(name="match", options={"count": 4}),),
    regularizers=(Use(name="smooth", weight=2.0),),
    recover=Recover(iterations=10),
)


def registry() -> Registry:
    def described(spec_type: Any, *names: str) -> dict[str, Offer]:
        options = {"options": KnobOptions, "summary": "x", "build": "builtins:dict"}
        return {name: Offer("toy", spec_type(name=name, **options)) for name in names}

    offers: dict[str, dict[str, Offer]] = {kind: {} for kind, _ in KINDS.values()}
    offers["method"] = {"toy": Offer("toy", TOY)}
    offers["initializer"] = described(InitializerSpec, "noise", "real")
    offers["feature target"] = described(FeatureTargetSpec, "match", "cross-entropy")
    offers["regularizer"] = described(RegularizerSpec, "smooth", "class-batchnorm")
    offers["evaluator"] = described(EvaluatorSpec, "students")
    offers["dataset"] = described(DatasetSpec, "fashion-mini", "imagenette")
    offers["model"] = {spec.name: Offer("toy", spec) for spec in MODELS}
    offers["protocol"] = {protocol.name: Offer("toy", protocol) for protocol in (DC, FKD)}
    return Registry(offers, (), {})


REGISTRY = registry()
CONFIG = resolve(REGISTRY, method="toy")


def changed(*settings: tuple[str, Any], start: RunConfig = CONFIG) -> RunConfig:
    for key, value in settings:
        start = assign(start, key, value, REGISTRY)
    return start


def difference(config: RunConfig) -> dict[str, Any]:
    """What differs from the plain configuration, by dotted key."""
    before = flatten(CONFIG)
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
def test_one_setting_changes_and_nothing_else(key: str, value: Any, full: str, meant: Any) -> None:
    assert difference(changed((key, value))) == {full: meant}


def test_another_network_comes_with_its_own_defaults() -> None:
    config = changed(("teacher.model", "convnet"), ("teacher.model.width", "64"))
    assert config.teacher.model == Use(name="convnet", options={"width": 64})
    completed = complete(config, REGISTRY)
    assert completed.teacher.model.options == {"width": 64, "depth": 3, "norm": "batch"}


def test_naming_a_component_again_resets_its_options() -> None:
    config = changed(("initializer.count", 9))
    assert config.initializer.options["count"] == 9
    assert changed(("initializer", "noise"), start=config).initializer == Use(name="noise")
    assert changed(("initializer", "real"), start=config).initializer == Use(name="real")


def test_a_use_may_be_given_whole() -> None:
    use = Use(name="real", options={"count": 2})
    assert changed(("initializer", use)).initializer == use


def test_a_new_weight_keeps_the_options() -> None:
    config = changed(("regularizers.smooth.form", "norms"), ("regularizers.smooth", "3"))
    [use] = config.regularizers
    assert (use.weight, use.options["form"]) == (3.0, "norms")


def test_a_component_is_added_behind_those_that_are_there() -> None:
    config = changed(("targets.cross-entropy", "0.5"), ("targets.cross-entropy.count", "1"))
    assert [(use.name, use.weight) for use in config.targets] == [("match", 1.0), ("cross-entropy", 0.5)]
    assert config.targets[1].options == {"count": 1}


def test_networks_with_an_argument() -> None:
    assert changed(("teacher.model", "timm:resnet10t")).teacher.model.name == "timm:resnet10t"


@pytest.mark.parametrize("name", ["teacher", "protocol"])
def test_the_student_may_go_back_to_a_network_that_is_chosen_elsewhere(name: str) -> None:
    config = changed(("student.model", "convnet"), ("student.model", name))
    assert config.student.model == Use(name=name)
    assert complete(config, REGISTRY).student.model == Use(name=name)


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
def test_text_is_read_by_the_type_of_the_option(option: str, text: str, value: Any) -> None:
    use = changed((f"initializer.{option}", text)).initializer
    read = use.options[option]
    assert (tuple(read) if isinstance(read, list) else read) == value
    assert type(getattr(options_of(use, "initializer", REGISTRY), option)) is type(value)


@given(st.integers(0, 2**40), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_numbers_survive_being_text(count: int, share: float, on: bool) -> None:
    config = changed(
        ("initializer.count", str(count)), ("initializer.share", repr(share)), ("initializer.on", str(on))
    )
    options = options_of(config.initializer, "initializer", REGISTRY)
    assert (options.count, options.share, options.on) == (count, share, on)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("iterations", "many", "iterations=many: Expected `int`"),
        ("iterations", "1.5", "iterations=1.5: Expected `int`"),
        ("iterations", True, "iterations=True: Expected `int`, got `bool`"),
        ("teacher.lr", "fast", "teacher.lr=fast: Expected `float`"),
        ("augment.flip", "perhaps", "augment.flip=perhaps: Expected `bool`"),
        ("recover.optimizer", "sdg", "recover.optimizer=sdg: Invalid enum value 'sdg'"),
        ("recover.betas", "0.5", "recover.betas=0.5: Expected `array` of length 2"),
        ("recover.betas", (0.5, 0.9, 0.99), r"recover.betas=0.5,0.9,0.99: Expected `array` of length 2"),
        ("regularizers.smooth", "heavy", "regularizers.smooth=heavy: Expected `float`"),
        ("initializer.form", "cubes", "initializer.form=cubes: Invalid enum value 'cubes'"),
    ],
)
def test_a_value_of_the_wrong_type(key: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        changed((key, value))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("iterations", "-1", "iterations=-1: iterations and batch must be 0 or more, not -1 and 100"),
        ("lr", "nan", "lr=nan: lr must be above 0"),
        ("teacher.batch_size", "0", "teacher.batch_size=0: batch_size must be at least 1"),
        ("protocol.temperature", "0", "protocol.temperature=0: temperature must be above 0"),
        ("recover.augment.cutmix", "1", "recover.augment.cutmix=1: recover.augment.cutmix has no meaning"),
        ("augment.siamese", "flpi", r"unknown siamese operation 'flpi'. Did you mean 'flip'\?"),
        ("ipc", "0", "ipc=0: images per class must be at least 1"),
        ("students", -1, "students must be 0 or more"),
        ("precision", "fp8", "precision must be auto, bf16 or fp32, not 'fp8'"),
        ("initializer.count", "-1", "initializer 'noise': count must be 0 or more, not -1"),
        ("regularizers.smooth", "nan", "the weight of 'smooth' must be a finite number"),
        ("teacher.model", "teacher", "the teacher needs a network of its own"),
        ("teacher.model", "protocol", "the teacher needs a network of its own"),
        ("protocol.model", "protocol", "protocol.model is a network or 'teacher'"),
        ("recover.network", "protocol", "recover.network is a network of its own or 'teacher'"),
    ],
)
def test_a_value_out_of_range(key: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        changed((key, value))


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
def test_an_unknown_key_names_the_nearest(key: str, close: str) -> None:
    with pytest.raises(OptionError, match=f"unknown option '{key}'. Did you mean '{close}'") as caught:
        changed((key, "1"))
    assert all(f" {section}," in str(caught.value) for section in ("recover", "regularizers", "seed"))
    assert "--dry-run" in str(caught.value)


def test_an_unknown_option_of_a_component_names_those_it_has() -> None:
    with pytest.raises(
        OptionError, match=r"unknown option 'initializer.cuont'. Did you mean 'count'\?"
    ) as caught:
        changed(("initializer.cuont", "1"))
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
def test_an_unknown_component(key: str, value: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        changed((key, value))


def test_options_of_a_component_that_the_method_has_not() -> None:
    with pytest.raises(
        OptionError, match="the method has no regularizer 'class-batchnorm'; add it with its weight"
    ):
        changed(("regularizers.class-batchnorm.form", "norms"))


@pytest.mark.parametrize(
    ("key", "whose"),
    [("student.model", "protocol"), ("protocol.model", "teacher"), ("recover.network", "teacher")],
)
def test_options_of_a_network_that_is_chosen_elsewhere(key: str, whose: str) -> None:
    with pytest.raises(OptionError) as caught:
        changed((f"{key}.width", "64"))
    assert str(caught.value) == f"{key}.width: the network is that of the {whose}; first choose another"
    chosen = changed((key, "convnet"), (f"{key}.width", "64"))
    assert flatten(chosen)[f"{key}.width"] == 64


@pytest.mark.parametrize(("key", "below"), [("recover", "recover.iterations"), ("augment", "augment.flip")])
def test_a_group_of_settings_is_no_setting(key: str, below: str) -> None:
    with pytest.raises(OptionError, match=f"'{key}' is a group of settings; say which: .*{below}") as caught:
        changed((key, "1"))
    listed = str(caught.value).partition("say which: ")[2].split(", ")
    assert all(name.startswith(f"{key}.") for name in listed)


@pytest.mark.parametrize(
    "key", ["regularizers", "targets.match.count.more", "initializer.count.more", "", "."]
)
def test_keys_of_no_form(key: str) -> None:
    with pytest.raises(OptionError, match="unknown option"):
        changed((key, "1"))


# All settings at once.


def test_flatten_by_hand() -> None:
    assert flatten(Use(name="a", options={"x": 1}), "model") == {"model": "a", "model.x": 1}
    assert flatten((Use(name="a", weight=2.0, options={"x": 1}),), "targets") == {
        "targets.a": 2.0,
        "targets.a.x": 1,
    }
    assert flatten(Augment(flip=True), "augment")["augment.flip"] is True
    assert flatten(3, "ipc") == {"ipc": 3}


def test_every_listed_setting_can_be_set_to_what_it_is() -> None:
    """As values, and as the text a command line would carry."""
    for key, value in flatten(CONFIG).items():
        assert changed((key, value)).to_dict().keys() == CONFIG.to_dict().keys()
        if key in ("initializer", "teacher.model", "protocol.model", "dataset", "evaluator", "protocol.name"):
            continue  # Naming a component again resets its options; see above.
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        for form in (value, text):
            assert flatten(changed((key, form))) == flatten(CONFIG), key


def test_the_settings_of_one_configuration_make_another_into_it() -> None:
    wanted = changed(
        ("initializer", "real"),
        ("initializer.limit", 3),
        ("teacher.model", "convnet"),
        ("teacher.model.norm", "none"),
        ("iterations", 7),
        ("augment.crop_scale", (0.5, 1.0)),
        ("protocol.labels", "hard"),
        ("regularizers.smooth.pair", (2.0, 3.0)),
    )
    wanted = complete(wanted, REGISTRY)
    assert complete(changed(*flatten(wanted).items()), REGISTRY) == wanted


def test_completing_twice_changes_nothing() -> None:
    assert complete(CONFIG, REGISTRY) == CONFIG
    assert CONFIG.targets[0].options["count"] == 4
    assert set(CONFIG.targets[0].options) == {field.name for field in dataclasses.fields(KnobOptions)}


def test_assign_leaves_its_argument_alone() -> None:
    before = CONFIG.to_dict()
    changed(("iterations", 5), ("initializer.count", 5), ("regularizers.smooth", 5))
    assert CONFIG.to_dict() == before


def test_a_nan_never_becomes_a_learning_rate() -> None:
    for key in ("lr", "teacher.lr", "protocol.lr"):
        for value in ("nan", math.nan, "inf", "-1", "0"):
            with pytest.raises(OptionError, match="lr must be above 0"):
                changed((key, value))
