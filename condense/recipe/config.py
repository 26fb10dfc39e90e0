"""The configuration of a run, in three groups: what is distilled, how it is judged, and where that is computed.

Settings are dotted keys. They are applied in this order, later ones winning: the method's own, the dataset's for every
method, the method's presets for the images per class, the kind of images and the dataset, and the user's.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from condense.errors import OptionError, unknown_name
from condense.recipe.method import (
    AS_THE_PROTOCOL_SAYS,
    SAME_AS_TEACHER,
    Losses,
    Recover,
    Student,
    Teacher,
    Use,
    check_losses,
)
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.settings import Settings, assign, complete, options_of, pairs_of
from condense.recipe.specs import ImageKind

T = TypeVar("T")
_PRECISIONS: tuple[Literal["bf16", "fp32"], ...] = ("bf16", "fp32")


def digest(value: Any) -> str:
    """Return the SHA-256 of plain data or dataclasses, in hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is distilled: everything that decides the distilled images, given a kind of machine.

    method: the name of the method that this started as.
    dataset, initializer, targets, regularizers, recover, teacher: the parts, with all settings resolved.
    ipc: images per class, at least 1.
    seed: of everything random, unless the teacher has a seed of its own.
    validation: the fraction of the training images, in [0, 1), that replaces the test images for tuning; 0 tests on
        the real test images.

    Raises ValueError for a value out of range.
    """

    method: str
    dataset: Use
    initializer: Use
    targets: Losses
    regularizers: Losses
    recover: Recover
    teacher: Teacher
    ipc: int = 10
    seed: int = 0
    validation: float = 0.0

    def __post_init__(self) -> None:
        check_losses(self.targets, self.regularizers)
        if self.ipc < 1:
            raise ValueError(f"images per class must be at least 1, not {self.ipc}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must lie in [0, 1), not {self.validation}")

    @property
    def losses(self) -> Losses:
        """The targets, then the regularizers, by name."""
        return {**self.targets, **self.regularizers}

    @property
    def teacher_seed(self) -> int:
        """The seed of the teacher's weights and training, and of a split of the dataset that has to be made."""
        return self.seed if self.teacher.seed is None else self.teacher.seed

    @property
    def hash(self) -> str:
        """The SHA-256 of these settings. Equal recipes give equal images on machines of one kind."""
        return digest(replace(self, teacher=replace(self.teacher, seed=self.teacher_seed)))

    @property
    def random_network(self) -> Use:
        """The network of losses that look through a random one."""
        return network_like(self.recover.network, self.teacher)


def network_like(use: Use, teacher: Teacher) -> Use:
    """Return `use`, or a network like the teacher in place of the name "teacher", never with pretrained weights.

    For an ensemble that is a network like its first member.
    """
    if use.name != SAME_AS_TEACHER:
        return use
    model = teacher.model
    members = model.options.get("members") if model.name == "ensemble" else None
    if members:
        return Use(name=members[0])
    if model.options.get("pretrained"):
        return replace(model, options={**model.options, "pretrained": False})
    return model


def by_content(teacher: Teacher) -> Teacher:
    """Return the teacher with 32 digits of its checkpoint's SHA-256 for the path, so that the file may lie anywhere.

    A path without a file stays as it is; loading it says what is wrong.
    """
    path = Path(teacher.checkpoint)
    if not teacher.checkpoint or not path.is_file():
        return teacher
    return replace(teacher, checkpoint=_file_digest(path, path.stat().st_mtime_ns)[:32])


