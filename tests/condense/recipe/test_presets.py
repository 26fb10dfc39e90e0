"""Settings that a method or a dataset brings along are checked when its plugin is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.presets import OWN_OPTIONS, PRESET, check_offer
from condense.recipe.registry import load_registry
from condense.recipe.specs import DatasetSpec
from condense.recipe.variant import Variant

BASE: dict[str, Any] = {
    "name": "mine",
    "summary": "x",
    "targets": {"match": Weighted()},
    "regularizers": {"smooth": Weighted()},
    "recover": Recover(iterations=10),
}
GOOD: dict[str, Any] = {
    "iterations": 3,
    "recover.lr": "0.1",
    "recover.augment.crop_scale": (0.08, 1.0),
    "augment.flip": True,
    "recover.inner.epochs": 2,
    "teacher.model": "convnet",
    "teacher.model.width": 8,
    "teacher.seed": None,
    "protocol.labels": "hard",
    "student.model": Use(name="convnet"),
    "initializer": "real",
    "initializer.std": 2,
    "evaluator": "students",
    "dataset.size": 32,
    "targets.match": 2,
    "targets.other": "0.5",
    "regularizers.smooth.form": "norms",
}
BAD: list[tuple[str, Any, str]] = [
    ("recover.iteratons", 3, r"unknown setting 'recover\.iteratons'\. Did you mean 'recover\.iterations'\?"),
    ("iteratons", 3, r"unknown setting 'iteratons'\. Did you mean 'iterations'\?"),
    ("recovr.iterations", 3, r"unknown setting 'recovr\.iterations'"),
    ("recover.augment.cutmx", 1, r"Did you mean 'recover\.augment\.cutmix'\?"),
    ("recover", 1, "'recover' is a group of settings; say which: iterations, "),
    ("recover.iterations", "many", r"recover\.iterations must be a whole number, not 'many'"),
    ("recover.iterations", 2.5, r"recover\.iterations must be a whole number, not 2\.5"),
    ("recover.optimizer", "SGD", r"recover\.optimizer must be one of adam, sgd, not 'SGD'"),
    ("protocol.labels", "softt", r"protocol\.labels must be one of hard, soft, online, not 'softt'"),
    ("recover.lr", -1.0, r"lr must be above 0, not -1\.0"),
    ("protocol.temperature", 0, r"temperature must be above 0, not 0\.0"),
    ("teacher.augment.jitter", 3.0, r"jitter .* got 3\.0"),
    ("recover.lr.more", 1, r"'recover\.lr\.more' is no setting: 'recover\.lr' has no parts"),
    ("teacher.model", 3, r"teacher\.model must be a name, not 3"),
    ("teacher.model.width.more", 3, "an option has no parts"),
    ("targets", 1, r"'targets' is no setting: write targets\.NAME for a weight, or targets\.NAME\.OPTION"),
    ("targets.match", "heavy", r"targets\.match must be a number, not 'heavy'"),
    ("targets.match.form.more", 1, r"write targets\.NAME for a weight"),
]


def methods(settings: dict[str, Any]) -> dict[str, Method]:
    """A method that brings these settings, in each place where it may."""
    return {
        "method 'mine', preset 'small-grey'": Method(**BASE, presets={"small-grey": settings}),
        "method 'mine', for_ipc 10": Method(**BASE, for_ipc={10: settings}),
        "method 'mine', variant 'other'": Method(
            **BASE, variants=(Variant(label="other", settings=settings),)
        ),
    }


def datasets(settings: dict[str, Any]) -> dict[str, DatasetSpec]:
    plain: dict[str, Any] = {"name": "images", "summary": "x", "build": "a:b"}
    return {
        "dataset 'images', settings": DatasetSpec(**plain, settings=settings),
        "dataset 'images', settings for photographs": DatasetSpec(
            **plain, settings_by_kind={"photographs": settings}
        ),
        "dataset 'images', settings for fkd": DatasetSpec(**plain, settings_by_protocol={"fkd": settings}),
    }


def test_what_fits_passes() -> None:
    for offer in (*methods(GOOD).values(), *datasets(GOOD).values()):
        check_offer(offer)


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_what_does_not_fit_is_told_with_its_place(key: str, value: Any, message: str) -> None:
    for where, offer in (*methods({key: value}).items(), *datasets({key: value}).items()):
        with pytest.raises(ValueError, match=f"^{where}: .*{message}"):
            check_offer(offer)


@pytest.mark.parametrize("key", sorted(OWN_OPTIONS))
def test_options_of_a_run_are_no_presets(key: str) -> None:
    for offer in methods({key: "1"}).values():
        with pytest.raises(ValueError, match=f"'{key}' is an option of a run, and no setting"):
            check_offer(offer)


def test_a_variant_leaves_out_what_is_there() -> None:
    check_offer(Method(**BASE, variants=(Variant(label="a", without=("smooth",)),)))
    added = Variant(label="a", settings={"regularizers.extra": 1.0}, without=("extra",))
    check_offer(Method(**BASE, variants=(added,)))
    with pytest.raises(ValueError, match=r"variant 'a': unknown component 'smoth'\. Did you mean 'smooth'\?"):
        check_offer(Method(**BASE, variants=(Variant(label="a", without=("smoth",)),)))


def test_a_variant_chooses_a_preset_that_is_there() -> None:
    presets = {"paper": {"recover.lr": 0.1}}
    check_offer(Method(**BASE, presets=presets, variants=(Variant(label="a", settings={PRESET: "paper"}),)))
    with pytest.raises(ValueError, match=r"variant 'a': unknown preset 'papr'\. Did you mean 'paper'\?"):
        check_offer(
            Method(**BASE, presets=presets, variants=(Variant(label="a", settings={PRESET: "papr"}),))
        )


def test_a_plugin_with_a_misspelt_preset_is_set_aside(shelf: Any) -> None:
    method = Method(**BASE, presets={"small-grey": {"recover.iteratons": 3}})
    shelf.add("careless", condense_methods=shelf.hook("condense_methods", method))
    registry = load_registry()
    problem = shelf.status_of(registry, "careless").problem
    assert "method 'mine', preset 'small-grey': unknown setting 'recover.iteratons'" in problem
    assert registry.method("sound")
