"""The configuration of a run, in three groups: what is distilled, how it is judged, and where that is computed."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from condense.errors import checked_path
from condense.recipe.fields import checked
from condense.recipe.method import (
    AS_THE_PROTOCOL_SAYS,
    IDENTITY,
    IMPORTED,
    SAME_AS_TEACHER,
    Losses,
    Pool,
    Recover,
    Student,
    Teacher,
    Use,
    check_losses,
)
from condense.recipe.protocol import Protocol
from condense.recipe.selection import Selection

# Beyond these, a number is a slip of the hand.
_MOST_PER_CLASS, _MOST_STUDENTS, MOST_PROCESSES = 10**6, 10_000, 1024
# Between the name of a library and the folder of one of its networks.
_LOCAL = ":local-dir:"
# The kind of the datasets that Hugging Face's `datasets` reads: "hf:OWNER/NAME" or "hf:./PATH".
HUB = "hf"
_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:\d{1,3})?")
_PRECISIONS: tuple[Literal["bf16", "fp32"], ...] = ("bf16", "fp32")


def digest(value: Any) -> str:
    """Return the SHA-256 of plain data or dataclasses, in hexadecimal."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


@checked
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is distilled: everything that decides the distilled images, given a kind of machine.

    method: the name of the method that this started as.
    dataset, initializer, targets, regularizers, recover, teacher, pool, parametrization, select: the parts, with all
        settings resolved.
    judge: how the students of `select` are trained, for `select.epochs`: the protocol of the method.
        None where `select` has no students.
    ipc: stored images per class, at least 1.
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
    pool: Pool = field(default_factory=Pool)
    parametrization: Use = field(default_factory=lambda: Use(name=IDENTITY))
    select: Selection = field(default_factory=Selection)
    judge: Protocol | None = None
    ipc: int = 10
    seed: int = 0
    validation: float = 0.0

    def __post_init__(self) -> None:
        check_losses(self.targets, self.regularizers)
        checked_path(self.teacher.checkpoint)
        if not 1 <= self.ipc <= _MOST_PER_CLASS:
            raise ValueError(f"images per class must lie between 1 and {_MOST_PER_CLASS}, not {self.ipc}")
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
        """The SHA-256 of these settings. Equal recipes give equal images on machines of one kind.

        The order of the losses counts, because they draw from generators by their position.
        """
        judge = self.judge and replace(self.judge, name="any", summary="", source="")
        settled = replace(self, teacher=replace(self.teacher, seed=self.teacher_seed), judge=judge)
        return digest([decisive(settled), list(self.losses)])

    @property
    def random_network(self) -> Use:
        """The network of losses that look through a random one."""
        return network_like(self.recover.network, self.teacher)

    @property
    def pool_network(self) -> Use:
        """The network of the pool."""
        return network_like(self.pool.model, self.teacher)

    @property
    def judge_network(self) -> Use | None:
        """The network of the students that select images, or None if none do."""
        return network_like(self.judge.model, self.teacher) if self.judge else None


