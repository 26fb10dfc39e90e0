"""The rows of ablations: each resolves, and the first alone is the method itself."""

from __future__ import annotations

import pytest
from condense_baselines.recipes.feature_regression import FEATURE_REGRESSION
from condense_baselines.recipes.unrolled import UNROLLED

import condense
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure

REGISTRY = load_registry()
VARIANTS = [
    (method.name, variant) for method in (FEATURE_REGRESSION, UNROLLED) for variant in method.variants
]


@pytest.mark.parametrize(
    ("method", "variant"), VARIANTS, ids=[f"{method}-{variant.label}" for method, variant in VARIANTS]
)
def test_variants_resolve(method: str, variant: condense.Variant) -> None:
    recipe = configure(
        REGISTRY, method=method, dataset="fashion-mini", ipc=1, settings=variant.settings
    ).recipe
    whole = configure(REGISTRY, method=method, dataset="fashion-mini", ipc=1).recipe
    assert (recipe == whole) is (variant.label == "the whole method")
