"""WMDD's ablation: four rows that differ in the parts their labels name, on every dataset with a preset."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from condense_wmdd.method import PRESETS, WMDD

from condense.engine.plan import make_plan
from condense.recipe.config import RunConfig
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.recipe.variant import Variant

REGISTRY = load_registry()
VARIANTS = {variant.label: variant for variant in WMDD.variants}
# Whether the barycenter is in it, and whether BatchNorm statistics are those of each class.
PARTS = {
    "barycenter, per-class BN": (True, True),
    "barycenter, global BN": (True, False),
    "cross-entropy, per-class BN": (False, True),
    "cross-entropy, global BN": (False, False),
}


# Rows of the published code: the names of the losses, whether atoms and images have equal weights, and how chunks are
# cut. run.sh has --weight-wb false; the rows without statistics of each class come from another script.
PUBLISHED = {
    "as published": (["barycenter", "cross-entropy", "class-batchnorm"], "classes"),
    "published script, barycenter": (["barycenter", "batchnorm"], "one-slot"),
    "published script, cross-entropy": (["cross-entropy", "batchnorm"], "one-slot"),
}


def resolved(variant: Variant, preset: str) -> RunConfig:
    """`variant` under a preset, also of a dataset that does not come with condense."""
    settings: list[tuple[str, Any]] = [("preset", preset), *variant.settings.items()]
    return configure(
        REGISTRY, method="wmdd", dataset="imagenette", settings=settings, without=variant.without
    )


def without_losses(config: RunConfig) -> RunConfig:
    return replace(config, recipe=replace(config.recipe, targets={}, regularizers={}))


def test_the_variants_are_the_papers_two_by_two_and_the_published_code() -> None:
    assert list(VARIANTS) == [*PARTS, *PUBLISHED]


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("label", PUBLISHED)
def test_rows_of_the_published_code_resolve_to_its_losses(label: str, preset: str) -> None:
    recipe = resolved(VARIANTS[label], preset).recipe
    names, chunk = PUBLISHED[label]
    assert list(recipe.losses) == names
    assert recipe.recover.chunk == chunk
    if "barycenter" in names:
        assert recipe.targets["barycenter"].options["solver"] == "balanced"
    if "class-batchnorm" in names:
        assert recipe.regularizers["class-batchnorm"].options["weighted"] is False
    else:
        batchnorm = recipe.regularizers["batchnorm"]
        assert (batchnorm.weight, batchnorm.options["first_weight"]) == (0.01, 10)


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("label", PARTS)
def test_every_variant_resolves_to_the_parts_it_names(label: str, preset: str) -> None:
    config = resolved(VARIANTS[label], preset)
    barycenter, per_class = PARTS[label]
    names = ["barycenter", "cross-entropy"] if barycenter else ["cross-entropy"]
    assert list(config.recipe.targets) == names
    [(name, regularizer)] = config.recipe.regularizers.items()
    assert (name, regularizer.options["per_class"]) == ("class-batchnorm", per_class)
    assert [loss.name for loss in make_plan(config, REGISTRY).losses] == [*names, "class-batchnorm"]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_variants_differ_in_nothing_else(preset: str) -> None:
    configs = [resolved(VARIANTS[label], preset) for label in PARTS]
    for one, other in itertools.pairwise(configs):
        assert without_losses(one) == without_losses(other)
    assert len({config.recipe.regularizers["class-batchnorm"].weight for config in configs}) == 1
    targets = {name: use for config in configs for name, use in config.recipe.targets.items()}
    assert all(use == targets[name] for config in configs for name, use in config.recipe.targets.items())


def test_the_first_variant_is_the_method_itself() -> None:
    first = WMDD.variants[0]
    assert (dict(first.settings), first.without) == ({}, ())
