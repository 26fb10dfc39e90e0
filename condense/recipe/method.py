"""A method: a named recipe of components and settings. It is data, not code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from condense.errors import unknown_name
from condense.recipe.fields import checked
from condense.recipe.published import Published
from condense.recipe.selection import Selection
from condense.recipe.specs import check_name
from condense.recipe.training import Augment, Training
from condense.recipe.variant import Variant

# Names that stand for the network of another part of a recipe.
SAME_AS_TEACHER, AS_THE_PROTOCOL_SAYS = "teacher", "protocol"
# The initializer, and the method, whose images come from a distilled dataset that lies elsewhere.
IMPORTED = "imported"
# The parametrization that stores images as they are.
IDENTITY = "identity"


@checked
@dataclass(frozen=True, kw_only=True)
class Use:
    """A named dataset, network, initializer, parametrization or evaluator in a recipe, with its options by name.

    name: as listings such as `condense components` show it.
    options: its options, by name; those that are missing have their defaults.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@checked
@dataclass(frozen=True)
class Weighted:
    """A feature target or regularizer in a recipe, with its weight and its options.

    weight: its factor in the sum of losses.
    options: its options, by name.

    Raises ValueError if the weight is not a finite number.
    """

    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)


Losses = Mapping[str, Weighted]


# The default of `Recover.inner`: no training. The other values are DC's.
NO_TRAINING = Training(epochs=0, batch_size=256, lr=0.01, momentum=0.0, weight_decay=0.0, schedule="constant")


