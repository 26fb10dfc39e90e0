"""What a configuration makes necessary: which stages run, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import pytest

from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, Initializer
from condense.engine.plan import Plan, make_plan
from condense.errors import OptionError, PluginError
from condense.recipe.config import configure
from condense.recipe.method import Method, Recover, Use
from condense.recipe.registry import Registry
from condense.recipe.specs import EvaluatorSpec, FeatureTargetSpec, InitializerSpec


class Fresh(FeatureTarget):
    network: ClassVar[Literal["teacher", "random"]] = "random"
    measures = False


class FreshObserver(FeatureTarget):
    network: ClassVar[Literal["teacher", "random"]] = "random"


class Whole(FeatureTarget):
    measures = False
    whole_classes = True


class Single(FeatureTarget):
    measures = False
    by_class = True


class TeachersGradients(FeatureTarget):
    measures = False
    weight_gradients = True


class TappedGradients(Fresh):
    weight_gradients = True
    uses_moments = True


class ConvolvingGradients(Fresh):
    weight_gradients = True
    uses_convolutions = True


class FreshGradients(Fresh):
    weight_gradients = True


class Asking(Initializer):
    needs_teacher = True


class Reader(Initializer):
    uses_targets = True


def spec(kind: Any, name: str, build: Any) -> Any:
    return kind(name=name, summary="x", build=lambda options: build)


TARGETS = [
    spec(FeatureTargetSpec, "fresh", Fresh()),
    spec(FeatureTargetSpec, "fresh-observer", FreshObserver()),
    spec(FeatureTargetSpec, "odd", "a string"),
    spec(FeatureTargetSpec, "whole", Whole()),
    spec(FeatureTargetSpec, "single", Single()),
    spec(FeatureTargetSpec, "teachers-gradients", TeachersGradients()),
    spec(FeatureTargetSpec, "tapped-gradients", TappedGradients()),
    spec(FeatureTargetSpec, "convolving-gradients", ConvolvingGradients()),
    spec(FeatureTargetSpec, "fresh-gradients", FreshGradients()),
]
METHODS = [
    Method(name=name, summary="x", targets=(Use(name=name),), recover=Recover(iterations=3), protocol="dc")
    for name in [target.name for target in TARGETS]
]


@pytest.fixture
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(
        make_dataset(),
        feature_targets=TARGETS,
        initializers=[
            spec(InitializerSpec, "asking", Asking()),
            spec(InitializerSpec, "reader", Reader()),
        ],
        evaluators=[spec(EvaluatorSpec, "odd-evaluator", object())],
        methods=METHODS,
    )


def plan(registry: Registry, method: str, **changes: Any) -> Plan:
    changes = {"students": 1, "settings": [], **changes}
    return make_plan(configure(registry, method=method, dataset="tiny", **changes), registry)


KEPT = {"protocol": "dc"}
CASES = [
    # method, changes, needs a teacher, measures, compares with random images
    ("wmdd", {}, True, True, True),
    ("wmdd", {"protocol": "dc", "students": 0}, True, True, False),
    ("wmdd", {"settings": [("iterations", 0)], "protocol": "dc"}, False, False, True),
    (
        "wmdd",
        {"settings": [("iterations", 0), ("initializer", "real")], "protocol": "dc"},
        False,
        False,
        False,
    ),
    ("wmdd", {"without": ["barycenter", "class-batchnorm"]}, True, False, True),
    ("wmdd", {"reference": False}, True, True, False),
    ("random", {}, True, False, False),
    ("random", {"protocol": "dc"}, False, False, False),
    ("random", {"students": 0}, False, False, False),
    ("random", {"protocol": "dc", "settings": [("initializer", "asking")]}, True, False, True),
    ("random", {"protocol": "dc", "settings": [("protocol.labels", "soft")]}, True, False, False),
    ("fresh", {}, False, False, True),
    ("fresh", {"protocol": "fkd"}, True, False, True),
    # An initializer that reads the targets has them fitted, so there is a teacher to fit them by.
    ("wmdd", {**KEPT, "settings": [("iterations", 0), ("initializer", "reader")]}, True, True, True),
    ("random", {**KEPT, "settings": [("initializer", "reader")]}, False, False, True),
]


@pytest.mark.parametrize(("method", "changes", "teacher", "measures", "reference"), CASES)
def test_stages_that_a_configuration_needs(
    method: str, changes: dict[str, Any], teacher: bool, measures: bool, reference: bool, registry: Registry
) -> None:
    found = plan(registry, method, **changes)
    assert (found.needs_teacher, found.measures, found.reference) == (teacher, measures, reference)
    said = dict(found.stages())
    assert list(said) == ["squeeze", "measure", "recover", "relabel", "evaluate"]
    assert said["squeeze"].startswith("skipped") is not teacher
    assert said["measure"].startswith("skipped") is not measures
    assert said["recover"].startswith("keep") is not bool(found.iterations)
    assert ("random real images" in said["evaluate"]) is reference


def test_terms_are_targets_then_regularizers_with_their_weights(registry: Registry) -> None:
    found = plan(registry, "wmdd", settings=[("regularizers.class-batchnorm", 3)])
    assert [(term.name, term.weight) for term in found.terms] == [
        ("barycenter", 1.0),
        ("cross-entropy", 1.0),
        ("class-batchnorm", 3.0),
    ]
    assert found.targets == tuple(term.component for term in found.terms[:2])


def test_what_a_plugin_builds_must_be_what_it_said(registry: Registry) -> None:
    with pytest.raises(PluginError) as caught:
        plan(registry, "odd")
    assert str(caught.value) == "feature target 'odd' was built as 'a string', which is no Component"
    with pytest.raises(
        PluginError, match=r"evaluator 'odd-evaluator' was built as .*, which is no Evaluator"
    ):
        plan(registry, "random", settings=[("evaluator", "odd-evaluator")])


def test_a_fresh_network_cannot_be_measured_with(registry: Registry) -> None:
    with pytest.raises(PluginError, match="feature target 'fresh-observer' wants to observe the real images"):
        plan(registry, "fresh-observer")


def test_nothing_is_built_that_is_not_used(registry: Registry) -> None:
    """Without steps there are no regularizers, and targets only for an initializer that reads them."""
    kept = [("iterations", 0)]
    assert plan(registry, "wmdd", settings=kept).terms == ()
    found = plan(registry, "wmdd", settings=[*kept, ("initializer", "reader")])
    assert [term.name for term in found.terms] == ["barycenter", "cross-entropy"]
    moving = plan(registry, "wmdd", settings=[("initializer", "reader")])
    assert [term.name for term in moving.terms] == ["barycenter", "cross-entropy", "class-batchnorm"]


@pytest.mark.parametrize("method", ["whole", "single"])
def test_chunks_of_slots_tear_classes_apart(method: str, registry: Registry) -> None:
    slots = ("chunk", "slots")
    with pytest.raises(OptionError) as caught:
        plan(registry, method, settings=[slots])
    assert str(caught.value) == (
        f"recover.chunk=slots: '{method}' needs all images of a class at once; use recover.chunk=classes, or leave "
        f"it out with --without {method}"
    )
    assert plan(registry, method).terms
    assert plan(registry, "fresh", settings=[slots]).terms
    # Where no step is taken, no loss is asked for.
    reading = [slots, ("iterations", 0), ("initializer", "reader")]
    assert [term.name for term in plan(registry, method, settings=reading).terms] == [method]


def test_a_component_that_sees_classes_alone_says_what_it_does_to_others(registry: Registry) -> None:
    added = [("regularizers.class-batchnorm", 1), ("targets.barycenter", 1)]
    assert plan(registry, "single").notes == plan(registry, "wmdd").notes == ()
    assert plan(registry, "single", settings=added[:1]).notes == (
        "single has every step done one class at a time, so that class-batchnorm sees one class at a time as well",
    )
    assert (
        plan(registry, "single", settings=added)
        .notes[0]
        .endswith("barycenter, class-batchnorm see one class at a time as well")
    )


def test_wmdd_needs_whole_classes_for_its_components_alone(registry: Registry) -> None:
    slots = [("chunk", "slots")]
    for without, name in (([], "barycenter"), (["barycenter"], "class-batchnorm")):
        with pytest.raises(OptionError, match=f"'{name}' needs all images of a class at once"):
            plan(registry, "wmdd", settings=slots, without=without)
    found = plan(registry, "wmdd", settings=slots, without=["barycenter", "class-batchnorm"])
    assert [term.name for term in found.terms] == ["cross-entropy"]


@pytest.mark.parametrize("method", ["teachers-gradients", "tapped-gradients"])
def test_gradients_of_weights_are_for_random_networks_without_moments(
    method: str, registry: Registry
) -> None:
    with pytest.raises(PluginError) as caught:
        plan(registry, method)
    assert str(caught.value) == (
        f"feature target '{method}' takes gradients to the weights, which is for random networks and without "
        "moments: set network = 'random' and uses_moments = False"
    )
    assert plan(registry, "fresh-gradients").terms


def test_gradients_of_weights_are_not_for_convolutions_either(registry: Registry) -> None:
    with pytest.raises(PluginError, match=r"set network = 'random' and uses_convolutions = False"):
        plan(registry, "convolving-gradients")


def test_a_curriculum_needs_crops(registry: Registry) -> None:
    settings = [("recover.augment.crop_scale", "none"), ("recover.crop_schedule", "linear")]
    with pytest.raises(
        OptionError, match="crop_schedule=linear changes random resized crops, and there are none"
    ):
        plan(registry, "wmdd", settings=settings)
    assert plan(registry, "wmdd", settings=[*settings, ("recover.iterations", 0)]).iterations == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            [("recover.network", "convnet")],
            "recover.network has no effect: none of barycenter, cross-entropy, class-",
        ),
        ([("recover.network_steps", 2)], "recover.network_steps has no effect"),
        ([("recover.inner.epochs", 1)], "recover.inner.epochs has no effect"),
        ([("recover.crop_start", 0.5)], "recover.crop_start has no effect without a recover.crop_schedule"),
        ([("recover.crop_share", 0.5)], "recover.crop_share has no effect without a recover.crop_schedule"),
    ],
)
def test_settings_without_effect_are_refused(
    settings: list[tuple[str, Any]], message: str, registry: Registry
) -> None:
    with pytest.raises(OptionError, match=message):
        plan(registry, "wmdd", settings=settings)
    assert plan(registry, "wmdd", settings=[*settings, ("recover.iterations", 0)]).iterations == 0
