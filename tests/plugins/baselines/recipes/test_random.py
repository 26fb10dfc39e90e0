"""Random real images as a method: nothing to fit, nothing to optimise."""

from __future__ import annotations

import subprocess
import sys

from condense_baselines.recipes.coresets import RANDOM

from condense.engine.plan import make_plan
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure


def test_random_keeps_real_images_and_needs_a_teacher_for_labels_alone() -> None:
    registry = load_registry()
    assert registry.method("random") is RANDOM
    hard = make_plan(configure(registry, method="random", protocol="dc"), registry)
    assert hard.losses == ()
    assert not hard.needs_teacher
    assert not hard.measures
    assert not hard.reference
    assert make_plan(configure(registry, method="random", protocol="fkd"), registry).needs_teacher


def test_the_plugin_imports_no_torch() -> None:
    code = "import sys, condense_baselines.plugin; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
