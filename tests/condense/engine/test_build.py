"""Building what a plan names: losses with what goes with them, and what a plugin must not build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from condense.data.dataset import RealDataset
from condense.engine.build import build_component, build_losses
from condense.engine.components import (
    Evaluator,
    FeatureTarget,
    Initializer,
    Loss,
    Regularizer,
    WeightedLoss,
)
from condense.engine.evaluate import StudentEvaluator
from condense.engine.plan import make_plan
from condense.engine.standard import CrossEntropy, Noise
from condense.errors import OptionError, PluginError
from condense.models.observation import Observation
from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.needs import (
    ImagesAlone,
    Needs,
    ThroughRandomNetwork,
    ThroughTeacher,
    ThroughWeightGradients,
)
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import EvaluatorSpec, FeatureTargetSpec, InitializerSpec, RegularizerSpec

MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]
OBSERVING = Needs(through=ThroughTeacher(observes=True))
BLIND = [
    Needs(),
    Needs(through=ThroughTeacher(statistics=("batchnorm",), each_member=True)),
    Needs(through=ThroughRandomNetwork()),
    Needs(through=ThroughWeightGradients()),
    Needs(through=ImagesAlone()),
]


@dataclass(frozen=True, kw_only=True)
class Strength:
    """real: real images of each class."""

    real: int = 2


class Plain(FeatureTarget):
    """Observes nothing; keeps the options it was built from."""

    def __init__(self, options: Any) -> None:
        self.options = options


class Watching(Plain):
    def observe(self, real: Observation) -> None:
        """Real images, which the teacher shows."""


class WatchingToo(Watching):
    """Observes as the class above it does."""


class Holding(Regularizer):
    def __init__(self, options: Any) -> None:
        self.options = options


class WatchingHolder(Holding):
    def observe(self, real: Observation) -> None:
        """Real images, which the teacher shows."""


def needing(options: Strength) -> Needs:
    return Needs(real_per_class=options.real)


class Shop:
    """Builds the losses of a method that has one target, and the regularizers and settings that are asked for."""

    def __init__(self, make_dataset: MakeDataset, make_registry: MakeRegistry) -> None:
        self.dataset, self.make_registry = make_dataset(), make_registry

    def registry(self, build: Any, needs: Any = None, beside: Any = Holding) -> Registry:
        method = Method(
            name="method",
            summary="x",
            targets={"target": Weighted(2.5)},
            recover=Recover(iterations=3),
            protocol="dc",
        )
        target = FeatureTargetSpec(
            name="target", summary="x", build=build, needs=needs or Needs(), options=Strength
        )
        return self.make_registry(
            self.dataset,
            feature_targets=[target],
            regularizers=[RegularizerSpec(name="beside", summary="x", build=beside)],
            methods=[method],
        )

    def losses(
        self, build: Any, needs: Any = None, *, beside: Any = Holding, settings: Any = ()
    ) -> tuple[WeightedLoss, ...]:
        registry = self.registry(build, needs, beside)
        config = configure(registry, method="method", dataset="tiny", settings=settings)
        return build_losses(make_plan(config, registry))


@pytest.fixture
def shop(make_dataset: MakeDataset, make_registry: MakeRegistry) -> Shop:
    return Shop(make_dataset, make_registry)


# Losses.


def test_a_loss_is_built_from_its_options_and_goes_with_its_weight_and_needs(shop: Shop) -> None:
    settings = [("targets.target.real", 5), ("regularizers.beside", -0.5)]
    first, second = shop.losses(Plain, needing, settings=settings)
    assert (first.name, first.weight, first.needs) == ("target", 2.5, Needs(real_per_class=5))
    assert isinstance(first.loss, Plain)
    assert first.loss.options == Strength(real=5)
    assert (second.name, second.weight, second.needs) == ("beside", -0.5, Needs())
    assert isinstance(second.loss, Holding)


def test_losses_come_in_the_order_of_the_plan(make_registry: MakeRegistry, make_dataset: MakeDataset) -> None:
    registry = make_registry(make_dataset())
    config = configure(registry, method="wmdd", dataset="tiny")
    plan = make_plan(config, registry)
    found = build_losses(plan)
    assert [loss.name for loss in found] == ["barycenter", "cross-entropy", "class-batchnorm"]
    assert [isinstance(loss.loss, FeatureTarget) for loss in found] == [True, True, False]
    assert isinstance(found[1].loss, CrossEntropy)
    assert [loss.needs for loss in found] == [loss.needs for loss in plan.losses]


def test_every_plan_has_losses_of_its_own(shop: Shop) -> None:
    registry = shop.registry(Plain)
    plan = make_plan(configure(registry, method="method", dataset="tiny"), registry)
    assert build_losses(plan)[0].loss is not build_losses(plan)[0].loss


def test_losses_that_are_not_used_are_not_built(shop: Shop) -> None:
    def never(options: Any) -> Any:
        raise AssertionError("nothing is recovered, and nobody reads the targets")

    assert shop.losses(never, beside=never, settings=[("iterations", 0)]) == ()


@pytest.mark.parametrize("made", ["a string", None, Plain, Noise, torch.nn.Linear(2, 2)])
def test_a_loss_must_be_one(made: Any, shop: Shop) -> None:
    with pytest.raises(PluginError) as caught:
        shop.losses(lambda options: made)
    assert (
        str(caught.value)
        == f"feature target 'target' was built as {made!r}, which is not an instance of FeatureTarget"
    )
    with pytest.raises(
        PluginError, match=r"regularizer 'beside' was built as .* which is not an instance of Regularizer"
    ):
        shop.losses(Plain, beside=lambda options: made, settings=[("regularizers.beside", 1)])


@pytest.mark.parametrize("build", [Watching, WatchingToo])
def test_a_loss_that_observes_must_say_so(build: type[Loss], shop: Shop) -> None:
    with pytest.raises(PluginError) as caught:
        shop.losses(build)
    assert str(caught.value) == (
        "feature target 'target' implements observe, and its spec says ThroughTeacher(observes=False); make the two "
        "agree"
    )
    for needs in BLIND:
        with pytest.raises(
            PluginError, match="feature target 'target' implements observe, and its spec says"
        ):
            shop.losses(build, needs)
    [loss] = shop.losses(build, OBSERVING)
    assert isinstance(loss.loss, build)


def test_a_loss_that_says_that_it_observes_must_do_so(shop: Shop) -> None:
    with pytest.raises(PluginError) as caught:
        shop.losses(Plain, OBSERVING)
    assert str(caught.value) == (
        "feature target 'target' does not implement observe, and its spec says ThroughTeacher(observes=True); make "
        "the two agree"
    )
    for needs in BLIND:
        assert len(shop.losses(Plain, needs)) == 1


def test_a_loss_that_merges_must_say_so_and_do_so(shop: Shop) -> None:
    class Merging(Watching):
        def observed(self) -> dict[str, torch.Tensor]:
            return {}

        def merge(self, observed: object) -> None:
            pass

    merges = Needs(through=ThroughTeacher(observes=True, merges=True))
    assert len(shop.losses(Merging, merges)) == 1
    with pytest.raises(
        PluginError,
        match=r"implements observed, and its spec says ThroughTeacher\(merges=False\); make the two agree",
    ):
        shop.losses(Merging, OBSERVING)
    with pytest.raises(
        PluginError, match=r"does not implement observed, and its spec says ThroughTeacher\(merges=True\)"
    ):
        shop.losses(Watching, merges)


def test_regularizers_are_held_to_it_as_well(shop: Shop) -> None:
    settings = [("regularizers.beside", 1)]
    with pytest.raises(PluginError, match="regularizer 'beside' implements observe, and its spec says"):
        shop.losses(Plain, beside=WatchingHolder, settings=settings)
    with pytest.raises(PluginError, match="feature target 'target' implements observe"):
        shop.losses(Watching, settings=settings)


def test_what_is_needed_may_depend_on_the_options(shop: Shop) -> None:
    """One spec then stands for a loss that observes and for one that does not."""

    def build(options: Strength) -> FeatureTarget:
        return Watching(options) if options.real else Plain(options)

    def needs(options: Strength) -> Needs:
        return Needs(through=ThroughTeacher(observes=options.real > 0))

    for real, kind in ((1, Watching), (0, Plain)):
        [loss] = shop.losses(build, needs, settings=[("targets.target.real", real)])
        assert type(loss.loss) is kind
        assert loss.needs.observes is bool(real)


# Initializers and evaluators.


def test_an_initializer_and_an_evaluator(make_registry: MakeRegistry, make_dataset: MakeDataset) -> None:
    registry = make_registry(make_dataset())
    noise = build_component(Use(name="noise", options={"std": 0.5}), "initializer", Initializer, registry)
    assert isinstance(noise, Noise)
    assert noise.options.std == 0.5
    students = build_component(Use(name="students"), "evaluator", Evaluator, registry)
    assert isinstance(students, StudentEvaluator)
    with pytest.raises(OptionError, match="std must be above 0"):
        build_component(Use(name="noise", options={"std": 0.0}), "initializer", Initializer, registry)


@pytest.mark.parametrize(
    ("kind", "expected", "spec"),
    [("initializer", Initializer, InitializerSpec), ("evaluator", Evaluator, EvaluatorSpec)],
)
def test_what_a_plugin_builds_must_be_what_it_said(
    kind: str, expected: Any, spec: Any, make_registry: MakeRegistry, make_dataset: MakeDataset
) -> None:
    odd = spec(name="odd", summary="x", build=lambda options: "a string")
    registry = make_registry(make_dataset(), **{f"{kind}s": [odd]})
    with pytest.raises(PluginError) as caught:
        build_component(Use(name="odd"), kind, expected, registry)
    assert (
        str(caught.value)
        == f"{kind} 'odd' was built as 'a string', which is not an instance of {expected.__name__}"
    )
