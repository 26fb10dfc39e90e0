"""Resolving a run: who wins over whom, what is left out, and the way to JSON and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from condense.builtin import DC, FKD
from condense.engine.catalog import NoiseOptions
from condense.errors import OptionError, UnknownNameError
from condense.models.catalog import MODELS
from condense.recipe.config import RunConfig, config_from_dict, resolve
from condense.recipe.method import Method, Recover, Teacher, Use
from condense.recipe.protocol import Protocol
from condense.recipe.registry import KINDS, Offer, Registry, load_registry
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    RegularizerSpec,
)

PLAIN = {"summary": "x", "build": "builtins:dict"}
TOY = Method(
    name="toy",
    summary="x",
    targets=(Use(name="match"),),
    regularizers=(Use(name="smooth", weight=2.0),),
    recover=Recover(iterations=10, lr=0.5),
    teacher=Teacher(epochs=1, lr=0.1, batch_size=11),
    protocol="dc",
    presets={"special": {"teacher.lr": 0.3, "teacher.batch_size": 33, "regularizers.smooth": 3.0}},
)
KEEPER = Method(
    name="keeper",
    summary="x",
    recover=Recover(iterations=0),
    presets={"special": {"lr": 0.1, "batch": 10}},
    for_ipc={5: {"lr": 0.5}, 20: {"lr": 2.0, "recover.network": "convnet"}},
)
ROOMY = Protocol(name="roomy", model=Use(name="convnet", options={"width": 64}))


def registry() -> Registry:
    offers: dict[str, dict[str, Offer]] = {kind: {} for kind, _ in KINDS.values()}

    def add(kind: str, *specs: Any) -> None:
        offers[kind].update({spec.name: Offer("toy", spec) for spec in specs})

    add("method", TOY, KEEPER)
    add(
        "feature target",
        FeatureTargetSpec(name="match", **PLAIN),
        FeatureTargetSpec(name="cross-entropy", **PLAIN),
    )
    add("regularizer", RegularizerSpec(name="smooth", **PLAIN))
    add("initializer", InitializerSpec(name="noise", options=NoiseOptions, **PLAIN))
    add("evaluator", EvaluatorSpec(name="students", **PLAIN))
    add("model", *MODELS)
    add("protocol", DC, FKD, ROOMY)
    common = {"teacher.lr": 0.2, "teacher.epochs": 2, "teacher.batch_size": 22}
    add(
        "dataset",
        DatasetSpec(name="plain", **PLAIN),
        DatasetSpec(name="special", settings=common, takes="PATH", **PLAIN),
        DatasetSpec(name="common", settings=common, **PLAIN),
    )
    return Registry(offers, (), {})


REGISTRY = registry()


def teacher_on(dataset: str, *settings: tuple[str, Any]) -> tuple[int, float, int]:
    teacher = resolve(REGISTRY, method="toy", dataset=dataset, settings=settings).teacher
    return teacher.epochs, teacher.lr, teacher.batch_size


def test_the_method_then_the_dataset_then_the_preset_then_the_user() -> None:
    assert teacher_on("plain") == (1, 0.1, 11)
    assert teacher_on("common") == (2, 0.2, 22)
    assert teacher_on("special:somewhere") == (2, 0.3, 33)
    assert teacher_on("special:somewhere", ("teacher.batch_size", "44")) == (2, 0.3, 44)


def test_the_last_of_two_settings_wins() -> None:
    assert teacher_on("plain", ("teacher.epochs", 5), ("teacher.epochs", 6))[0] == 6


def test_a_preset_reaches_components() -> None:
    assert resolve(REGISTRY, method="toy", dataset="special:x").regularizers[0].weight == 3.0
    assert resolve(REGISTRY, method="toy", dataset="plain").regularizers[0].weight == 2.0


def test_the_dataset_keeps_what_the_user_typed() -> None:
    assert resolve(REGISTRY, method="toy", dataset="special:a/b").dataset.name == "special:a/b"


def test_the_protocol_of_the_method_unless_another_is_named() -> None:
    assert resolve(REGISTRY, method="toy", dataset="plain").protocol.name == "dc"
    assert resolve(REGISTRY, method="toy", dataset="plain", protocol="fkd").protocol.name == "fkd"


def test_the_settings_for_many_images_win_over_the_preset_and_lose_to_the_user() -> None:
    def lr(dataset: str, ipc: int, **changes: Any) -> float:
        return resolve(REGISTRY, method="keeper", dataset=dataset, ipc=ipc, **changes).recover.lr

    assert [lr("plain", ipc) for ipc in (4, 5, 19, 20)] == [0.25, 0.5, 0.5, 2.0]
    assert [lr("special:x", ipc) for ipc in (4, 5)] == [0.1, 0.1]
    assert lr("special:x", 5, settings=[("lr", 7.0)]) == 7.0
    config = resolve(REGISTRY, method="keeper", dataset="special:x", ipc=20)
    assert (config.ipc, config.recover.batch) == (20, 10)
    assert config.recover.network.options == {"width": 128, "depth": 3, "norm": "batch"}


# Names that stand for a network chosen elsewhere.


@pytest.mark.parametrize(
    ("protocol", "student", "expected"),
    [
        ("fkd", None, ("resnet18", None)),  # the protocol says: the teacher's
        ("fkd", "teacher", ("resnet18", None)),
        ("fkd", "convnet", ("convnet", 128)),
        ("roomy", None, ("convnet", 64)),  # the protocol's own
        ("roomy", "protocol", ("convnet", 64)),
        ("roomy", "teacher", ("resnet18", None)),
    ],
)
def test_the_network_that_students_really_are(
    protocol: str, student: str | None, expected: tuple[str, int | None]
) -> None:
    settings = [("student.model", student)] if student else []
    config = resolve(REGISTRY, method="toy", dataset="plain", protocol=protocol, settings=settings)
    found = config.student_model
    assert (found.name, found.options.get("width")) == expected
    assert (found == config.teacher.model) is (expected[0] == "resnet18")


def test_the_network_that_stands_for_the_teachers() -> None:
    config = resolve(REGISTRY, method="toy", dataset="plain", settings=[("teacher.model", "convnet")])
    assert config.network_of(config.recover.network) is config.teacher.model
    own = Use(name="resnet18")
    assert config.network_of(own) is own


def test_students_like_a_pretrained_teacher_start_afresh() -> None:
    settings = [("teacher.model", "resnet18"), ("teacher.model.pretrained", True)]
    config = resolve(REGISTRY, method="toy", dataset="plain", protocol="fkd", settings=settings)
    assert config.teacher.model.options["pretrained"] is True
    assert config.student_model == Use(name="resnet18", options={"stem": "auto", "pretrained": False})


def test_the_teachers_seed_is_the_runs_unless_it_has_one() -> None:
    for settings, expected in (([], 5), ([("teacher.seed", 3)], 3), ([("teacher.seed", "0")], 0)):
        config = resolve(REGISTRY, method="toy", dataset="plain", settings=[("seed", 5), *settings])
        assert config.teacher_seed == expected


def test_options_are_written_out_with_their_defaults() -> None:
    config = resolve(REGISTRY, method="toy", dataset="plain")
    assert config.teacher.model.options == {"stem": "auto", "pretrained": False}
    assert set(config.initializer.options) == set(NoiseOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "tyo"}, r"unknown method 'tyo'. Did you mean 'toy'\? There are: keeper, toy"),
        ({"dataset": "plian"}, r"unknown dataset 'plian'. Did you mean 'plain'\?"),
        ({"protocol": "fdk"}, r"unknown protocol 'fdk'. Did you mean 'fkd'\?"),
        (
            {"without": ["smoth"]},
            r"unknown component of toy 'smoth'. Did you mean 'smooth'\? There are: match, smooth",
        ),
        ({"without": ["smooth", "smooth"]}, "unknown component of toy 'smooth'.*There are: match$"),
    ],
)
def test_unknown_names(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        resolve(REGISTRY, **{"method": "toy", "dataset": "plain", **arguments})


# Leaving components out.


def test_without_a_regularizer() -> None:
    config = resolve(REGISTRY, method="toy", dataset="plain", without=["smooth"])
    assert config.regularizers == ()
    assert [use.name for use in config.components] == ["match"]


def test_without_a_target_another_must_be_there() -> None:
    with pytest.raises(
        OptionError, match=r"10 iterations of recover and no target to match.*targets.cross-entropy=1"
    ):
        resolve(REGISTRY, method="toy", dataset="plain", without=["match"])
    config = resolve(
        REGISTRY, method="toy", dataset="plain", settings=[("targets.cross-entropy", 1)], without=["match"]
    )
    assert [use.name for use in config.targets] == ["cross-entropy"]


def test_without_any_target_nothing_is_recovered() -> None:
    config = resolve(REGISTRY, method="toy", dataset="plain", settings=[("iterations", 0)], without=["match"])
    assert config.targets == ()


def test_iterations_need_something_to_match() -> None:
    with pytest.raises(OptionError, match="5 iterations of recover and no target to match"):
        resolve(REGISTRY, method="keeper", dataset="plain", settings=[("iterations", "5")])


# To JSON and back.


def configurations() -> list[RunConfig]:
    return [
        resolve(REGISTRY, method="toy", dataset="plain"),
        resolve(
            REGISTRY,
            method="toy",
            dataset="special:a b/c",
            protocol="fkd",
            settings=[
                ("augment.crop_scale", "0.08,1"),
                ("augment.siamese", "flip,color"),
                ("teacher.model", "convnet"),
                ("student.model", "timm:resnet10t"),
                ("seed", "5"),
                ("lr", "0.1"),
            ],
            without=["smooth"],
        ),
        resolve(REGISTRY, method="keeper", dataset="common"),
    ]


@pytest.mark.parametrize("config", configurations(), ids=["plain", "changed", "keeper"])
def test_a_configuration_survives_being_written_down(config: RunConfig) -> None:
    assert config_from_dict(json.loads(json.dumps(config.to_dict())), REGISTRY) == config


@pytest.mark.parametrize("method", ["wmdd", "random"])
def test_so_do_those_of_the_methods_that_come_with_condense(method: str) -> None:
    installed = load_registry(environment={})
    config = resolve(installed, method=method)
    assert config_from_dict(json.loads(json.dumps(config.to_dict())), installed) == config


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.pop("method"), "missing required field `method`"),
        (lambda data: data.update(ipc="ten"), r"Expected `int`, got `str` - at `\$.ipc`"),
        (lambda data: data.update(ipc=0), "images per class must be at least 1"),
        (lambda data: data["recover"].update(lr=-1.0), "lr must be above 0"),
        (lambda data: data["recover"].update(optimizer="sdg"), "Invalid enum value 'sdg'"),
    ],
)
def test_what_is_no_configuration(damage: Any, message: str) -> None:
    data = json.loads(json.dumps(configurations()[0].to_dict()))
    damage(data)
    with pytest.raises(OptionError, match=f"this is not the configuration of a run: .*{message}"):
        config_from_dict(data, REGISTRY)


def test_a_configuration_whose_component_is_gone() -> None:
    data = configurations()[0].to_dict()
    data["initializer"]["name"] = "noize"
    with pytest.raises(UnknownNameError, match="unknown initializer 'noize'"):
        config_from_dict(data, REGISTRY)
    data["initializer"]["name"] = "noise"
    data["initializer"]["options"] = {"colour": "pink"}
    with pytest.raises(OptionError, match=r"unknown option 'noise.colour'"):
        config_from_dict(data, REGISTRY)
