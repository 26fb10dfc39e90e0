"""What condense itself offers, through the same hooks as any plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from condense.data.catalog import DATASETS
from condense.hookspecs import hookimpl
from condense.initializer_options import NoiseOptions
from condense.models.catalog import MODELS
from condense.protocols import DC, FKD, Protocol
from condense.specs import DatasetSpec, EvaluatorSpec, FeatureTargetSpec, InitializerSpec, ModelSpec


@hookimpl
def condense_feature_targets() -> Sequence[FeatureTargetSpec]:
    """Cross-entropy."""
    return [
        FeatureTargetSpec(
            name="cross-entropy",
            summary="the teacher should recognise the class of each synthetic image",
            source="Yin et al., NeurIPS 2023, arXiv 2306.13092",
            build="condense.targets:CrossEntropy",
        )
    ]


@hookimpl
def condense_initializers() -> Sequence[InitializerSpec]:
    """Noise and real images."""
    return [
        InitializerSpec(
            name="noise",
            summary="Gaussian noise",
            options=NoiseOptions,
            build="condense.initializers:Noise",
        ),
        InitializerSpec(
            name="real",
            summary="distinct random real images of each class",
            build="condense.initializers:RandomReal",
        ),
    ]


@hookimpl
def condense_evaluators() -> Sequence[EvaluatorSpec]:
    """Students."""
    return [
        EvaluatorSpec(
            name="students",
            summary="trains students from scratch by the protocol, tests them on the real test images",
            build="condense.stages.evaluate:StudentEvaluator",
        )
    ]


@hookimpl
def condense_datasets() -> Sequence[DatasetSpec]:
    """The datasets of `condense.data`."""
    return DATASETS


@hookimpl
def condense_models() -> Sequence[ModelSpec]:
    """The networks of `condense.models`."""
    return MODELS


@hookimpl
def condense_protocols() -> Sequence[Protocol]:
    """Those of SRe2L and WMDD, and of DC, DSA and DM."""
    return [FKD, DC]