def decisive(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data without what no result depends on."""
    data: dict[str, Any] = msgspec.to_builtins(recipe)
    del data["teacher"]["check"]
    if not recipe.select.students:
        del data["select"], data["judge"]
    return data


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

    The same holds for the weights of a network in a folder, "timm:local-dir:PATH". A path without a file stays as it
    is; loading it says what is wrong.
    """
    library, local, folder = teacher.model.name.partition(_LOCAL)
    weights = Path(folder) / "model.safetensors"
    if local and weights.is_file():
        teacher = replace(teacher, model=replace(teacher.model, name=f"{library}{local}{_content(weights)}"))
    path = Path(teacher.checkpoint)
    if not teacher.checkpoint or not path.is_file():
        return teacher
    return replace(teacher, checkpoint=_content(path))


def _content(file: Path) -> str:
    return _file_digest(file, file.stat().st_mtime_ns)[:32]


def placeless(initializer: Use) -> Use:
    """Return the initializer without the folder of imported images, which are known by their content."""
    if initializer.name != IMPORTED:
        return initializer
    return replace(initializer, options={**initializer.options, "path": ""})


@functools.cache
def _file_digest(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@checked
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a distilled dataset is judged.

    protocol: how students are trained. student: their network. evaluator: the component that measures.
    students: how many are trained, 0 or more. reference: whether random real images of equal ipc are judged too.

    Raises ValueError for a negative number of students, or for none that are trained together.
    """

    protocol: Protocol
    student: Student = field(default_factory=Student)
    evaluator: Use = field(default_factory=lambda: Use(name="students"))
    students: int = 3
    reference: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.students <= _MOST_STUDENTS:
            raise ValueError(f"students must lie between 0 and {_MOST_STUDENTS}, not {self.students}")
        if self.student.together < 1:
            raise ValueError(f"student.together must be at least 1, not {self.student.together}")

    @property
    def hash(self) -> str:
        """The SHA-256 of everything that decides a student's score, given a recipe and a kind of machine.

        The number of students and the protocol's name and description do not count.
        """
        protocol = replace(self.protocol, name="any", summary="", source="")
        return digest(_told(replace(self, protocol=protocol, students=0, reference=False)))

    @property
    def label(self) -> str:
        """A name for files: protocol, epochs and part of the hash, such as "fkd-300-0123456789"."""
        return f"{self.protocol.name}-{self.protocol.epochs}-{self.hash[:10]}"

    def student_network(self, teacher: Teacher) -> Use:
        """Return the network that students are, with the names "protocol" and "teacher" resolved."""
        use = self.student.model
        return network_like(self.protocol.model if use.name == AS_THE_PROTOCOL_SAYS else use, teacher)


@checked
@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a run is computed.

    device: "auto", "cpu", "cuda", "cuda:1", "mps". precision: "auto", "bf16" or "fp32".
    data_dir: the folder of datasets; "" for the default.
    loaders: processes that decode images from files; None chooses by the cores. They change no result.
    jpeg_decoder: "cpu" or "cuda": what decodes JPEG files that are read at each pass. Their pixels differ.
    keep_minutes: after how many minutes the next epoch of an unfinished training, or the next step of an unfinished
        recovery, is kept for a resumed run; 0 keeps every one. It changes no result.
    compile: "on" compiles the passes of networks in recover and in students' training, which changes the last bits.
        "auto" compiles where there are enough steps to pay for it, and "off" nothing. "graphs" is "on" with the kernels
        of a pass captured as one CUDA graph.

    Raises ValueError for another device, precision or decoder, or a negative number of processes or minutes.
    """

    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    data_dir: str = ""
    loaders: int | None = None
    jpeg_decoder: Literal["cpu", "cuda"] = "cpu"
    keep_minutes: float = 5.0
    compile: Literal["auto", "on", "off", "graphs"] = "auto"

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, not {self.device!r}")
        if self.loaders is not None and not 0 <= self.loaders <= MOST_PROCESSES:
            raise ValueError(f"loaders must lie between 0 and {MOST_PROCESSES}, not {self.loaders}")
        if self.keep_minutes < 0:
            raise ValueError(f"keep_minutes must be 0 or more, not {self.keep_minutes}")
        checked_path(self.data_dir)

    @property
    def hash(self) -> str:
        """The SHA-256 of the kind of machine: type of device, precision and JPEG decoder, not the device's index.

        What is compiled depends on the work too; `condense.runtime.compile_for` says it.
        """
        decoder = ["cuda decodes JPEG"] if self.jpeg_decoder == "cuda" else []
        return digest([self.device.partition(":")[0], self.precision, *decoder])

    def kinds(self) -> list[Machine]:
        """Return the machines that these settings can stand for, without asking which devices there are."""
        devices = ("cpu", "cuda", "mps") if self.device == "auto" else (self.device,)
        precisions = _PRECISIONS if self.precision == "auto" else (self.precision,)
        return [
            replace(self, device=device, precision=precision)
            for device in devices
            for precision in precisions
        ]


@checked
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


def public_settings(recipe: Recipe, evaluation: Evaluation) -> dict[str, Any]:
    """Return both groups as plain data without paths of this machine, to be passed on with a distilled dataset."""
    shown = replace(
        recipe,
        dataset=replace(recipe.dataset, name=dataset_label(recipe.dataset.name)),
        initializer=placeless(recipe.initializer),
        teacher=replace(recipe.teacher, checkpoint="", model=_without_folders(recipe.teacher.model)),
        recover=replace(recipe.recover, network=_without_folders(recipe.recover.network)),
        pool=replace(recipe.pool, model=_without_folders(recipe.pool.model)),
        judge=recipe.judge and _public(recipe.judge),
    )
    judged = replace(
        evaluation,
        student=replace(evaluation.student, model=_without_folders(evaluation.student.model)),
        protocol=_public(evaluation.protocol),
    )
    return {"recipe": decisive(shown), "evaluation": _told(judged)}


def _told(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data, without `student.together` for students that are trained alone."""
    data: dict[str, Any] = msgspec.to_builtins(evaluation)
    if evaluation.student.together == 1:
        del data["student"]["together"]
    return data


def _public(protocol: Protocol) -> Protocol:
    return replace(protocol, model=_without_folders(protocol.model))


def _without_folders(use: Use) -> Use:
    """Return a network without the folders above its own: "timm:local-dir:/home/me/net" as "timm:local-dir:net"."""
    library, local, path = use.name.partition(_LOCAL)
    return replace(use, name=f"{library}{local}{Path(path).name}") if local else use


def dataset_label(name: str) -> str:
    """Return a dataset's name without the folders above it: "folder:/home/me/pets" as "folder:pets".

    A name on the hub, "hf:OWNER/NAME", stays whole, and "hf:/home/me/pets" stays a path, "hf:./pets".
    """
    kind, _, argument = name.partition(":")
    if kind == HUB and argument:
        return f"{kind}:./{Path(argument).name}" if is_path(argument) else name
    return f"{kind}:{Path(argument).name}" if argument else kind


def is_path(argument: str) -> bool:
    """Return whether what follows "hf:" is a path: it starts with a dot, a slash, ~ or a drive. Else it is a name."""
    return argument.startswith((".", "/", "~", "\\")) or argument[1:2] == ":"