@functools.cache
def _file_digest(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a distilled dataset is judged.

    protocol: how students are trained. student: their network. evaluator: the component that measures.
    students: how many are trained, 0 or more. reference: whether random real images of equal ipc are judged too.

    Raises ValueError for a negative number of students.
    """

    protocol: Protocol
    student: Student = field(default_factory=Student)
    evaluator: Use = field(default_factory=lambda: Use(name="students"))
    students: int = 3
    reference: bool = True

    def __post_init__(self) -> None:
        if self.students < 0:
            raise ValueError(f"students must be 0 or more, not {self.students}")

    @property
    def hash(self) -> str:
        """The SHA-256 of everything that decides a student's score, given a recipe and a kind of machine.

        The number of students and the protocol's name and description do not count.
        """
        protocol = replace(self.protocol, name="any", summary="", source="")
        return digest(replace(self, protocol=protocol, students=0, reference=False))

    @property
    def label(self) -> str:
        """A name for files: protocol, epochs and part of the hash, such as "fkd-300-0123456789"."""
        return f"{self.protocol.name}-{self.protocol.epochs}-{self.hash[:10]}"

    def student_network(self, teacher: Teacher) -> Use:
        """Return the network that students are, with the names "protocol" and "teacher" resolved."""
        use = self.student.model
        return network_like(self.protocol.model if use.name == AS_THE_PROTOCOL_SAYS else use, teacher)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a run is computed.

    device: "auto", "cpu", "cuda", "cuda:1", "mps". precision: "auto", "bf16" or "fp32".
    data_dir: the folder of datasets; "" for the default.

    Raises ValueError for another precision.
    """

    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    data_dir: str = ""

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ValueError(f"precision must be auto, bf16 or fp32, not {self.precision!r}")

    @property
    def hash(self) -> str:
        """The SHA-256 of the kind of machine: the type of device and the precision, not the device's index."""
        return digest([self.device.partition(":")[0], self.precision])

    def kinds(self) -> list[Machine]:
        """Return the machines that these settings can stand for, without asking which devices there are."""
        devices = ("cpu", "cuda", "mps") if self.device == "auto" else (self.device,)
        precisions = _PRECISIONS if self.precision == "auto" else (self.precision,)
        return [
            replace(self, device=device, precision=precision)
            for device in devices
            for precision in precisions
        ]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that a run depends on; saved in run.json, from which the run can be repeated."""

    GROUPS: ClassVar[tuple[str, ...]] = ("recipe", "evaluation", "machine")

    recipe: Recipe
    evaluation: Evaluation
    machine: Machine = field(default_factory=Machine)

    def to_dict(self) -> dict[str, Any]:
        """Return the groups as plain dictionaries, lists and numbers, for JSON."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


# Settings that are options of their own, never keys of --set.
OWN_OPTIONS = frozenset(
    {
        *("method", "dataset", "ipc", "seed", "validation", "students", "reference"),
        *("device", "precision", "data_dir"),
    }
)


def public_settings(recipe: Recipe, evaluation: Evaluation) -> dict[str, Any]:
    """Return both groups as plain data without paths of this machine, to be passed on with a distilled dataset."""
    shown = replace(
        recipe,
        dataset=replace(recipe.dataset, name=dataset_label(recipe.dataset.name)),
        teacher=replace(recipe.teacher, checkpoint=""),
    )
    return {"recipe": msgspec.to_builtins(shown), "evaluation": msgspec.to_builtins(evaluation)}


def dataset_label(name: str) -> str:
    """Return a dataset's name without the folders above it: "folder:/home/me/pets" as "folder:pets"."""
    kind, _, argument = name.partition(":")
    return f"{kind}:{Path(argument).name}" if argument else kind


def config_from_dict(data: Mapping[str, Any], registry: Registry) -> RunConfig:
    """Return the configuration that `RunConfig.to_dict` gave. Raises OptionError saying what does not fit."""
    return complete(convert(data, RunConfig), registry)


def convert(data: Any, kind: type[T]) -> T:
    """Return plain data as one of the groups, or all of them. Raises OptionError saying what does not fit."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise OptionError(f"these are not the settings of a run: {error}") from error


def kind_of_dataset(use: Use, registry: Registry) -> tuple[Use, ImageKind]:
    """Return a dataset with the kind of its images found and kept in its options, and the kind."""
    spec, argument = registry.dataset(use.name)
    kind = spec.kind_of(options_of(use, "dataset", registry), argument)
    if spec.like == kind:
        return use, kind
    return replace(use, options={**use.options, "like": kind}), kind


def configure(
    registry: Registry,
    *,
    method: str,
    dataset: str = "fashion-mini",
    ipc: int = 10,
    protocol: str | None = None,
    settings: Settings = (),
    without: Sequence[str] = (),
    **own: Any,
) -> RunConfig:
    """Resolve names and settings into a configuration.

    method, dataset, protocol: names; by default the method's own protocol.
    ipc: images per class; also chooses the method's settings for a number of images per class.
    settings: pairs of dotted key and value; a value may be text, as it comes from a command line.
    without: names of targets or regularizers to leave out.
    own: other options with a name of their own: seed, validation, students, reference, device, precision, data_dir.

    Raises UnknownNameError or OptionError, which list the valid names and the nearest.
    """
    given = pairs_of(settings)
    for key, _ in given:
        if key in OWN_OPTIONS:
            raise OptionError(
                f"{key!r} is an option of its own (--{key.replace('_', '-')}), not one for --set"
            )
    found = registry.method(method)
    spec, _ = registry.dataset(dataset)
    use = Use(name=dataset)
    for key, value in given:
        if key.startswith("dataset."):
            use = assign(_Data(dataset=use), key, value, registry).dataset
    use, kind = kind_of_dataset(use, registry)
    config = RunConfig(
        recipe=Recipe(
            method=found.name,
            dataset=use,
            initializer=found.initializer,
            targets=found.targets,
            regularizers=found.regularizers,
            recover=found.recover,
            teacher=found.teacher,
        ),
        evaluation=Evaluation(
            protocol=registry.protocol(protocol or found.protocol),
            student=found.student,
            evaluator=found.evaluator,
        ),
    )
    config = assign(config, "ipc", ipc, registry)
    presets = (*spec.settings_for(kind), *found.settings_for(spec.name, kind, ipc))
    for key, value in (*presets, *given, *own.items()):
        config = assign(config, key, value, registry)
    for name in without:
        config = _leave_out(config, name)
    recipe = config.recipe
    if recipe.recover.iterations and not recipe.targets:
        raise OptionError(
            f"recover takes {recipe.recover.iterations} steps, and no target is left to match; add one, e.g. "
            "--set targets.cross-entropy=1, or keep the initial images with --iterations 0"
        )
    return complete(config, registry)


@dataclass(frozen=True, kw_only=True)
class _Data:
    """A dataset alone, for settings that have to be known before all others."""

    dataset: Use


def _leave_out(config: RunConfig, name: str) -> RunConfig:
    recipe = config.recipe
    if name not in recipe.losses:
        raise unknown_name(f"component of {recipe.method}", name, recipe.losses)
    targets, regularizers = (
        {other: weighted for other, weighted in losses.items() if other != name}
        for losses in (recipe.targets, recipe.regularizers)
    )
    return replace(config, recipe=replace(recipe, targets=targets, regularizers=regularizers))


def run_path(recipe: Recipe, out: Path, name: str | None, *, resume: bool) -> Path:
    """Return the run directory: `out`/`name`, or a name made of the recipe with a number if that is taken.

    Raises OptionError for a name that is not one folder name.
    """
    if name:
        if Path(name).name != name or name == "..":
            raise OptionError(f"name {name!r} must be one folder name; choose the folder above it with --out")
        return out / name
    stem = f"{recipe.method}-{_file_name(recipe.dataset.name)}-ipc{recipe.ipc}-seed{recipe.seed}"
    if resume:
        return out / stem
    candidate, number = out / stem, 2
    while candidate.exists():
        candidate, number = out / f"{stem}-{number}", number + 1
    return candidate


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text).strip("-")[:60]
