"""The columns of a comparison: protocols with training lengths, and what the scores need beside. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from condense.comparison.outcome import Column, Role
from condense.errors import OptionError
from condense.recipe.config import RunConfig
from condense.recipe.method import Recover, Student, Teacher, Use
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.settings import Pair, assign, complete, options_of
from condense.recipe.training import Augment


@dataclass(frozen=True, kw_only=True)
class Course:
    """A column, and the configuration by which its students are trained: protocol, student, evaluator, teacher."""

    column: Column
    config: RunConfig


def shared_config(
    registry: Registry, dataset: str, protocol: str, settings: Sequence[Pair], seed: int
) -> RunConfig:
    """What all rows have in common, from one place: what the dataset says for every method, then `settings`.

    seed: of the teacher and of a split that has to be made, for every row and seed, unless teacher.seed is set.
    What it has of a recipe means nothing.
    """
    spec, _ = registry.dataset(dataset)
    config = RunConfig(
        method="",
        dataset=Use(name=dataset),
        initializer=Use(name="noise"),
        targets=(),
        regularizers=(),
        recover=Recover(iterations=0),
        teacher=Teacher(),
        student=Student(),
        protocol=registry.protocol(protocol),
        evaluator=Use(name="students"),
        seed=seed,
    )
    for key, value in (*spec.settings.items(), *settings):
        config = assign(config, key, value, registry)
    if config.teacher.seed is None:
        config = assign(config, "teacher.seed", seed, registry)
    return complete(config, registry)


def make_courses(
    registry: Registry,
    *,
    dataset: str,
    protocols: Sequence[str],
    epochs: Sequence[int],
    settings: Sequence[Pair],
    seed: int,
    scores: bool,
) -> tuple[Course, ...]:
    """Every protocol with every number of epochs, each followed by what DD-Ranking's scores need.

    epochs: none for the protocol's own. settings: those that all rows share.
    Raises UnknownNameError for a protocol that is not there, OptionError for what stands twice or is too small.
    """
    if epochs and any(key == "protocol.epochs" for key, _ in settings):
        raise OptionError("--epochs and --set protocol.epochs say the same thing; give one of them")
    _refuse_repeated("protocol", protocols)
    _refuse_repeated("number of epochs", epochs)
    for count in epochs:
        if count < 1:
            raise OptionError(f"epochs must be at least 1, not {count}")
    courses: list[Course] = []
    for name in protocols:
        config = shared_config(registry, dataset, name, settings, seed)
        for count in epochs or (config.protocol.epochs,):
            courses += _of_length(replace(config.protocol, epochs=count), config, scores, registry)
    return tuple(courses)


def _of_length(protocol: Protocol, config: RunConfig, scores: bool, registry: Registry) -> list[Course]:
    wanted: list[tuple[Role, Protocol]] = [("score", protocol)]
    if scores and protocol.labels != "hard":
        wanted.append(("hard", replace(protocol, labels="hard")))
    if scores:
        wanted.append(("plain", replace(protocol, augment=Augment())))
    courses = []
    for role, changed in wanted:
        trained = replace(config, protocol=changed)
        key = f"{protocol.name}@{protocol.epochs}"
        column = Column(
            key=key if role == "score" else f"{key}/{role}",
            protocol=protocol.name,
            epochs=protocol.epochs,
            labels=changed.labels,
            student=network_text(trained.student_model, registry),
            role=role,
        )
        courses.append(Course(column=column, config=trained))
    return courses


def network_text(use: Use, registry: Registry) -> str:
    """A network's name, with the options that are not as usual: "convnet norm=instance"."""
    own, usual = options_of(use, "model", registry), options_of(Use(name=use.name), "model", registry)
    changed = [
        f"{name}={getattr(own, name)}" for name in use.options if getattr(own, name) != getattr(usual, name)
    ]
    return " ".join([use.name, *changed])


def _refuse_repeated(what: str, values: Sequence[object]) -> None:
    for value in values:
        if list(values).count(value) > 1:
            raise OptionError(f"{what} {value} stands twice")
