"""Built losses for benchmarks, with the needs that their plugins declare."""

from __future__ import annotations

from typing import Any

from condense.engine.components import WeightedLoss
from condense.recipe.registry import default_registry


def weighted(kind: str, name: str, loss: Any, weight: float = 1.0) -> WeightedLoss:
    """Return a loss that was built by hand, with its needs. kind: "feature target" or "regularizer".

    name: the name of its spec.
    """
    spec = default_registry().find(kind, name)
    return WeightedLoss(name=name, loss=loss, weight=weight, needs=spec.needs_of(loss.options))
