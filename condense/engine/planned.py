"""The losses of a plan, and settings that contradict them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from condense.errors import OptionError
from condense.recipe.config import Recipe
from condense.recipe.method import Pool, Recover, Use
from condense.recipe.needs import POOL_KINDS, Needs
from condense.recipe.plugin_code import titled
from condense.recipe.registry import Registry
from condense.recipe.settings import flatten, options_of
from condense.recipe.specs import LossSpec


@dataclass(frozen=True, kw_only=True)
class PlannedLoss:
    """A feature target or regularizer that a run will build.

    name: its name, for logs and errors.
    kind: "feature target" or "regularizer".
    weight: its factor in the sum of losses.
    spec, options: what it is built from.
    needs: what condense has to show it.
    plugin: which one offers it; "" if not known.
    """

    name: str
    kind: str
    weight: float
    spec: LossSpec
    options: Any
    needs: Needs
    plugin: str = ""

    @property
    def title(self) -> str:
        """The loss as text for messages."""
        return titled(self.kind, self.name, self.plugin)


def planned_losses(recipe: Recipe, kind: str, registry: Registry) -> list[PlannedLoss]:
    found = []
    for name, weighted in (recipe.targets if kind == "feature target" else recipe.regularizers).items():
        spec: LossSpec = registry.find(kind, name)
        options = options_of(Use(name=name, options=weighted.options), kind, registry)
        found.append(
            PlannedLoss(
                name=name,
                kind=kind,
                weight=weighted.weight,
                spec=spec,
                options=options,
                needs=spec.needs_of(options),
                plugin=registry.plugin_of(kind, name),
            )
        )
    return found


def check_losses(losses: Sequence[PlannedLoss], recipe: Recipe) -> None:
    """Raise OptionError if settings of recovery contradict each other, or the losses."""
    _check_chunks(losses, recipe)
    _check_crops(recipe.recover)
    _check_random(losses, recipe.recover)
    _check_unrolled(losses, recipe)
    _check_pool(losses, recipe)


def _check_crops(recover: Recover) -> None:
    if recover.crop_schedule != "none" and recover.augment.crop_scale is None:
        raise OptionError(
            f"recover.crop_schedule={recover.crop_schedule} changes random resized crops, and there are none; set "
            "recover.augment.crop_scale as well"
        )


def _check_random(losses: Sequence[PlannedLoss], recover: Recover) -> None:
    """Raise OptionError if settings of random networks are given and no loss looks through one."""
    usual = Recover()
    kinds = {loss.needs.network for loss in losses}
    named = ", ".join(loss.name for loss in losses)
    idle = ["network_steps"] if recover.network_steps != usual.network_steps else []
    idle += ["inner.epochs"] if recover.inner.epochs else []
    if idle and not kinds & {"random", *POOL_KINDS}:
        raise OptionError(
            f"recover.{idle[0]} has no effect: none of {named} looks through a random network or a pool"
        )
    for name in ("networks", "network"):
        if getattr(recover, name) != getattr(usual, name) and "random" not in kinds:
            raise OptionError(f"recover.{name} has no effect: none of {named} looks through a random network")


def _check_unrolled(losses: Sequence[PlannedLoss], recipe: Recipe) -> None:
    """Raise OptionError if a loss looks through a student that does not learn all classes of the chunk right before.

    And if a number of steps is given where no loss does.
    """
    if recipe.recover.inner_steps and not any(loss.needs.unrolled for loss in losses):
        named = ", ".join(loss.name for loss in losses)
        raise OptionError(
            f"recover.inner_steps has no effect: none of {named} unrolls the training of a student"
        )
    for loss in (loss for loss in losses if loss.needs.unrolled):
        if not recipe.recover.inner.epochs or recipe.recover.inner_on != "synthetic":
            raise OptionError(
                f"{loss.name} looks through a student that has just learned the synthetic images: "
                "recover.inner.epochs must be at least 1, and recover.inner_on synthetic"
            )
        if any(other.needs.at_once == "one class" for other in losses):
            alone = next(other.name for other in losses if other.needs.at_once == "one class")
            raise OptionError(
                f"{loss.name} looks through a student of all classes, and {alone} sees one class at a time"
            )


def _check_pool(losses: Sequence[PlannedLoss], recipe: Recipe) -> None:
    """Raise OptionError if settings of the pool are given and no loss looks through it."""
    if any(loss.needs.network in POOL_KINDS for loss in losses):
        return
    now, usual = flatten(recipe.pool, "pool"), flatten(Pool(), "pool")
    changed = [key for key, value in now.items() if key in usual and value != usual[key]]
    if changed:
        raise OptionError(
            f"{changed[0]} has no effect: none of {', '.join(loss.name for loss in losses)} looks through a pool"
        )


def _check_chunks(losses: Sequence[PlannedLoss], recipe: Recipe) -> None:
    whole = [loss.name for loss in losses if loss.needs.at_once != "batch"]
    if recipe.recover.chunk != "classes" and whole:
        raise OptionError(
            f"recover.chunk={recipe.recover.chunk}: {whole[0]!r} needs all images of a class at once; use "
            f"recover.chunk=classes, or leave it out with --without {whole[0]}"
        )
