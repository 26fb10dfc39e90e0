"""WMDD as a recipe, with the settings of its paper for each dataset. Imports no torch."""

from __future__ import annotations

from condense.data.augment import Augment
from condense.method import Method, Recover, Teacher, Use

# Random resized crop, flip and jitter of up to 32 of 224 pixels at every step.
_VIEWS = Augment(crop_scale=(0.08, 1.0), flip=True, jitter=1 / 7)

WMDD = Method(
    name="wmdd",
    summary="features to the Wasserstein barycenter of each class, per-class BatchNorm statistics",
    source="Liu et al., Dataset Distillation via the Wasserstein Metric, ICCV 2025, arXiv 2311.18531",
    initializer=Use(name="noise"),
    targets=(Use(name="barycenter"),),
    regularizers=(Use(name="class-batchnorm", weight=10.0),),
    recover=Recover(iterations=2000, batch=100, lr=0.25, betas=(0.5, 0.9), augment=_VIEWS),
    teacher=Teacher(model=Use(name="resnet18"), epochs=50, lr=0.025, batch_size=32),
    protocol="fkd",
)
