"""What WMDD offers to condense."""

from __future__ import annotations

from condense import FeatureTargetSpec, Method, Needs, RegularizerSpec, ThroughTeacher, hookimpl
from condense_wmdd.method import WMDD
from condense_wmdd.options import BarycenterOptions, ClassBatchNormOptions

condense_api = 2
_PAPER = "Liu et al., ICCV 2025, arXiv 2311.18531"


@hookimpl
def condense_feature_targets() -> list[FeatureTargetSpec]:
    """Return the target that matches the barycenter of each class."""
    return [
        FeatureTargetSpec(
            name="barycenter",
            summary="each image's feature to one atom of its class's Wasserstein barycenter",
            source=_PAPER,
            options=BarycenterOptions,
            needs=Needs(through=ThroughTeacher(observes=True, merges=True)),
            build="condense_wmdd.barycenter_target:BarycenterTarget",
        )
    ]


@hookimpl
def condense_regularizers() -> list[RegularizerSpec]:
    """Return the regularizer that matches BatchNorm statistics per class."""
    return [
        RegularizerSpec(
            name="class-batchnorm",
            summary="BatchNorm statistics of each class's synthetic images to those of its real images",
            source=_PAPER,
            options=ClassBatchNormOptions,
            needs=Needs(
                through=ThroughTeacher(statistics=("batchnorm",), observes=True, merges=True),
                at_once="whole classes",
            ),
            build="condense_wmdd.class_batchnorm:ClassBatchNorm",
        )
    ]


@hookimpl
def condense_methods() -> list[Method]:
    """Return WMDD."""
    return [WMDD]
