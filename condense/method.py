"""A method: a named recipe of components and settings. Data, not code. Imports no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from condense.data.augment import Augment
from condense.training_options import Training


@dataclass(frozen=True, kw_only=True)
class Use:
    """One component or network in a recipe: its name, its weight in the loss, its options by name."""

    name: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"the weight of {self.name!r} must be a finite number, not {self.weight}")


@dataclass(frozen=True, kw_only=True)
class Recover:
    """How pixels are optimised.

    iterations: steps; 0 keeps the initial images. batch: images per step; a chunk holds as many whole classes
    as fit, and at least one. optimizer: adam with `betas`, or sgd with `momentum`. lr: at the start.
    schedule: cosine to 0, or constant. augment: drawn anew at every step. log_every: steps between logged losses.
    """

    iterations: int = 2000
    batch: int = 100
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 0.25
    betas: tuple[float, float] = (0.5, 0.9)
    momentum: float = 0.5
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: Augment = field(default_factory=Augment)
    log_every: int = 50

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations must be 0 or more, not {self.iterations}")
        if self.batch < 1 or self.log_every < 1:
            raise ValueError(f"batch and log_every must be at least 1, not {self.batch} and {self.log_every}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), not {self.betas}")
        if self.augment.cutmix:
            raise ValueError("recover.augment.cutmix has no meaning: an image being recovered has one class")


@dataclass(frozen=True, kw_only=True)
class Teacher(Training):
    """The teacher: which network, and how it is trained where no checkpoint is given.

    checkpoint: a file of weights (.safetensors, or .pt/.pth holding a state dict); "" trains one.
    measure_batch: images per batch of the measure stage.
    """

    model: Use = field(default_factory=lambda: Use(name="resnet18"))
    checkpoint: str = ""
    measure_batch: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.measure_batch < 1:
            raise ValueError(f"measure_batch must be at least 1, not {self.measure_batch}")
        if self.model.name == "teacher":
            raise ValueError("the teacher needs a network of its own; only student.model can be 'teacher'")


@dataclass(frozen=True, kw_only=True)
class Student:
    """The student network; the name "teacher" stands for the teacher's architecture."""

    model: Use = field(default_factory=lambda: Use(name="teacher"))


@dataclass(frozen=True, kw_only=True)
class Method:
    """A recipe.

    name, summary, source: as of every spec. initializer: where images start. targets, regularizers: what the
    recover stage minimises, by component name with weights. recover: how. protocol: the one its paper reports
    under. evaluator: who measures. presets: for a dataset's name, settings by dotted key
    ("regularizers.class-batchnorm"); they win over the method's and the dataset's own.
    """

    name: str
    summary: str
    source: str = ""
    initializer: Use = field(default_factory=lambda: Use(name="noise"))
    targets: tuple[Use, ...] = ()
    regularizers: tuple[Use, ...] = ()
    recover: Recover = field(default_factory=Recover)
    teacher: Teacher = field(default_factory=Teacher)
    student: Student = field(default_factory=Student)
    protocol: str = "fkd"
    evaluator: Use = field(default_factory=lambda: Use(name="students"))
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError(f"method name {self.name!r} is not lower-case words joined by hyphens")
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"method {self.name!r} needs a summary of one line")
        check_distinct(self.targets + self.regularizers)
        if self.recover.iterations and not self.targets:
            raise ValueError(
                f"method {self.name!r} recovers for {self.recover.iterations} steps without a target"
            )


def check_distinct(components: tuple[Use, ...]) -> None:
    """Raise ValueError where two targets or regularizers of a recipe have one name: their losses go by name."""
    names = [use.name for use in components]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{repeated[0]!r} stands more than once among the targets and regularizers")
