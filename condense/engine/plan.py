"""What a configuration will do: which components it builds and which stages it can skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from condense.engine.components import Component, Evaluator, FeatureTarget, Initializer, Term
from condense.errors import OptionError, PluginError
from condense.recipe.config import RunConfig
from condense.recipe.method import Recover, Use
from condense.recipe.registry import Registry
from condense.recipe.settings import find_spec, options_of

T = TypeVar("T")

REFERENCE_LABEL = "random real images"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The built, not yet fitted components of a run, and what they make necessary.

    terms: targets, then regularizers. Where nothing is recovered there are no regularizers, and targets only for an
    initializer that uses them.
    """

    initializer: Initializer
    terms: tuple[Term, ...]
    evaluator: Evaluator
    config: RunConfig

    @property
    def targets(self) -> tuple[FeatureTarget, ...]:
        """The feature targets among the terms."""
        return tuple(term.component for term in self.terms if isinstance(term.component, FeatureTarget))

    @property
    def iterations(self) -> int:
        """Steps of recover for each chunk; 0 keeps the initial images."""
        return self.config.recover.iterations

    @property
    def measures(self) -> bool:
        """Whether a component wants to see the real images."""
        return any(term.component.measures for term in self.terms)

    @property
    def needs_teacher(self) -> bool:
        """Whether a component looks through the teacher, or labels come from it."""
        looks = any(term.component.network == "teacher" for term in self.terms)
        mode = self.config.protocol.labels
        labels = mode == "soft" or (mode == "online" and self.config.students > 0)
        return looks or labels or self.initializer.needs_teacher

    @property
    def reference(self) -> bool:
        """Whether random real images are evaluated beside: not where the method is just that."""
        config = self.config
        is_random = config.initializer.name == "real" and not self.iterations
        return config.reference and config.students > 0 and not is_random

    @property
    def notes(self) -> tuple[str, ...]:
        """What the components do to each other, for people."""
        alone = [term.name for term in self.terms if term.component.by_class]
        others = [term.name for term in self.terms if not term.component.by_class]
        if not alone or not others:
            return ()
        return (
            f"{alone[0]} has every step done one class at a time, so that {', '.join(others)} "
            f"see{'s' * (len(others) == 1)} one class at a time as well",
        )

    def stages(self) -> list[tuple[str, str]]:
        """Each stage with what it will do, or why it is skipped; for people."""
        config, recover = self.config, self.config.recover
        teacher = config.teacher
        if not self.needs_teacher:
            squeeze = "skipped: no component and no label needs a teacher"
        elif teacher.checkpoint:
            squeeze = f"load {teacher.model.name} from {teacher.checkpoint}"
        elif teacher.epochs == 0:
            squeeze = f"take {teacher.model.name} as it is built, without training"
        else:
            squeeze = f"train {teacher.model.name} for {teacher.epochs} epochs"
        measuring = [term.name for term in self.terms if term.component.measures]
        students = config.students
        return [
            ("squeeze", squeeze),
            (
                "measure",
                f"one pass for {', '.join(measuring)}" if measuring else "skipped: nothing to measure",
            ),
            (
                "recover",
                f"{recover.iterations} iterations a chunk, {config.ipc} images per class"
                if self.iterations
                else f"keep the initial images ({config.initializer.name})",
            ),
            (
                "relabel",
                "the teacher's logits of every image"
                if config.protocol.labels == "soft"
                else f"nothing to do: labels are {config.protocol.labels}",
            ),
            (
                "evaluate",
                f"{students} student{'s' * (students > 1)} x {config.protocol.epochs} epochs by {config.protocol.name}"
                + (f", and as many on {REFERENCE_LABEL}" if self.reference else "")
                if students
                else "skipped: no students",
            ),
        ]


def make_plan(config: RunConfig, registry: Registry) -> Plan:
    """Build the components of a configuration. Raises PluginError where a plugin gives something else."""
    initializer = _build(config.initializer, "initializer", Initializer, registry)
    recovers = config.recover.iterations > 0
    terms: list[Term] = []
    if recovers or initializer.uses_targets:
        terms += [_term(use, "feature target", registry) for use in config.targets]
    if recovers:
        terms += [_term(use, "regularizer", registry) for use in config.regularizers]
        _check_chunks(terms, config)
        _check_crops(config)
        _check_random(terms, config)
    return Plan(
        initializer=initializer,
        terms=tuple(terms),
        evaluator=_build(config.evaluator, "evaluator", Evaluator, registry),
        config=config,
    )


def _term(use: Use, kind: str, registry: Registry) -> Term:
    component = _build(use, kind, Component, registry)
    if component.measures and component.network == "random":
        raise PluginError(
            f"{kind} {use.name!r} wants to observe the real images through a random network; there is "
            "a fresh one at every step, so set measures = False and ask for real_batch instead"
        )
    taps = [name for name in ("uses_moments", "uses_convolutions") if getattr(component, name)]
    if component.weight_gradients and (component.network == "teacher" or taps):
        raise PluginError(
            f"{kind} {use.name!r} takes gradients to the weights, which is for random networks and without moments: "
            f"set network = 'random' and {' = '.join(taps or ['uses_moments'])} = False"
        )
    return Term(name=use.name, component=component, weight=use.weight)


def _check_crops(config: RunConfig) -> None:
    recover, usual = config.recover, Recover()
    for name in ("crop_start", "crop_share"):
        if recover.crop_schedule == "none" and getattr(recover, name) != getattr(usual, name):
            raise OptionError(f"recover.{name} has no effect without a recover.crop_schedule")
    if recover.crop_schedule != "none" and recover.augment.crop_scale is None:
        raise OptionError(
            f"recover.crop_schedule={recover.crop_schedule} changes random resized crops, and there are none; set "
            "recover.augment.crop_scale as well"
        )


def _check_random(terms: Sequence[Term], config: RunConfig) -> None:
    """Settings of random networks do nothing where no component looks through one."""
    recover, usual = config.recover, Recover()
    idle = [name for name in ("network", "network_steps") if getattr(recover, name) != getattr(usual, name)]
    idle += ["inner.epochs"] if recover.inner.epochs else []
    if idle and not any(term.component.network == "random" for term in terms):
        raise OptionError(
            f"recover.{idle[0]} has no effect: none of {', '.join(term.name for term in terms)} looks through a random "
            "network"
        )


def _check_chunks(terms: Sequence[Term], config: RunConfig) -> None:
    whole = [term.name for term in terms if term.component.whole_classes or term.component.by_class]
    if config.recover.chunk == "slots" and whole:
        raise OptionError(
            f"recover.chunk=slots: {whole[0]!r} needs all images of a class at once; use recover.chunk=classes, or "
            f"leave it out with --without {whole[0]}"
        )


def _build(use: Use, kind: str, expected: type[T], registry: Registry) -> T:
    made = find_spec(use.name, kind, registry).builder()(options_of(use, kind, registry))
    if not isinstance(made, expected):
        raise PluginError(f"{kind} {use.name!r} was built as {made!r}, which is no {expected.__name__}")
    return made
