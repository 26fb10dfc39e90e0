"""Build the components of a run from their specs."""

from __future__ import annotations

from typing import Any, TypeVar

from condense.engine.components import FeatureTarget, Loss, Regularizer, WeightedLoss
from condense.engine.plan import Plan
from condense.errors import PluginError
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of

T = TypeVar("T")


def build_losses(plan: Plan) -> tuple[WeightedLoss, ...]:
    """Return the losses of a plan, built and not yet fitted.

    Raises PluginError if a plugin builds anything but a Loss, or if a loss and its needs disagree on whether
    it observes real images.
    """
    found = []
    for planned in plan.losses:
        kind = f"{planned.kind} {planned.name!r}"
        expected = FeatureTarget if planned.kind == "feature target" else Regularizer
        loss = _checked(planned.spec.builder()(planned.options), kind, expected)
        if (type(loss).observe is not Loss.observe) != planned.needs.observes:
            needs = f"{type(planned.needs.through).__name__}(observes={planned.needs.observes})"
            advice = "make the two agree"
            if planned.needs.network != "teacher":
                needs = f"{type(planned.needs.through).__name__}()"
                advice = "only ThroughTeacher(observes=True) is shown the real images"
            raise PluginError(
                f"{kind} {'does not implement' if planned.needs.observes else 'implements'} observe, and its spec says "
                f"{needs}; {advice}"
            )
        found.append(WeightedLoss(name=planned.name, loss=loss, weight=planned.weight, needs=planned.needs))
    return tuple(found)


def build_component(use: Use, kind: str, expected: type[T], registry: Registry) -> T:
    """Return an initializer or evaluator, built from a recipe.

    Raises PluginError if the plugin builds anything but `expected`.
    """
    spec = registry.find(kind, use.name)
    return _checked(spec.builder()(options_of(use, kind, registry)), f"{kind} {use.name!r}", expected)


def _checked(made: Any, what: str, expected: type[T]) -> T:
    if not isinstance(made, expected):
        raise PluginError(f"{what} was built as {made!r}, which is not an instance of {expected.__name__}")
    return made
