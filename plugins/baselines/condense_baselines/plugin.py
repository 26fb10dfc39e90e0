"""What the baselines offer to condense."""

from __future__ import annotations

from condense import (
    FeatureTargetSpec,
    ImagesAlone,
    InitializerSpec,
    Method,
    Needs,
    Protocol,
    RegularizerSpec,
    ThroughPool,
    ThroughRandomNetwork,
    ThroughTeacher,
    ThroughUnrolledStudent,
    ThroughWeightGradients,
    hookimpl,
)
from condense_baselines.options import (
    BatchNormOptions,
    CharacteristicFunctionOptions,
    ConvolutionsOptions,
    DensificationOptions,
    FeatureRegressionOptions,
    GradientDistanceOptions,
    RdedOptions,
    RealBatchOptions,
)
from condense_baselines.recipes.coresets import HERDING, K_CENTER, MEDOIDS, RANDOM
from condense_baselines.recipes.dc import DC, DSA
from condense_baselines.recipes.dm import DM
from condense_baselines.recipes.feature_regression import FEATURE_REGRESSION
from condense_baselines.recipes.gvbsm import GVBSM
from condense_baselines.recipes.idc import IDC, IDC_PROTOCOL
from condense_baselines.recipes.ncfm import NCFM, NCFM_PROTOCOL
from condense_baselines.recipes.rded import RDED, RDED_PROTOCOL
from condense_baselines.recipes.sre2l import CDA, SRE2L
from condense_baselines.recipes.unrolled import UNROLLED

condense_api = 2
_GVBSM = "Shao et al., CVPR 2024, arXiv 2311.17950"


_DC_AND_DM = (
    FeatureTargetSpec(
        name="mean-embedding",
        summary="the mean feature of each class to that of its real images, in a random network",
        source="Zhao & Bilen, WACV 2023, arXiv 2110.04181",
        options=RealBatchOptions,
        # The loss is a sum over classes. One class at a time gives each its own view and needs less memory.
        needs=lambda options: Needs(
            through=ThroughRandomNetwork(), at_once="one class", real_per_class=options.real_batch
        ),
        build="condense_baselines.losses.mean_embedding:MeanEmbedding",
    ),
    FeatureTargetSpec(
        name="gradient-match",
        summary="the weight gradients of each class to those of its real images, in a random network",
        source="Zhao, Mopuri & Bilen, ICLR 2021, arXiv 2006.05929",
        options=RealBatchOptions,
        # In bfloat16 the gradient to the pixels was off by up to 18 degrees on Fashion-MNIST.
        needs=lambda options: Needs(
            through=ThroughWeightGradients(),
            at_once="one class",
            real_per_class=options.real_batch,
            float32=True,
        ),
        build="condense_baselines.losses.gradient_match:GradientMatch",
    ),
)

_IDC_AND_NCFM = (
    FeatureTargetSpec(
        name="gradient-distance",
        summary="the filters' gradients of each class to those of its real images, in length and direction",
        source=IDC.source,
        options=GradientDistanceOptions,
        # A second derivative, as in gradient-match.
        needs=lambda options: Needs(
            through=ThroughPool(weight_gradients=True)
            if options.network == "pool"
            else ThroughWeightGradients(),
            at_once="one class",
            real_per_class=options.real_batch,
            float32=True,
        ),
        build="condense_baselines.losses.gradient_distance:GradientDistance",
    ),
    FeatureTargetSpec(
        name="characteristic-function",
        summary="the characteristic function of each class's features to that of its real images, in a pool",
        source=NCFM.source,
        options=CharacteristicFunctionOptions,
        needs=lambda options: Needs(
            through=ThroughPool(), at_once="one class", real_per_class=options.real_batch
        ),
        build="condense_baselines.losses.characteristic_function:CharacteristicFunction",
    ),
    FeatureTargetSpec(
        name="trained-cross-entropy",
        summary="the trained networks of a pool on the class of each synthetic image",
        source=NCFM.source,
        needs=Needs(through=ThroughPool(trained=True), at_once="one class"),
        build="condense_baselines.losses.trained_entropy:TrainedEntropy",
    ),
)


