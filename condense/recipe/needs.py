"""What a loss needs from the host, declared with its spec.

A combination that makes no sense cannot be written down: only a trained teacher can show the real images in the
measure stage, and only the weights of random networks and of a pool can take gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from condense.recipe.fields import checked

Statistic = Literal["batchnorm", "convolutions"]
AtOnce = Literal["batch", "whole classes", "one class"]


@checked
@dataclass(frozen=True, kw_only=True)
class ThroughTeacher:
    """The loss looks through the trained teacher.

    statistics: the layers whose inputs it reads. "batchnorm" fills `Observation.moments`, "convolutions" fills
        `Observation.convolutions` and `Observation.patches`. Reading them takes time, so none are read by default.
    observes: whether its `observe` is shown all real images in the measure stage.
    merges: whether what it observed in parts of the real images can be merged, so that the parts can be measured apart.
    each_member: whether it can look through a teacher of several networks one network at a time. `observe` is then
        called once per member and batch, `loss` at every step with the next member, and `Observation.member` tells
        which. A loss without it refuses such a teacher.
    """

    statistics: tuple[Statistic, ...] = ()
    observes: bool = False
    each_member: bool = False
    merges: bool = False

    def __post_init__(self) -> None:
        if self.merges and not self.observes:
            raise ValueError(
                "a loss that observes no real images has nothing to merge; say observes=True too"
            )


@checked
@dataclass(frozen=True, kw_only=True)
class ThroughRandomNetwork:
    """The loss looks through a random network, a new one every `Recover.network_steps` steps.

    statistics: the layers whose inputs it reads, as in `ThroughTeacher`.
    """

    statistics: tuple[Statistic, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ThroughWeightGradients:
    """The loss takes gradients of a random network's weights, which are in `Observation.parameters`.

    Real images are seen with gradients too. Layer statistics are differentiable once only, so there are none.
    """


@dataclass(frozen=True, kw_only=True)
class ThroughUnrolledStudent:
    """The loss looks through a student right after steps of its training, which are differentiated through.

    The student is the random network, `Recover.inner` its training on the synthetic images, of which there is at least
    one epoch at every step. So whatever the student answers has a gradient to the images that it has just learned from,
    for synthetic and for real images. It is in eval mode. Layer statistics are differentiable once only, so there are
    none.
    """


@checked
@dataclass(frozen=True, kw_only=True)
class ThroughPool:
    """The loss looks through a network of the pool, partly trained on the real images (`condense.Pool`).

    A new one is drawn every `Recover.network_steps` steps. All losses of a step see the same draw.

    trained: whether it looks through the same network at the end of its training, instead of the drawn weights.
    weight_gradients: whether it takes gradients of the weights, which are then in `Observation.parameters`, and sees
        real images with gradients too. Layer statistics are differentiable once only, so there are none.
    statistics: the layers whose inputs it reads, as in `ThroughTeacher`.
    """

    trained: bool = False
    weight_gradients: bool = False
    statistics: tuple[Statistic, ...] = ()

    def __post_init__(self) -> None:
        if self.weight_gradients and self.statistics:
            raise ValueError("a loss through weight gradients reads no statistics of layers")


@dataclass(frozen=True, kw_only=True)
class ImagesAlone:
    """The loss looks at the augmented synthetic images and at no network; features and logits are (B, 0)."""


Through = (
    ThroughTeacher
    | ThroughRandomNetwork
    | ThroughWeightGradients
    | ThroughUnrolledStudent
    | ThroughPool
    | ImagesAlone
)
NetworkKind = Literal["teacher", "random", "pool", "trained", "none"]
# The kinds that come from a pool: the drawn weights, and those of the same network at the end of its training.
POOL_KINDS: tuple[NetworkKind, NetworkKind] = ("pool", "trained")


@checked
@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the host has to show a loss.

    through: the network that it looks through.
    at_once: the images that one call of `loss` sees: a batch of any images, all images of each class in it, or the
        images of one class (the losses of the classes are then added up).
    real_per_class: the minimum number of real images of each class that `loss` gets at every step; a smaller class
        gives all of its images.
    float32: whether networks compute in float32 for it in the recover stage, also where the run uses bfloat16.

    Raises ValueError for a value that is none of these.
    """

    through: Through = field(default_factory=ThroughTeacher)
    at_once: AtOnce = "batch"
    real_per_class: int = 0
    float32: bool = False

    def __post_init__(self) -> None:
        if self.real_per_class < 0:
            raise ValueError(f"real_per_class must be 0 or more, not {self.real_per_class}")
        if self.unrolled and self.at_once == "one class":
            raise ValueError(
                "a student learns all classes, so a loss through one cannot see one class at a time"
            )

    @property
    def network(self) -> NetworkKind:
        """The kind of network: the teacher, a random one, a draw of the pool, its trained network, or none."""
        if isinstance(self.through, ThroughTeacher):
            return "teacher"
        if isinstance(self.through, ThroughPool):
            return "trained" if self.through.trained else "pool"
        return "none" if isinstance(self.through, ImagesAlone) else "random"

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The layers whose inputs the loss reads."""
        if isinstance(self.through, ThroughTeacher | ThroughRandomNetwork | ThroughPool):
            return self.through.statistics
        return ()

    @property
    def observes(self) -> bool:
        """Whether the measure stage shows it the real images."""
        return isinstance(self.through, ThroughTeacher) and self.through.observes

    @property
    def merges(self) -> bool:
        """Whether parts of the real images can be measured apart for it, and merged."""
        return isinstance(self.through, ThroughTeacher) and self.through.merges

    @property
    def each_member(self) -> bool:
        """Whether it bears a teacher of several networks."""
        return not isinstance(self.through, ThroughTeacher) or self.through.each_member

    @property
    def weight_gradients(self) -> bool:
        """Whether the weights of its network take gradients."""
        if isinstance(self.through, ThroughPool):
            return self.through.weight_gradients
        return isinstance(self.through, ThroughWeightGradients)

    @property
    def of_weights(self) -> bool:
        """Whether what it sees of real images takes gradients, by way of the weights."""
        return self.weight_gradients or self.unrolled

    @property
    def unrolled(self) -> bool:
        """Whether its network is a student whose last steps of training are differentiated through."""
        return isinstance(self.through, ThroughUnrolledStudent)
