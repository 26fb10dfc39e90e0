"""The configuration of a run: a method, a dataset and the user's settings, resolved into one piece of data.

Settings are dotted keys. They are applied in this order, later ones winning: the method's own, what the dataset
says for every method, the method's preset for the dataset, the user's. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from condense.errors import OptionError, unknown_name
from condense.recipe.method import (
    AS_THE_PROTOCOL_SAYS,
    SAME_AS_TEACHER,
    Recover,
    Student,
    Teacher,
    Use,
    check_distinct,
)
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.settings import assign, complete


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run computes; saved in run.json, from which the run can be repeated.

    ipc: images per class. students: how many are trained; 0 skips the evaluation. reference: whether random
    real images of equal ipc are evaluated beside. device: "auto", "cpu", "cuda", ... precision: "auto", "bf16"
    or "fp32". validation: the share of the training images that stands in for the test images, for tuning; 0 for
    the real test images. The rest is the recipe: see `condense.recipe.method`.
    """

    method: str
    dataset: Use
    initializer: Use
    targets: tuple[Use, ...]
    regularizers: tuple[Use, ...]
    recover: Recover
    teacher: Teacher
    student: Student
    protocol: Protocol
    evaluator: Use
    data_dir: str = ""
    ipc: int = 10
    seed: int = 0
    students: int = 3
    reference: bool = True
    device: str = "auto"
    precision: str = "auto"
    validation: float = 0.0

    def __post_init__(self) -> None:
        check_distinct(self.targets + self.regularizers)
        if self.ipc < 1:
            raise ValueError(f"images per class must be at least 1, not {self.ipc}")
        if self.students < 0:
            raise ValueError(f"students must be 0 or more, not {self.students}")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation must lie in [0, 1), not {self.validation}")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ValueError(f"precision must be auto, bf16 or fp32, not {self.precision!r}")

    def to_dict(self) -> dict[str, Any]:
        """As plain dictionaries, lists and numbers, for JSON."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def without_places(self) -> RunConfig:
        """The configuration as it may be passed on: where its maker keeps files is nobody's business."""
        return replace(
            self,
            data_dir="",
            dataset=replace(self.dataset, name=dataset_label(self.dataset.name)),
            teacher=replace(self.teacher, checkpoint=""),
        )

    @property
    def student_model(self) -> Use:
        """The network that students really are."""
        use = self.student.model
        return self.network_of(self.protocol.model if use.name == AS_THE_PROTOCOL_SAYS else use)

    @property
    def teacher_seed(self) -> int:
        """The seed of the teacher's weights and training."""
        return self.seed if self.teacher.seed is None else self.teacher.seed

    def network_of(self, use: Use) -> Use:
        """`use`, or a fresh network like the teacher where it stands for that; like an ensemble's first member."""
        if use.name != SAME_AS_TEACHER:
            return use
        teacher = self.teacher.model
        members = teacher.options.get("members") if teacher.name == "ensemble" else None
        if members:
            return Use(name=members[0])
        if teacher.options.get("pretrained"):
            return replace(teacher, options={**teacher.options, "pretrained": False})
        return teacher

    @property
    def components(self) -> tuple[Use, ...]:
        """The targets, then the regularizers."""
        return self.targets + self.regularizers


def dataset_label(name: str) -> str:
    """A dataset's name without the folders above it: "folder:/home/me/pets" as "folder:pets"."""
    kind, _, argument = name.partition(":")
    return f"{kind}:{Path(argument).name}" if argument else kind


def config_from_dict(data: Mapping[str, Any], registry: Registry) -> RunConfig:
    """The inverse of `RunConfig.to_dict`. Raises OptionError saying what does not fit."""
    try:
        config = msgspec.convert(data, RunConfig)
    except msgspec.ValidationError as error:
        raise OptionError(f"this is not the configuration of a run: {error}") from error
    return complete(config, registry)


def resolve(
    registry: Registry,
    *,
    method: str,
    dataset: str = "fashion-mini",
    ipc: int = 10,
    protocol: str | None = None,
    settings: Iterable[tuple[str, Any]] = (),
    without: Sequence[str] = (),
) -> RunConfig:
    """Resolve names and settings into a configuration.

    ipc: decides which of the method's settings for a number of images per class count.
    settings: pairs of dotted key and value; a value may be a string, as it comes from a command line.
    without: names of targets or regularizers to leave out.
    Raises UnknownNameError or OptionError, which list the valid names and the nearest.
    """
    recipe = registry.method(method)
    spec, _ = registry.dataset(dataset)
    config = RunConfig(
        method=recipe.name,
        dataset=Use(name=dataset),
        initializer=recipe.initializer,
        targets=recipe.targets,
        regularizers=recipe.regularizers,
        recover=recipe.recover,
        teacher=recipe.teacher,
        student=recipe.student,
        protocol=registry.protocol(protocol or recipe.protocol),
        evaluator=recipe.evaluator,
    )
    config = assign(config, "ipc", ipc, registry)
    for key, value in (*spec.settings.items(), *recipe.settings_for(spec.name, ipc).items(), *settings):
        config = assign(config, key, value, registry)
    for name in without:
        config = _leave_out(config, name)
    if config.recover.iterations and not config.targets:
        raise OptionError(
            f"{config.recover.iterations} iterations of recover and no target to match; add one, e.g. "
            "--set targets.cross-entropy=1, or keep the initial images with --iterations 0"
        )
    return complete(config, registry)


def _leave_out(config: RunConfig, name: str) -> RunConfig:
    names = [use.name for use in config.components]
    if name not in names:
        raise unknown_name(f"component of {config.method}", name, names)
    targets = tuple(use for use in config.targets if use.name != name)
    regularizers = tuple(use for use in config.regularizers if use.name != name)
    return replace(config, targets=targets, regularizers=regularizers)


def configure(
    registry: Registry,
    *,
    method: str,
    dataset: str = "fashion-mini",
    ipc: int = 10,
    protocol: str | None = None,
    settings: Sequence[tuple[str, Any]] = (),
    without: Sequence[str] = (),
    **run_settings: Any,
) -> RunConfig:
    """The resolved configuration; `run_settings` are fields of RunConfig such as seed and students."""
    for key, _ in settings:
        if key in run_settings or key in ("method", "dataset", "ipc"):
            raise OptionError(
                f"{key!r} is an option of its own (--{key.replace('_', '-')}), not one for --set"
            )
    config = resolve(
        registry,
        method=method,
        dataset=dataset,
        ipc=ipc,
        protocol=protocol,
        settings=settings,
        without=without,
    )
    for key, value in run_settings.items():
        config = assign(config, key, value, registry)
    return config


def run_path(config: RunConfig, out: Path, name: str | None, *, resume: bool) -> Path:
    """The run directory. A name that was chosen is taken as it is; one that is made up avoids those taken."""
    if name:
        if Path(name).name != name or name == "..":
            raise OptionError(f"name {name!r} must be one folder name; choose the folder above it with --out")
        return out / name
    stem = f"{config.method}-{_file_name(config.dataset.name)}-ipc{config.ipc}-seed{config.seed}"
    if resume:
        return out / stem
    candidate, number = out / stem, 2
    while candidate.exists():
        candidate, number = out / f"{stem}-{number}", number + 1
    return candidate


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in text).strip("-")[:60]
