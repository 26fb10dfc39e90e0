"""What this plugin offers to condense. Imports no torch: the target is built when a run needs it."""

from __future__ import annotations

from dataclasses import dataclass

from condense import FeatureTargetSpec, Method, Needs, Recover, ThroughTeacher, Use, Weighted, hookimpl

condense_api = 2
_IDEA = "after DM (Zhao & Bilen, WACV 2023, arXiv 2110.04181), in a trained teacher"


@dataclass(frozen=True, kw_only=True)
class MeanFeatureOptions:
    """shrink: how far each class's mean is moved to the mean of all images: 0 not at all, near 1 almost there."""

    shrink: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.shrink < 1:
            raise ValueError(f"shrink must lie in [0, 1), not {self.shrink}")


@hookimpl
def condense_feature_targets() -> list[FeatureTargetSpec]:
    """The mean feature of each class."""
    return [
        FeatureTargetSpec(
            name="mean-feature",
            summary="the mean feature of each class's synthetic images to that of its real images",
            source=_IDEA,
            options=MeanFeatureOptions,
            needs=Needs(through=ThroughTeacher(observes=True)),
            build="condense_mean_feature.target:MeanFeature",
        )
    ]


@hookimpl
def condense_methods() -> list[Method]:
    """A method with this target alone."""
    return [
        Method(
            name="mean-feature",
            summary="real images, moved until each class has the mean feature it should have",
            source=_IDEA,
            initializer=Use(name="real"),
            targets={"mean-feature": Weighted()},
            recover=Recover(iterations=1000, lr=0.02),
            presets={"small-grey": {"recover.iterations": 300}},
        )
    ]
