"""What the baselines offer to condense. Imports no torch."""

from __future__ import annotations

from condense.hookspecs import hookimpl
from condense.method import Method
from condense_baselines.random import RANDOM

condense_api = 1


@hookimpl
def condense_methods() -> list[Method]:
    """Methods to compare with."""
    return [RANDOM]
