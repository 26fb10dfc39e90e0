"""A method: a named recipe of components and settings. Data, not code. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from condense.recipe.specs import check_name
from condense.recipe.training import Augment, Training

# Names that stand for the network of another part of a recipe.
SAME_AS_TEACHER = "teacher"
AS_THE_PROTOCOL_SAYS = "protocol"


@dataclass(frozen=True, kw_only=True)
class Use:
    """A named thing in a recipe (dataset, network, initializer, evaluator) and its options by name."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Weighted:
    """A feature target or regularizer in a recipe: its weight in the sum of losses, and its options by name.

    Raises ValueError for a weight that is not a finite number.
    """

    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"a weight must be a finite number, not {self.weight}")


Losses = Mapping[str, Weighted]


# What `Recover.inner` is unless a method says otherwise; the rest is DC's.
NO_TRAINING = Training(epochs=0, batch_size=256, lr=0.01, momentum=0.0, weight_decay=0.0, schedule="constant")


@dataclass(frozen=True, kw_only=True)
class Recover:
    """How pixels are optimised.

    iterations: steps; 0 keeps the initial images. batch: images per step, 0 for all; the images of a step are a chunk.
    chunk: how images are cut into chunks: "classes", as many whole classes as fit and at least one, or "slots", the
    first image of every class, then the second of every class, and so on. optimizer: adam with `betas`, or sgd with
    `momentum`. lr: at the start. schedule: cosine to 0, or constant. augment: drawn anew at every step.
    crop_schedule, crop_start, crop_share: a curriculum of crops (CDA, Yin & Shen, TMLR 2024). The least share of the
    area goes from `crop_start`, or the greatest share if that is less, to that of `augment.crop_scale` over the first
    `crop_share` of the steps: at once at their end (step), or linear, or cosine; none: no curriculum.
    network: of the components that look through a random network; "teacher": one like the teacher's.
    network_steps: steps on one random network before a fresh one is drawn. inner: how that network is trained on the
    synthetic images between two steps, with their labels (DC, Zhao et al., ICLR 2021); 0 epochs: not at all.
    log_every: steps between logged losses.
    """

    iterations: int = 2000
    batch: int = 100
    chunk: Literal["classes", "slots"] = "classes"
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 0.25
    betas: tuple[float, float] = (0.5, 0.9)
    momentum: float = 0.5
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: Augment = field(default_factory=Augment)
    crop_schedule: Literal["none", "step", "linear", "cosine"] = "none"
    crop_start: float = 1.0
    crop_share: float = 1.0
    network: Use = field(default_factory=lambda: Use(name=SAME_AS_TEACHER))
    network_steps: int = 1
    inner: Training = field(default_factory=lambda: NO_TRAINING)
    log_every: int = 50

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.batch < 0:
            raise ValueError(
                f"iterations and batch must be 0 or more, not {self.iterations} and {self.batch}"
            )
        if self.log_every < 1 or self.network_steps < 1:
            raise ValueError(
                f"log_every and network_steps must be at least 1, not {self.log_every} and {self.network_steps}"
            )
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), not {self.betas}")
        for name, augment in (("augment", self.augment), ("inner.augment", self.inner.augment)):
            if augment.cutmix:
                raise ValueError(
                    f"recover.{name}.cutmix has no meaning: an image being recovered has one class"
                )
        if self.network.name == AS_THE_PROTOCOL_SAYS:
            raise ValueError(
                "recover.network is a network of its own or 'teacher'; the protocol's is for students"
            )
        for name, share in (("crop_start", self.crop_start), ("crop_share", self.crop_share)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must lie in (0, 1], not {share}")


@dataclass(frozen=True, kw_only=True)
class Teacher(Training):
    """The teacher: which network, and how it is trained where no checkpoint is given.

    checkpoint: a file of weights (.safetensors, or .pt/.pth holding a state dict); "" trains one.
    measure_batch: images per batch of the measure stage. seed: of its weights and training, and of a split of the
    dataset that has to be made; none: the run's.
    """

    model: Use = field(default_factory=lambda: Use(name="resnet18"))
    checkpoint: str = ""
    measure_batch: int = 256
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.measure_batch < 1:
            raise ValueError(f"measure_batch must be at least 1, not {self.measure_batch}")
        if self.model.name in (SAME_AS_TEACHER, AS_THE_PROTOCOL_SAYS):
            raise ValueError(
                f"the teacher needs a network of its own; only student.model can be {self.model.name!r}"
            )


@dataclass(frozen=True, kw_only=True)
class Student:
    """The student network; "teacher" stands for the teacher's architecture, "protocol" for the protocol's."""

    model: Use = field(default_factory=lambda: Use(name=AS_THE_PROTOCOL_SAYS))


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A changed form of a method, for ablations.

    label: for people. settings: by dotted key, as presets have them. without: components it leaves out.
    """

    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: a named recipe of components and settings.

    name, summary, source: as in every spec.
    initializer: the images that synthesis starts from.
    targets, regularizers: the losses that the recover stage minimises, by name, with weights and options.
    recover, teacher, student: see the classes of those names.
    protocol: the protocol that its paper reports under, by name.
    evaluator: the component that measures.
    presets: settings by dotted key ("recover.lr"), for a kind of images ("small-grey") or a dataset's name. A name
        wins over a kind.
    for_ipc: settings that apply from a given number of images per class upward, keyed by that number; the largest
        key not above the run's ipc is used. Presets win over them.
    variants: the rows of its ablation, `condense ablate`.

    Raises ValueError for a name in both `targets` and `regularizers`, iterations without a target, or variants that
    share a label.
    """

    name: str
    summary: str
    source: str = ""
    initializer: Use = field(default_factory=lambda: Use(name="noise"))
    targets: Losses = field(default_factory=dict)
    regularizers: Losses = field(default_factory=dict)
    recover: Recover = field(default_factory=Recover)
    teacher: Teacher = field(default_factory=Teacher)
    student: Student = field(default_factory=Student)
    protocol: str = "fkd"
    evaluator: Use = field(default_factory=lambda: Use(name="students"))
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    for_ipc: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()

    def __post_init__(self) -> None:
        check_name("method", self.name)
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"method {self.name!r} needs a summary of one line")
        check_distinct(self.targets, self.regularizers)
        if self.recover.iterations and not self.targets:
            raise ValueError(
                f"method {self.name!r} recovers for {self.recover.iterations} steps without a target"
            )
        labels = [variant.label for variant in self.variants]
        if len(set(labels)) < len(labels) or not all(labels):
            raise ValueError(f"the variants of method {self.name!r} need labels, each another: {labels}")

    def settings_for(self, dataset: str, kind: str, ipc: int) -> dict[str, Any]:
        """Return the presets for images per class, a kind of images and a dataset's name; later ones win."""
        reached = [minimum for minimum in self.for_ipc if minimum <= ipc]
        chosen = self.for_ipc[max(reached)] if reached else {}
        return {**chosen, **self.presets.get(kind, {}), **self.presets.get(dataset, {})}


def check_distinct(targets: Losses, regularizers: Losses) -> None:
    """Raise ValueError if a target and a regularizer of one recipe share a name: losses are logged by name."""
    for name in targets:
        if name in regularizers:
            raise ValueError(f"{name!r} is named both as a target and as a regularizer")
