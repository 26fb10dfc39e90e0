"""A changed form of a method, for ablations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from condense.recipe.fields import checked


@checked
@dataclass(frozen=True, kw_only=True)
class Variant:
    """A changed form of a method, for ablations.

    label: its name, for people.
    settings: the changes by dotted key, as in presets.
    without: the components that it leaves out.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
