"""Remarks about what plugins offer that cannot take effect here."""

from __future__ import annotations

from typing import Any

from condense.builtin import DC, FKD
from condense.models.catalog import MODELS
from condense.recipe.doubts import doubts
from condense.recipe.method import Method, Recover, Weighted
from condense.recipe.registry import KINDS, Offer, Registry, load_registry
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ParametrizationSpec,
    RegularizerSpec,
)
from condense.recipe.variant import Variant

PLAIN: dict[str, Any] = {"summary": "x", "build": "builtins:dict"}
BASE: dict[str, Any] = {"name": "mine", "summary": "x", "targets": {"match": Weighted()}}


def registry_with(method: Method, *datasets: DatasetSpec) -> Registry:
    offered: dict[str, list[Any]] = {
        "method": [method],
        "feature target": [FeatureTargetSpec(name="match", **PLAIN)],
        "regularizer": [RegularizerSpec(name="smooth", **PLAIN)],
        "initializer": [InitializerSpec(name="noise", **PLAIN)],
        "parametrization": [ParametrizationSpec(name="identity", **PLAIN)],
        "evaluator": [EvaluatorSpec(name="students", **PLAIN)],
        "protocol": [DC, FKD],
        "model": list(MODELS),
        "dataset": [DatasetSpec(name="common", **PLAIN), *datasets],
    }
    offers = {
        kind: {one.name: Offer("toy", one) for one in offered.get(kind, [])} for kind, _ in KINDS.values()
    }
    return Registry(offers, (), {})


def texts(registry: Registry) -> list[str]:
    return [doubt.text for doubt in doubts(registry)]


def test_nothing_is_said_about_what_works() -> None:
    method = Method(
        **BASE,
        presets={"small-grey": {"recover.lr": 0.1}, "common": {"recover.lr": 0.2}},
        for_ipc={5: {"recover.lr": 0.3}},
        variants=(Variant(label="whole"), Variant(label="with", settings={"regularizers.smooth": 1.0})),
    )
    convnet = DatasetSpec(
        name="small", **PLAIN, settings={"teacher.model": "convnet", "teacher.model.width": 8}
    )
    assert doubts(registry_with(method, convnet)) == []
    assert doubts(Registry({kind: {} for kind, _ in KINDS.values()}, (), {})) == []


def test_a_preset_that_nothing_chooses() -> None:
    [text] = texts(registry_with(Method(**BASE, presets={"small-gray": {"recover.lr": 0.1}})))
    assert text.startswith(
        "method 'mine': the preset 'small-gray' is named after no kind of images and no dataset"
    )
    assert text.endswith("--set preset=small-gray alone chooses it; did you mean 'small-grey'?")
    assert texts(registry_with(Method(**BASE, presets={"qqq": {"recover.lr": 0.1}}))) == []


def test_what_another_plugin_would_have_to_offer_is_missing() -> None:
    broken = Method(
        **BASE,
        presets={"common": {"regularizers.smoth": 1.0}},
        for_ipc={50: {"teacher.model": "convnt"}},
        variants=(
            Variant(label="wide", settings={"recover.network": "convnet", "recover.network.widht": 3}),
        ),
    )
    first, *others = texts(registry_with(broken))
    assert first.startswith("method 'mine': unknown regularizer 'smoth'. Did you mean 'smooth'?")
    assert not others  # the preset of the dataset on which everything is tried spoils the rest
    several = Method(**{**BASE, "for_ipc": broken.for_ipc, "variants": broken.variants, "presets": {}})
    found = texts(registry_with(several))
    assert [text.partition(":")[0] for text in found] == [
        "method 'mine', for_ipc 50",
        "method 'mine', variant 'wide'",
    ]
    assert "unknown model 'convnt'" in found[0]
    assert "unknown option 'recover.network.widht'" in found[1]


def test_a_dataset_whose_settings_do_not_fit() -> None:
    kept = Method(name="mine", summary="x", recover=Recover(iterations=0))
    broken = DatasetSpec(name="other", **PLAIN, settings={"teacher.model.widht": 3})
    [doubt] = doubts(registry_with(kept, broken))
    assert doubt.text.startswith("dataset 'other': unknown option 'teacher.model.widht'")


def test_a_dataset_whose_settings_do_not_fit_a_protocol() -> None:
    kept = Method(name="mine", summary="x", recover=Recover(iterations=0))
    broken = DatasetSpec(name="other", **PLAIN, settings_by_protocol={"fkd": {"teacher.model.widht": 3}})
    [doubt] = doubts(registry_with(kept, broken))
    assert doubt.text.startswith("dataset 'other': unknown option 'teacher.model.widht'")


def test_settings_of_a_dataset_for_a_protocol_that_nothing_uses() -> None:
    kept = Method(name="mine", summary="x", recover=Recover(iterations=0))
    wrong = {name: {"protocol.epochs": 3} for name in ("fdk", "of-another-plugin")}
    [doubt] = doubts(registry_with(kept, DatasetSpec(name="other", **PLAIN, settings_by_protocol=wrong)))
    assert "settings for 'fdk' are those of no protocol" in doubt.text
    assert doubt.text.endswith("did you mean 'fkd'?")


def test_what_comes_with_condense_leaves_no_doubt() -> None:
    assert doubts(load_registry(environment={})) == []
