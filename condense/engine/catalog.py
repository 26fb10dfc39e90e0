"""The feature target, initializers and evaluator that come with condense."""

from __future__ import annotations

import math
from dataclasses import dataclass

from condense.recipe.fields import checked
from condense.recipe.method import IMPORTED
from condense.recipe.needs import Needs, ThroughTeacher
from condense.recipe.specs import EvaluatorSpec, FeatureTargetSpec, InitializerSpec


@checked
@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """std: standard deviation of the noise, above 0, in units of the dataset's standard deviation."""

    std: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.std < math.inf:
            raise ValueError(f"std must be above 0, not {self.std}")


@checked
@dataclass(frozen=True, kw_only=True)
class ImportedOptions:
    """Images that lie in an artifact.

    path: the artifact, a run directory, or hf:OWNER/NAME.
    content: 32 digits of the hash of its images; "" takes any.
    """

    path: str = ""
    content: str = ""


FEATURE_TARGETS: tuple[FeatureTargetSpec, ...] = (
    FeatureTargetSpec(
        name="cross-entropy",
        summary="the teacher should recognise the class of each synthetic image",
        source="Yin et al., NeurIPS 2023, arXiv 2306.13092",
        needs=Needs(through=ThroughTeacher(each_member=True)),
        build="condense.engine.standard:CrossEntropy",
    ),
)

INITIALIZERS: tuple[InitializerSpec, ...] = (
    InitializerSpec(
        name="noise",
        summary="Gaussian noise",
        options=NoiseOptions,
        beyond_pixels=True,
        origin="synthetic",
        build="condense.engine.standard:Noise",
    ),
    InitializerSpec(
        name="real",
        summary="distinct random real images of each class",
        origin="real",
        build="condense.engine.standard:RandomReal",
    ),
    InitializerSpec(
        name=IMPORTED,
        summary="the images of a distilled dataset that was made elsewhere",
        options=ImportedOptions,
        build="condense.engine.imported:Imported",
    ),
)

EVALUATORS: tuple[EvaluatorSpec, ...] = (
    EvaluatorSpec(
        name="students",
        summary="trains students from scratch by the protocol, tests them on the real test images",
        build="condense.engine.evaluate:StudentEvaluator",
    ),
)
