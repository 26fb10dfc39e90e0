"""What condense itself offers, through the same hooks as any plugin."""

from __future__ import annotations

from collections.abc import Sequence

from condense.data.catalog import DATASETS
from condense.data.parametrizations.catalog import PARAMETRIZATIONS
from condense.engine.catalog import EVALUATORS, FEATURE_TARGETS, INITIALIZERS
from condense.executors.catalog import EXECUTORS
from condense.models.catalog import MODELS
from condense.recipe.hooks import hookimpl
from condense.recipe.method import IMPORTED, Method, Recover, Use
from condense.recipe.protocol import Protocol
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    ExecutorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ModelSpec,
    ParametrizationSpec,
)
from condense.recipe.training import Augment

FKD = Protocol(
    name="fkd",
    summary="the teacher labels every view; CutMix, temperature 20, AdamW, 300 epochs (SRe2L, WMDD)",
    source="Shen & Xing, ECCV 2022; Yin et al., NeurIPS 2023, arXiv 2306.13092; Liu et al., ICCV 2025",
    labels="online",
    temperature=20.0,
    epochs=300,
    batch_size=50,
    optimizer="adamw",
    lr=1e-3,
    weight_decay=0.01,
    schedule="cosine",
    augment=Augment(crop_scale=(0.08, 1.0), flip=True, cutmix=1.0),
)


DC = Protocol(
    name="dc",
    summary="hard labels, siamese augmentation, ConvNet, SGD 0.01, a tenth from the middle of 1000 epochs on (DC, DM)",
    source="Zhao et al., ICLR 2021, arXiv 2006.05929; Zhao & Bilen, ICML 2021, arXiv 2102.08259",
    labels="hard",
    epochs=1000,
    batch_size=256,
    optimizer="sgd",
    lr=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="halfway",
    augment=Augment(siamese=("color", "crop", "cutout", "flip", "scale", "rotate")),
    model=Use(name="convnet", options={"norm": "instance"}),
)


IMPORTED_METHOD = Method(
    name=IMPORTED,
    summary="the images of a distilled dataset made elsewhere; imported:PATH is a row of `condense compare`",
    initializer=Use(name=IMPORTED),
    recover=Recover(iterations=0),
    protocol="dc",
)


@hookimpl
def condense_methods() -> Sequence[Method]:
    """Offer the method that takes the images of others."""
    return [IMPORTED_METHOD]


@hookimpl
def condense_feature_targets() -> Sequence[FeatureTargetSpec]:
    """Offer cross-entropy."""
    return FEATURE_TARGETS


@hookimpl
def condense_initializers() -> Sequence[InitializerSpec]:
    """Offer noise, real images and those of an artifact."""
    return INITIALIZERS


@hookimpl
def condense_parametrizations() -> Sequence[ParametrizationSpec]:
    """Offer images as they are, and several images in one."""
    return PARAMETRIZATIONS


@hookimpl
def condense_evaluators() -> Sequence[EvaluatorSpec]:
    """Offer students."""
    return EVALUATORS


@hookimpl
def condense_datasets() -> Sequence[DatasetSpec]:
    """Offer the datasets of `condense.data`."""
    return DATASETS


@hookimpl
def condense_models() -> Sequence[ModelSpec]:
    """Offer the networks of `condense.models`."""
    return MODELS


@hookimpl
def condense_protocols() -> Sequence[Protocol]:
    """Offer the protocol of SRe2L and WMDD, and that of DC, DSA and DM."""
    return [FKD, DC]


@hookimpl
def condense_executors() -> Sequence[ExecutorSpec]:
    """Offer this process, and several processes of this computer."""
    return EXECUTORS
