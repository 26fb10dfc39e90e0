"""What a plugin declares: whether its options survive being written, and whether its methods make runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import msgspec

from condense.engine.plan import make_plan
from condense.errors import CondenseError
from condense.recipe.doubts import forms_of
from condense.recipe.fields import fit, hints_of, shown
from condense.recipe.registry import Registry
from condense.recipe.resolve import config_from_dict, configure
from condense.recipe.specs import Spec
from condense.testing.subjects import COLOUR
from condense.text import setting_text


def lost_option(specs: Iterable[Spec]) -> str:
    """Return which option of some specs does not come back from text or JSON as it was, a sentence, or ""."""
    for spec in specs:
        for field in dataclasses.fields(spec.options):
            said = _lost(spec, field.name)
            if said:
                return f"{field.name} of {spec.name!r} {said}"
    return ""


def _lost(spec: Spec, name: str) -> str:
    """Return what becomes of the default of an option that is written and read, or ""."""
    options: Any = spec.options
    usual = options()
    value = getattr(usual, name)
    text = setting_text(value)
    text = "" if text == '""' else text
    try:
        read = getattr(options(**{name: fit(text, hints_of(options)[name], read=True)}), name)
        again = getattr(options(**msgspec.to_builtins(usual)), name)
    except ValueError as error:
        return f"is {shown(value)}, and its constructor refuses that value when it is given: {error}"
    if read != value:
        return f"is {shown(value)}, and {shown(read)} after --set {name}={text}; keep in a field what was given for it"
    if again != value:
        return f"is {shown(value)}, and {shown(again)} when run.json is read; keep in a field what was given for it"
    return ""


def changed_by_saving(method: str, registry: Registry) -> bool:
    """Return whether the settings of a method are other ones when they come back from run.json.

    False if they make no run.
    """
    try:
        config = configure(registry, method=method, dataset=COLOUR, alone=False)
        return config_from_dict(config.to_dict(), registry) != config
    except CondenseError:
        return False


def refused_form(method: str, registry: Registry) -> str:
    """Return which form of a method makes no run, and why, a sentence, or ""."""
    datasets = [offer.spec.name for offer in registry.offers("dataset") if not offer.spec.takes]
    for what, options in forms_of(registry.method(method), datasets, registry):
        try:
            make_plan(configure(registry, alone=False, **options), registry)
        except CondenseError as error:
            return f"{what}: {error}" if what else str(error)
    return ""


def count_of_forms(method: str, registry: Registry) -> int:
    """Return in how many forms a method comes."""
    datasets = [offer.spec.name for offer in registry.offers("dataset") if not offer.spec.takes]
    return sum(1 for _ in forms_of(registry.method(method), datasets, registry))
