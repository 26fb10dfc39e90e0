"""Settings that nothing reads are refused when somebody gives them."""

from __future__ import annotations

from typing import Any

import pytest

from condense.errors import OptionError
from condense.recipe.effects import refuse_without_effect, without_effect
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.recipe.settings import flatten

REGISTRY = load_registry(environment={})

# Each setting, what leaves it unread, the reason, and what has it read again.
IDLE: list[tuple[tuple[str, Any], dict[str, Any], str, dict[str, Any]]] = [
    (
        ("recover.momentum", 0.9),
        {"recover.optimizer": "adam"},
        "recover.optimizer is adam",
        {"optimizer": "sgd"},
    ),
    (("momentum", 0.9), {}, "recover.optimizer is adam", {"optimizer": "sgd"}),
    (("recover.betas", "0.5,0.9"), {"optimizer": "sgd"}, "recover.optimizer is sgd", {"optimizer": "adam"}),
    (("teacher.momentum", 0.5), {"teacher.optimizer": "adamw"}, "teacher.optimizer is adamw", {}),
    (("protocol.momentum", 0.5), {"protocol.optimizer": "adam"}, "protocol.optimizer is adam", {}),
    (("protocol.temperature", 4), {"protocol.labels": "hard"}, "protocol.labels is hard", {}),
    (("protocol.model", "convnet"), {"student.model": "resnet18"}, "student.model is resnet18", {}),
    (("teacher.lr", 0.1), {"teacher.checkpoint": "weights.pt"}, "teacher.checkpoint is weights.pt", {}),
    (("teacher.epochs", 3), {"teacher.checkpoint": "weights.pt"}, "teacher.checkpoint is weights.pt", {}),
    (
        ("teacher.augment.flip", True),
        {"teacher.checkpoint": "weights.pt"},
        "teacher.checkpoint is weights.pt",
        {},
    ),
    (("teacher.lr", 0.1), {"teacher.epochs": 0}, "teacher.epochs is 0", {"teacher.epochs": 1}),
    (("recover.inner.lr", 0.1), {}, "recover.inner.epochs is 0", {}),
    (("recover.inner_on", "real"), {}, "recover.inner.epochs is 0", {"recover.inner.epochs": 1}),
    (
        ("recover.inner_images", 5),
        {"recover.inner.epochs": 1},
        "recover.inner_on is synthetic",
        {"recover.inner_on": "real"},
    ),
    (("recover.crop_share", 0.5), {}, "recover.crop_schedule is none", {}),
    (("augment.crop_ratio", "1,1"), {"augment.crop_scale": "none"}, "recover.augment.crop_scale is none", {}),
    (("protocol.augment.siamese_single", False), {}, "protocol.augment.siamese is empty", {}),
    (("recover.lr", 0.1), {"iterations": 0}, "recover.iterations is 0", {"iterations": 5}),
    (("recover.network", "convnet"), {"iterations": 0}, "recover.iterations is 0", {}),
    (("regularizers.batchnorm", 1), {"iterations": 0}, "recover.iterations is 0", {"iterations": 5}),
    (("targets.cross-entropy", 1), {"iterations": 0}, "recover.iterations is 0", {"iterations": 5}),
]


def config(*settings: tuple[str, Any]) -> Any:
    return configure(REGISTRY, method="wmdd", settings=settings, alone=False)


@pytest.mark.parametrize(("given", "gate", "reason", "mended"), IDLE)
def test_what_nothing_reads(
    given: tuple[str, Any], gate: dict[str, Any], reason: str, mended: dict[str, Any]
) -> None:
    key = given[0]
    with pytest.raises(OptionError, match=f"^{key} has no effect, because {reason}.*; leave it out$"):
        configure(REGISTRY, method="wmdd", settings=[*gate.items(), given])
    if mended:
        assert not without_effect(config(*gate.items(), given, *mended.items()), [key], REGISTRY)


def test_every_rule_is_about_settings_that_exist() -> None:
    from condense.recipe.effects import _RULES

    flat = flatten(config(("select.students", 1)))  # with a judge
    for rule in _RULES:
        assert rule.gate in flat
        for key in rule.below:
            assert any(known == key or known.startswith(f"{key}.") for known in flat)


def test_settings_that_are_read_pass() -> None:
    settings = {"recover.lr": 0.1, "teacher.lr": 0.1, "protocol.temperature": 4, "targets.barycenter": 2}
    configure(REGISTRY, method="wmdd", settings=settings)
    # An initializer that reads the fitted targets gives them an effect without a step.
    chosen = [("iterations", 0), ("initializer", "medoids"), ("targets.barycenter", 2)]
    assert not without_effect(config(*chosen), ["targets.barycenter"], REGISTRY)


def test_presets_and_defaults_are_never_refused() -> None:
    for offer in REGISTRY.offers("method"):
        if offer.spec.name != "imported":
            configure(REGISTRY, method=offer.spec.name)


def test_of_several_runs_one_has_to_read_it() -> None:
    adam, sgd = config(), config(("optimizer", "sgd"))
    refuse_without_effect([adam, sgd], ["recover.momentum", "recover.betas"], REGISTRY)
    refuse_without_effect([], ["recover.momentum"], REGISTRY)
    with pytest.raises(
        OptionError, match=r"recover\.momentum has no effect, because recover\.optimizer is adam;"
    ):
        refuse_without_effect([adam, adam], ["recover.momentum"], REGISTRY)