@checked
@dataclass(frozen=True, kw_only=True)
class Recover:
    """How pixels are optimised.

    iterations: number of steps; 0 keeps the initial images.
    batch: images per step, 0 for all. The images of a step are a chunk. Where a stored image holds several, these
        are counted, and a chunk has whole stored images.
    chunk: how images are cut into chunks. "classes" takes as many whole classes as fit, at least one. "slots"
        takes the first image of every class, then the second, and so on; "one-slot" never two of a class.
    optimizer: adam with `betas`, or sgd with `momentum`.
    lr: the initial learning rate.
    betas: of adam.
    momentum: of sgd.
    schedule: of the learning rate: cosine to 0, or constant.
    augment: the augmentation, drawn anew at every step, without CutMix.
    crop_schedule: a curriculum of crops (CDA, Yin & Shen, TMLR 2024). The minimum area fraction of crops goes from
        `crop_start` to the minimum of `augment.crop_scale`, during the first fraction `crop_share` of the steps.
        "linear" and "cosine" change it gradually, "step" all at once at the end of them; "none" means no curriculum.
    crop_start: the minimum area fraction at first, at most the maximum of `augment.crop_scale`.
    crop_share: the fraction of the steps that the curriculum takes, in (0, 1].
    network: the random network that losses look through; "teacher": one like the teacher's.
    networks: how many random networks are in use at once. Steps take them in turn, so that with `inner` they are
        students of different ages (FRePo, Zhou et al., NeurIPS 2022).
    network_steps: steps on one random network, or on one draw of the pool, before the next one.
    inner: how the random network, or the drawn one of a pool, is trained between two steps on it (DC, Zhao et al.,
        ICLR 2021); 0 epochs: not at all. A student that a loss unrolls is trained right before each step, with the
        schedule of its learning rate over the `network_steps` of its life.
    inner_steps: the maximum number of steps of such a student at a time; 0: no maximum.
    inner_labels: what it learns: the hard labels, or with "online" the teacher's answers to every view.
    inner_temperature: the softmax temperature of these answers.
    inner_on: the images that it is trained on: the labelled synthetic images of the chunk (DC), or real images (IDC,
        Kim et al., ICML 2022).
    inner_images: real images of one inner epoch, drawn anew for each; 0, or more than there are: all.
    measured_views: 0 shows the losses each real image once and whole. N shows N views of it, drawn with `augment`
        like those of the synthetic images, so that both sides are compared under the same views.
    log_every: steps between logged losses.
    """

    iterations: int = 2000
    batch: int = 100
    chunk: Literal["classes", "slots", "one-slot"] = "classes"
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
    networks: int = 1
    network_steps: int = 1
    inner: Training = field(default_factory=lambda: NO_TRAINING)
    inner_steps: int = 0
    inner_labels: Literal["hard", "online"] = "hard"
    inner_temperature: float = 20.0
    inner_on: Literal["synthetic", "real"] = "synthetic"
    inner_images: int = 0
    measured_views: int = 0
    log_every: int = 50

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.batch < 0:
            raise ValueError(
                f"iterations and batch must be 0 or more, not {self.iterations} and {self.batch}"
            )
        for name in ("log_every", "networks", "network_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers in [0, 1), not {self.betas}")
        for name in ("inner_images", "inner_steps", "measured_views"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.augment.cutmix:
            raise ValueError("recover.augment.cutmix has no meaning: an image being recovered has one class")
        if not 0 < self.inner_temperature < math.inf:
            raise ValueError(f"inner_temperature must be above 0, not {self.inner_temperature}")
        if self.network.name == AS_THE_PROTOCOL_SAYS:
            raise ValueError("recover.network is a network of its own or 'teacher', not the protocol's")
        for name, share in (("crop_start", self.crop_start), ("crop_share", self.crop_share)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must lie in (0, 1], not {share}")

    def ahead(self, turn: int) -> int:
        """Return by how many of its steps random network `turn`, of `networks`, is replaced earlier the first time."""
        return self.network_steps * turn // self.networks


@checked
@dataclass(frozen=True, kw_only=True)
class Teacher(Training):
    """The teacher: its network, and how it is trained if no checkpoint is given.

    model: its network.
    checkpoint: a file of weights (.safetensors, or .pt/.pth holding a state dict); "" trains the teacher.
    steps: the maximum number of steps of the training: where there are more images, it has fewer epochs, at least one.
        0: no maximum.
    measure_batch: images per batch of the measure stage.
    check: what happens if a teacher that is not trained here seems not to know the dataset: "stop" is an error, "note"
        tells of it and goes on. No result depends on it.
    seed: of its weights, its training, and a split of the dataset that has to be made; None: the run's seed.
    """

    model: Use = field(default_factory=lambda: Use(name="resnet18"))
    checkpoint: str = ""
    steps: int = 0
    measure_batch: int = 256
    check: Literal["stop", "note"] = "stop"
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 0:
            raise ValueError(f"steps must be 0 (no maximum) or more, not {self.steps}")
        if self.measure_batch < 1:
            raise ValueError(f"measure_batch must be at least 1, not {self.measure_batch}")
        if self.model.name in (SAME_AS_TEACHER, AS_THE_PROTOCOL_SAYS):
            raise ValueError(
                f"the teacher needs a network of its own; only student.model can be {self.model.name!r}"
            )


@checked
@dataclass(frozen=True, kw_only=True)
class Pool(Training):
    """A pool of networks that are partly trained on the real images, and that losses look through in recover.

    The fields of `Training` say how each of them is trained. Each has weights and draws of its own, from the seed of
    the teacher, so that the runs of a comparison share a pool.

    model: their network; "teacher" stands for one like the teacher's.
    networks: how many are trained.
    checkpoints: how many states of each are kept, after equal parts of its epochs. The last is the trained network.
        The initial weights are kept besides.
    draw: a draw chooses a network and one of its states, each as likely as the others. "checkpoint" gives that state.
        "interpolated" gives weights on the line from the initial ones to those of the state, at a uniform place (NCFM,
        Wang et al., CVPR 2025).
    random: the fraction of draws, in [0, 1], that give new random weights instead.
    mode: whether networks look at images as in training (BatchNorm takes the statistics of the batch) or as in tests
        ("eval").

    Raises ValueError for a number out of range.
    """

    model: Use = field(default_factory=lambda: Use(name=SAME_AS_TEACHER))
    networks: int = 10
    checkpoints: int = 1
    draw: Literal["checkpoint", "interpolated"] = "checkpoint"
    random: float = 0.0
    mode: Literal["train", "eval"] = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.networks < 1:
            raise ValueError(f"networks must be at least 1, not {self.networks}")
        if not 1 <= self.checkpoints <= self.epochs:
            raise ValueError(
                f"checkpoints must lie between 1 and the number of epochs, {self.epochs}, not {self.checkpoints}"
            )
        if not 0 <= self.random <= 1:
            raise ValueError(f"random must lie in [0, 1], not {self.random}")
        if self.model.name == AS_THE_PROTOCOL_SAYS:
            raise ValueError(
                "pool.model is a network of its own or 'teacher'; the protocol's is for students"
            )

    def kept_after(self) -> tuple[int, ...]:
        """Return the numbers of epochs after which a state is kept, ascending."""
        return tuple(self.epochs * part // self.checkpoints for part in range(1, self.checkpoints + 1))


@checked
@dataclass(frozen=True, kw_only=True)
class Student:
    """The student network.

    model: "teacher" stands for the teacher's architecture, "protocol" for the protocol's network.
    together: how many of one evaluation, of all its seeds, are trained at once in a stack, which changes the last bits.

    Raises ValueError for a number out of range.
    """

    model: Use = field(default_factory=lambda: Use(name=AS_THE_PROTOCOL_SAYS))
    together: int = 1

    def __post_init__(self) -> None:
        if self.together < 1:
            raise ValueError(f"together must be at least 1, not {self.together}")


@checked
@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: a named recipe of components and settings.

    name: lower-case words joined by hyphens; what users type.
    summary: one line.
    source: the paper (authors, venue, arXiv number) or the address it comes from; may be empty.
    initializer: the images that synthesis starts from.
    parametrization: how images are stored, and what is optimised in place of their pixels.
    targets: the feature targets that the recover stage minimises, by name, with weights and options. A method with
        iterations needs one.
    regularizers: the regularizers that it minimises besides.
    recover: how pixels are optimised.
    teacher: its network and its training, on datasets that do not choose a teacher for all methods.
    pool: networks that are partly trained on the real images; they are trained only if a loss looks through them.
    student: the students' network, by default that of the protocol.
    select: how the images are chosen among starts and states of recovery. Its students are trained by `protocol`.
    protocol: the name of the protocol that its paper reports under.
    evaluator: the component that evaluates students.
    presets: settings by dotted key ("recover.lr"), for a kind of images ("small-grey") or a dataset's name. A name
        wins over a kind. Users choose one of them, or one by another name, with the setting `preset`.
    preset_networks: the teacher's network that a preset was chosen with, by the preset's name. With another one, the
        preset applies only if it is chosen by name: a weight may have the unit of one network's features.
    for_ipc: settings that apply from a given number of images per class upward, keyed by that number; the largest
        key not above the run's ipc is used. Presets win over them.
    variants: the rows of its ablation, `condense ablate`.
    published: accuracies that were published for it; a comparison shows them beside its own. The first one for a
        dataset and a number of images per class is shown where none has the student of the comparison.

    Raises ValueError for a name in both `targets` and `regularizers`, iterations without a target, variants that share
    a label, or `preset_networks` of an unknown preset.
    """

    name: str
    summary: str
    source: str = ""
    initializer: Use = field(default_factory=lambda: Use(name="noise"))
    parametrization: Use = field(default_factory=lambda: Use(name=IDENTITY))
    targets: Losses = field(default_factory=dict)
    regularizers: Losses = field(default_factory=dict)
    recover: Recover = field(default_factory=Recover)
    teacher: Teacher = field(default_factory=Teacher)
    pool: Pool = field(default_factory=Pool)
    student: Student = field(default_factory=Student)
    select: Selection = field(default_factory=Selection)
    protocol: str = "fkd"
    evaluator: Use = field(default_factory=lambda: Use(name="students"))
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    preset_networks: Mapping[str, str] = field(default_factory=dict)
    for_ipc: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        check_name("method", self.name)
        if not self.summary or "\n" in self.summary:
            raise ValueError(f"method {self.name!r} needs a summary of one line")
        check_losses(self.targets, self.regularizers)
        if self.recover.iterations and not self.targets:
            raise ValueError(
                f"method {self.name!r} recovers for {self.recover.iterations} steps without a target"
            )
        labels = [variant.label for variant in self.variants]
        if len(set(labels)) < len(labels) or not all(labels):
            raise ValueError(f"the variants of method {self.name!r} need labels, each another: {labels}")
        for preset in self.preset_networks.keys() - self.presets.keys():
            raise ValueError(f"method {self.name!r}: {unknown_name('preset', preset, self.presets)}")

    def settings_for(
        self, dataset: str, kind: str, ipc: int, preset: str = "", network: str = ""
    ) -> list[tuple[str, Any]]:
        """Return the settings for an ipc, a kind of images and a dataset's name, as pairs; later ones win.

        preset: the name of a preset that is used in place of those of the kind and of the dataset.
        network: the name of the teacher's network; "" for that of the settings.
        Raises UnknownNameError if the method has no preset of that name.
        """
        chosen = self.for_ipc.get(max((least for least in self.for_ipc if least <= ipc), default=0), {})
        if preset and preset not in self.presets:
            raise unknown_name(f"preset of {self.name}", preset, self.presets)
        fits = not network or self.preset_networks.get(dataset, network) == network
        names = (preset,) if preset else (kind, dataset) if fits else (kind,)
        layers = (chosen, *(self.presets.get(name, {}) for name in names))
        return [pair for layer in layers for pair in layer.items()]


def check_losses(targets: Losses, regularizers: Losses) -> None:
    """Raise ValueError for a name in both: losses are logged by name."""
    for name in targets:
        if name in regularizers:
            raise ValueError(f"{name!r} is named both as a target and as a regularizer")
