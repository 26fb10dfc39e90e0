"""What a configuration makes necessary: which stages run, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import pytest

from condense.components import FeatureTarget, Initializer
from condense.config import configure
from condense.data.dataset import RealDataset
from condense.errors import PluginError
from condense.method import Method, Recover, Use
from condense.plan import Plan, make_plan
from condense.plugins import Registry
from condense.specs import EvaluatorSpec, FeatureTargetSpec, InitializerSpec


class Fresh(FeatureTarget):
    network: ClassVar[Literal["teacher", "random"]] = "random"
    measures = False


class FreshObserver(FeatureTarget):
    network: ClassVar[Literal["teacher", "random"]] = "random"


class Asking(Initializer):
    needs_teacher = True


def spec(kind: Any, name: str, build: Any) -> Any:
    return kind(name=name, summary="x", build=lambda options: build)


TARGETS = [
    spec(FeatureTargetSpec, "fresh", Fresh()),
    spec(FeatureTargetSpec, "fresh-observer", FreshObserver()),
    spec(FeatureTargetSpec, "odd", "a string"),
]
METHODS = [
    Method(name=name, summary="x", targets=(Use(name=name),), recover=Recover(iterations=3), protocol="dc")
    for name in ("fresh", "fresh-observer", "odd")
]


@pytest.fixture
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(
        make_dataset(),
        feature_targets=TARGETS,
        initializers=[spec(InitializerSpec, "asking", Asking())],
        evaluators=[spec(EvaluatorSpec, "odd-evaluator", object())],
        methods=METHODS,
    )


def plan(registry: Registry, method: str, **changes: Any) -> Plan:
    changes = {"students": 1, "settings": [], **changes}
    return make_plan(configure(registry, method=method, dataset="tiny", **changes), registry)


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
    assert said["recover"].startswith("keep") is not bool(found.terms)
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
