"""What of a plugin is tried: its methods, and each component that none of them uses, in a small recipe of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from condense.recipe.method import IMPORTED, Method, Recover, Use, Weighted
from condense.recipe.plugin_code import titled
from condense.recipe.registry import HOST, KINDS, Offer, Registry
from condense.recipe.resolve import configure
from condense.recipe.sources import parts_of
from condense.recipe.specs import DatasetSpec

# The datasets of made-up images, by the number of channels, and one that stands for photographs.
GREY, COLOUR, LARGE = "made-up-grey", "made-up-colour", "made-up-photographs"
SIDE = 16
_SETTINGS = {
    "teacher.model": "convnet",
    "teacher.model.width": 8,
    "teacher.model.depth": 2,
    "teacher.epochs": 1,
    "teacher.lr": 0.05,
    "teacher.batch_size": 24,
}
_BUILD = "condense.testing.loaders:load"
DATASETS = tuple(
    DatasetSpec(name=name, summary="noise", like=like, settings=_SETTINGS, build=_BUILD)
    for name, like in ((GREY, "small-grey"), (COLOUR, "small-colour"), (LARGE, "photographs"))
)
_SHORT = Recover(iterations=2, lr=0.05)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Something that is tried in runs.

    title: for people. method: the recipe that it is tried in.
    students: how many judge the outcome.
    epochs: how many each of them learns, at most.
    alone: whether the recipe was made for a component that no method of its plugin uses.
    """

    title: str
    method: str
    students: int = 0
    epochs: int = 1
    alone: bool = False


def with_offers(registry: Registry, methods: Sequence[Method] = ()) -> Registry:
    """Return a registry that knows the made-up images as well, and further methods."""
    offers = {kind: {offer.spec.name: offer for offer in registry.offers(kind)} for kind, _ in KINDS.values()}
    offers["dataset"] |= {spec.name: Offer(HOST, spec) for spec in DATASETS}
    offers["method"] |= {method.name: Offer(HOST, method) for method in methods}
    return Registry(offers, registry.plugins, registry.contested, registry.chosen)


def subjects_of(plugin: str, registry: Registry) -> tuple[list[Subject], list[Method]]:
    """Return what of a plugin is tried, and the recipes that were made for it."""
    methods = [offer.spec for offer in registry.offers("method") if offer.plugin == plugin]
    tried = [subject_of(method.name) for method in methods if method.name != IMPORTED]
    used = {part for subject in tried for part in _used(subject.method, registry)}
    subjects, made = tried, []
    for kind in _RECIPES:
        for offer in registry.offers(kind):
            name = offer.spec.name
            if offer.plugin != plugin or (kind, name) in used or not _can_be_tried(kind, offer):
                continue
            method = recipe_of(kind, name)
            made.append(method)
            title = titled(kind, name, "")
            judged = kind == "evaluator"
            subjects.append(Subject(title=title, method=method.name, students=int(judged), alone=True))
    return subjects, made


def subject_of(method: str) -> Subject:
    """Return a method as what is tried."""
    return Subject(title=titled("method", method, ""), method=method)


def _used(method: str, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield what takes part when a method is tried: no students, and so neither their evaluator nor their network."""
    yield from parts_of(configure(registry, method=method, dataset=COLOUR, alone=False).recipe)


def _can_be_tried(kind: str, offer: Offer) -> bool:
    """Return whether a component works without an argument: "timm:NAME" is one of many, imported images are a file."""
    return not getattr(offer.spec, "takes", "") and (kind, offer.spec.name) != ("initializer", IMPORTED)


_RECIPES = ("feature target", "regularizer", "initializer", "parametrization", "model", "evaluator")
_TARGET = {"cross-entropy": Weighted()}


def recipe_of(kind: str, name: str) -> Method:
    """Return the recipe that a component alone is tried in. Of other kinds than those it is a usual one."""
    return Method(
        name=f"{kind.replace(' ', '-')}-{name}",
        summary=f"the {kind} {name} alone",
        initializer=Use(name=name if kind == "initializer" else "real"),
        parametrization=Use(name=name if kind == "parametrization" else "identity"),
        targets={name: Weighted()} if kind == "feature target" else _TARGET,
        regularizers={name: Weighted()} if kind == "regularizer" else {},
        evaluator=Use(name=name if kind == "evaluator" else "students"),
        recover=_SHORT,
        presets={one.name: {"teacher.model": name} for one in DATASETS} if kind == "model" else {},
        protocol=name if kind == "protocol" else "dc",
    )
