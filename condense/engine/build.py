"""Build the components of a run from their specs, and bring losses back to what they measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

from condense.engine.components import FeatureTarget, Loss, Regularizer, WeightedLoss
from condense.engine.plan import Plan
from condense.errors import PluginError
from condense.recipe.method import Use
from condense.recipe.needs import Needs
from condense.recipe.plugin_code import plugin_code, titled
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.rng import generator
from condense.storage.tensors import tensors_below

T = TypeVar("T")


def build_losses(plan: Plan) -> tuple[WeightedLoss, ...]:
    """Return the losses of a plan, built and not yet fitted.

    Raises PluginError if a plugin builds anything but a Loss, or if a loss and its needs disagree on whether
    it observes real images, or merges what it observed.
    """
    found = []
    for planned in plan.losses:
        kind = f"{planned.kind} {planned.name!r}"
        expected = FeatureTarget if planned.kind == "feature target" else Regularizer
        builder = planned.spec.builder()
        with plugin_code(
            planned.title, "build", generator(plan.recipe.seed, "plugin", planned.name, "build")
        ):
            made = builder(planned.options)
        loss = _checked(made, kind, expected)
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
        _check_merging(type(loss), planned.needs, kind)
        found.append(
            WeightedLoss(
                name=planned.name,
                loss=loss,
                weight=planned.weight,
                needs=planned.needs,
                kind=planned.kind,
                plugin=planned.plugin,
            )
        )
    return tuple(found)


def _check_merging(loss: type[Loss], needs: Needs, kind: str) -> None:
    """Raise PluginError unless a loss merges what it observed if, and only if, its needs say so."""
    for hook in ("observed", "merge"):
        if (getattr(loss, hook) is not getattr(Loss, hook)) != needs.merges:
            does = "does not implement" if needs.merges else "implements"
            raise PluginError(
                f"{kind} {does} {hook}, and its spec says ThroughTeacher(merges={needs.merges}); make the two agree"
            )


def state_of(losses: Sequence[WeightedLoss]) -> dict[str, Tensor]:
    """Return the tensors that fitted losses keep, as "name of the loss/key".

    Raises PluginError for a state that is not a dict of tensors.
    """
    kept = {}
    for weighted in losses:
        with plugin_code(weighted.title, "state", generator(0, "plugin", weighted.name, "state")):
            state: Any = weighted.loss.state()
        if not isinstance(state, Mapping):
            raise PluginError(
                f"the state of {weighted.title} must be a dict of tensors, and is {state!r:.200}"
            )
        for key, tensor in state.items():
            if not isinstance(tensor, Tensor):
                raise PluginError(
                    f"the state of {weighted.title} has {key!r}, which must be a tensor and is {tensor!r:.200}"
                )
            kept[f"{weighted.name}/{key}"] = tensor
    return kept


def restored_losses(plan: Plan, state: Mapping[str, Tensor]) -> tuple[WeightedLoss, ...]:
    """Return the losses of a plan, newly built, with what they measured. state: as `state_of` gives it.

    Recover starts every chunk from them, in a first run as in a resumed one, so that nothing which is not in the state
    can have an effect. Raises PluginError if a loss cannot be restored.
    """
    losses = build_losses(plan)
    for weighted in losses:
        if weighted.needs.observes:
            # Copies, because a loss may change in place what it restored.
            own = {key: tensor.clone() for key, tensor in tensors_below(state, weighted.name).items()}
            draws = generator(plan.recipe.seed, "plugin", weighted.name, "restore")
            with plugin_code(weighted.title, "restore", draws):
                weighted.loss.restore(own)
    return losses


def build_component(use: Use, kind: str, expected: type[T], registry: Registry) -> T:
    """Return an initializer or evaluator, built from a recipe.

    Raises PluginError if the plugin builds anything but `expected`.
    """
    spec = registry.find(kind, use.name)
    builder, options = spec.builder(), options_of(use, kind, registry)
    with plugin_code(
        titled(kind, use.name, registry.plugin_of(kind, use.name)), "build", generator(0, "plugin", use.name)
    ):
        made = builder(options)
    return _checked(made, f"{kind} {use.name!r}", expected)


def _checked(made: Any, what: str, expected: type[T]) -> T:
    if not isinstance(made, expected):
        raise PluginError(f"{what} was built as {made!r}, which is not an instance of {expected.__name__}")
    return made