_REGRESSION = FeatureTargetSpec(
    name="feature-regression",
    summary="the labels of real images, regressed from the synthetic images in the features of students",
    source=FEATURE_REGRESSION.source,
    options=FeatureRegressionOptions,
    needs=lambda options: Needs(through=ThroughRandomNetwork(), real_per_class=options.real_batch),
    build="condense_baselines.losses.feature_regression:FeatureRegression",
)

_OUTCOME = FeatureTargetSpec(
    name="student-entropy",
    summary="real images to be known by students that have just learned from the synthetic images",
    source="Wang et al., arXiv 1811.10959",
    options=RealBatchOptions,
    # A second derivative, as in gradient-match.
    needs=lambda options: Needs(
        through=ThroughUnrolledStudent(), real_per_class=options.real_batch, float32=True
    ),
    build="condense_baselines.losses.student_entropy:StudentEntropy",
)


@hookimpl
def condense_feature_targets() -> list[FeatureTargetSpec]:
    """Return the targets that compare real and synthetic images in random networks or in a pool."""
    return [*_DC_AND_DM, *_IDC_AND_NCFM, _REGRESSION, _OUTCOME]


@hookimpl
def condense_regularizers() -> list[RegularizerSpec]:
    """Return the regularizers: statistics of the teacher's layers, and images that differ."""
    return [
        RegularizerSpec(
            name="batchnorm",
            summary="BatchNorm statistics of the batch to the running ones of the teacher",
            source="Yin, Xing & Shen, NeurIPS 2023, arXiv 2306.13092",
            options=BatchNormOptions,
            needs=Needs(through=ThroughTeacher(statistics=("batchnorm",), each_member=True)),
            build="condense_baselines.losses.batchnorm:BatchNorm",
        ),
        RegularizerSpec(
            name="convolutions",
            summary="statistics of what goes into convolutions to those of the real images, by channel and by patch",
            source=_GVBSM,
            options=ConvolutionsOptions,
            needs=Needs(
                through=ThroughTeacher(
                    statistics=("convolutions",), observes=True, each_member=True, merges=True
                )
            ),
            build="condense_baselines.losses.convolutions:Convolutions",
        ),
        RegularizerSpec(
            name="densification",
            summary="the images of a class should differ from each other",
            source=_GVBSM,
            options=DensificationOptions,
            needs=Needs(through=ImagesAlone(), at_once="whole classes"),
            build="condense_baselines.losses.densification:Densification",
        ),
    ]


@hookimpl
def condense_initializers() -> list[InitializerSpec]:
    """Return the initializers that let the teacher choose real images."""
    return [
        InitializerSpec(
            name="herding",
            summary=HERDING.summary,
            source=HERDING.source,
            needs_teacher=True,
            origin="real",
            build="condense_baselines.initializers.herding:Herding",
        ),
        InitializerSpec(
            name="k-center",
            summary=K_CENTER.summary,
            source=K_CENTER.source,
            needs_teacher=True,
            origin="real",
            build="condense_baselines.initializers.k_center:KCenter",
        ),
        InitializerSpec(
            name="k-means",
            summary="the real images nearest to the centres of the clusters of their class",
            needs_teacher=True,
            build="condense_baselines.initializers.k_means:KMeans",
        ),
        InitializerSpec(
            name="medoids",
            summary="for each slot the real image nearest to the feature that a target wants there",
            needs_teacher=True,
            uses_targets=True,
            origin="real",
            build="condense_baselines.initializers.medoids:Medoids",
        ),
        InitializerSpec(
            name="rded",
            summary="the crops of real images that the teacher finds easiest, tiled",
            source=RDED.source,
            options=RdedOptions,
            needs_teacher=True,
            origin="crops",
            build="condense_baselines.initializers.rded_images:RdedImages",
        ),
    ]


@hookimpl
def condense_protocols() -> list[Protocol]:
    """Return the ways in which IDC, NCFM and RDED train students."""
    return [IDC_PROTOCOL, NCFM_PROTOCOL, RDED_PROTOCOL]


@hookimpl
def condense_methods() -> list[Method]:
    """Return the methods to compare with."""
    return [
        RANDOM,
        SRE2L,
        CDA,
        DM,
        DC,
        DSA,
        IDC,
        NCFM,
        FEATURE_REGRESSION,
        UNROLLED,
        GVBSM,
        HERDING,
        K_CENTER,
        MEDOIDS,
        RDED,
    ]
