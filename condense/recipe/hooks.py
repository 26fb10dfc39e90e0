"""The whole contract between condense and its plugins: eight hooks, asked once at start-up, never in a loop.

A plugin is a module that implements any of these with `condense.hookimpl`, named by an entry point of the
group "condense". It may say `condense_api = 1`, the version of this contract it was written for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from condense.recipe.method import Method
    from condense.recipe.protocol import Protocol
    from condense.recipe.specs import (
        DatasetSpec,
        EvaluatorSpec,
        FeatureTargetSpec,
        InitializerSpec,
        ModelSpec,
        RegularizerSpec,
    )

API_VERSION = 1
PROJECT = "condense"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def condense_feature_targets() -> Sequence[FeatureTargetSpec]:  # type: ignore[empty-body]
    """What the features of synthetic images can be made to match."""


@hookspec
def condense_regularizers() -> Sequence[RegularizerSpec]:  # type: ignore[empty-body]
    """What can hold synthetic images close to real ones beside the features."""


@hookspec
def condense_initializers() -> Sequence[InitializerSpec]:  # type: ignore[empty-body]
    """What synthetic images can start from."""


@hookspec
def condense_evaluators() -> Sequence[EvaluatorSpec]:  # type: ignore[empty-body]
    """Ways to measure how good a distilled dataset is."""


@hookspec
def condense_methods() -> Sequence[Method]:  # type: ignore[empty-body]
    """Named recipes made of the components above."""


@hookspec
def condense_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    """Real datasets that can be condensed."""


@hookspec
def condense_models() -> Sequence[ModelSpec]:  # type: ignore[empty-body]
    """Networks that can be teachers and students."""


@hookspec
def condense_protocols() -> Sequence[Protocol]:  # type: ignore[empty-body]
    """Ways to train students, as named data."""
