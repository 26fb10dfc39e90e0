"""The whole contract between condense and its plugins: ten hooks, called once at start-up, never in a loop.

A plugin is a module that implements any of these hooks with `condense.hookimpl`. An entry point of the group
"condense" names it. It may set `condense_api`, the `API_VERSION` that it was written for.
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
        ExecutorSpec,
        FeatureTargetSpec,
        InitializerSpec,
        ModelSpec,
        ParametrizationSpec,
        RegularizerSpec,
    )

API_VERSION = 2
PROJECT = "condense"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""The decorator that marks a function of a plugin's module as the implementation of a hook."""


@hookspec
def condense_feature_targets() -> Sequence[FeatureTargetSpec]:  # type: ignore[empty-body]
    """Return losses that say what the features of synthetic images should match."""


@hookspec
def condense_regularizers() -> Sequence[RegularizerSpec]:  # type: ignore[empty-body]
    """Return losses that keep synthetic images close to real ones besides their features."""


@hookspec
def condense_initializers() -> Sequence[InitializerSpec]:  # type: ignore[empty-body]
    """Return ways to make the images that synthesis starts from."""


@hookspec
def condense_parametrizations() -> Sequence[ParametrizationSpec]:  # type: ignore[empty-body]
    """Return forms in which synthetic images are stored and optimised: images as a function of parameters."""


@hookspec
def condense_evaluators() -> Sequence[EvaluatorSpec]:  # type: ignore[empty-body]
    """Return ways to measure how good a distilled dataset is."""


@hookspec
def condense_methods() -> Sequence[Method]:  # type: ignore[empty-body]
    """Return named recipes that combine the components above."""


@hookspec
def condense_datasets() -> Sequence[DatasetSpec]:  # type: ignore[empty-body]
    """Return real datasets that can be condensed."""


@hookspec
def condense_models() -> Sequence[ModelSpec]:  # type: ignore[empty-body]
    """Return networks that can be teachers and students."""


@hookspec
def condense_protocols() -> Sequence[Protocol]:  # type: ignore[empty-body]
    """Return ways to train students, as named data."""


@hookspec
def condense_executors() -> Sequence[ExecutorSpec]:  # type: ignore[empty-body]
    """Return ways to have the pieces of runs done: by several processes, or by several computers."""
