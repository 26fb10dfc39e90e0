"""Building the components of a run from their specs."""

from __future__ import annotations

from typing import Any, TypeVar

from condense.engine.components import Loss, WeightedLoss
from condense.engine.plan import Plan
from condense.errors import PluginError
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of

T = TypeVar("T")


def build_losses(plan: Plan) -> tuple[WeightedLoss, ...]:
    """Return the losses of a plan, built and not yet fitted.

    Raises PluginError if a plugin built something else, or its loss observes real images and its needs do not say so.
    """
    found = []
    for planned in plan.losses:
        kind = f"{planned.kind} {planned.name!r}"
        loss = _checked(planned.spec.builder()(planned.options), kind, Loss)
        if (type(loss).observe is not Loss.observe) != planned.needs.observes:
            raise PluginError(
                f"{kind} {'does not implement' if planned.needs.observes else 'implements'} observe, and its spec says "
                f"ThroughTeacher(observes={planned.needs.observes}); make the two agree"
            )
        found.append(WeightedLoss(name=planned.name, loss=loss, weight=planned.weight, needs=planned.needs))
    return tuple(found)


def build_component(use: Use, kind: str, expected: type[T], registry: Registry) -> T:
    """Return an initializer or evaluator. Raises PluginError if the plugin built something else."""
    spec = registry.find(kind, use.name)
    return _checked(spec.builder()(options_of(use, kind, registry)), f"{kind} {use.name!r}", expected)


def _checked(made: Any, what: str, expected: type[T]) -> T:
    if not isinstance(made, expected):
        raise PluginError(f"{what} was built as {made!r}, which is no {expected.__name__}")
    return made
