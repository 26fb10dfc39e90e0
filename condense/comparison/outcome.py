"""The raw results of a comparison as plain data, from which its table, chart and page are made.

A comparison has rows (a method, or a method with other settings) and columns (a protocol with a training length).
For every images-per-class and seed, a row is distilled once; students are then trained on it for every column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from condense.recipe.published import Published

Kind = Literal["compare", "sweep", "ablate"]
# "score": the protocol as it is. "hard": the protocol with hard labels. "plain": the protocol without augmentation.
# "hard" and "plain" serve DD-Ranking's scores alone; readers do not see them as columns.
Role = Literal["score", "hard", "plain"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method with the settings that this row changes.

    label: unique, for people, e.g. "wmdd" or "wmdd class-batchnorm=0.1".
    method: the method's name.
    settings: what the row changes of the method, by dotted key.
    without: the components that the row leaves out.
    summary, source: the method's own.
    teacher: the teacher's network where rows have different teachers, else "". The label ends with it.
    published: what was published for the method on the dataset of the comparison, with its images per class.
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    summary: str = ""
    source: str = ""
    teacher: str = ""
    published: tuple[Published, ...] = ()

    @property
    def stem(self) -> str:
        """The label without the teacher, which rows of several teachers have in common."""
        return self.label.removesuffix(_TEACHER.format(self.teacher)) if self.teacher else self.label


_TEACHER = " teacher={}"


def under_teacher(stem: str, teacher: str) -> str:
    """Return the label of a row under a teacher: "wmdd teacher=resnet18"; "" stands for the one teacher of all rows."""
    return stem + _TEACHER.format(teacher) if teacher else stem


@dataclass(frozen=True, kw_only=True)
class Column:
    """A protocol with a training length.

    key: unique, e.g. "fkd@300" or "fkd@300/hard".
    protocol: the protocol's name.
    epochs: length of a student's training, with a whole schedule of its own.
    labels: "hard", "soft" or "online".
    student: the student's network.
    role: see `Role`.
    """

    key: str
    protocol: str
    epochs: int
    labels: str
    student: str
    role: Role = "score"


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """The images of one row, images-per-class and seed.

    row: the row's label.
    ipc: images per class.
    seed: of the run.
    path: the run directory, relative to the comparison's folder.
    grid: the picture of the images in the run directory, relative to the comparison's folder.
    seconds: by stage, without the training of the teacher; empty for images that were made elsewhere.
    bytes: of "images" and "labels" in the run's artifact.
    settings: the resolved configuration, nested.
    kept: what the images are, if students chose them among candidates, else "".
    failure: why there are no images, or "".
    """

    row: str
    ipc: int
    seed: int
    path: str = ""
    grid: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    kept: str = ""
    failure: str = ""

    @property
    def distil_seconds(self) -> float | None:
        """The seconds of the stages measure, recover and select together; None for images that were made elsewhere."""
        if not self.seconds:
            return None
        return sum(self.seconds.get(stage, 0.0) for stage in ("measure", "recover", "select"))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The students of one row, images-per-class, seed and column.

    row: the row's label.
    ipc: images per class.
    seed: of the run that made the images.
    column: the column's key.
    accuracies: (students,) in [0, 1], by the student's number; the student of one seed and number starts from the
        same weights in every row.
    steps: of one student's training.
    seconds: to train and test one student, mean.
    bytes: of "images", "labels" and "teacher", which this training needs stored.
    failure: why there are no students, or "".
    """

    row: str
    ipc: int
    seed: int
    column: str
    accuracies: tuple[float, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    bytes: Mapping[str, int] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class TeacherFacts:
    """A teacher of a comparison.

    model: the teacher's network.
    accuracy: on the test images, in [0, 1]; the ceiling, because the teacher learned from all real images.
    seconds: to train the teacher, 0 if it was there already.
    hash: of everything that determines the teacher.
    bytes: of the teacher's file.
    """

    model: str
    accuracy: float
    seconds: float
    hash: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A whole comparison; `condense.comparison.report` turns it into compare.json, .md, .png and .html.

    name: of the comparison's folder.
    kind: the command that made it.
    dataset: its name as users write it.
    classes: how many classes the dataset has.
    images: how many images the real training split has.
    bytes: of these images as 8-bit pixels, for the compression ratio.
    ipcs: the numbers of images per class.
    seeds: each row is distilled once with every seed.
    students: how many students are trained for each seed and column.
    rows: in the order given; the others are compared to the first.
    columns: those of all roles.
    distilled, cells: what is done so far, failures included.
    teacher: the one teacher, or that of the first row; None before it is known.
    teachers: by `Row.teacher`, where rows have different teachers; else empty.
    reference: the method whose rows are random real images, or "".
    validation: the fraction of the training images that replaces the test images; 0 means the test images.
    command: repeats the comparison.
    notes: what the user should know.
    versions: of the software, by name.
    finished: False while work is left.
    """

    name: str
    kind: Kind
    dataset: str
    classes: int
    images: int
    bytes: int
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...]
    students: int
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    distilled: tuple[Distilled, ...] = ()
    cells: tuple[Cell, ...] = ()
    teacher: TeacherFacts | None = None
    reference: str = ""
    validation: float = 0.0
    command: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    finished: bool = False
    teachers: Mapping[str, TeacherFacts] = field(default_factory=dict)

    def teacher_of(self, row: Row) -> TeacherFacts | None:
        """Return the teacher of a row; None before it is known."""
        return self.teachers.get(row.teacher) if row.teacher else self.teacher

    @property
    def references(self) -> tuple[str, ...]:
        """The labels of the rows of random real images: one for each teacher."""
        return tuple(row.label for row in self.rows if self.reference and row.stem == self.reference)

    @property
    def failures(self) -> tuple[Distilled | Cell, ...]:
        """What failed: first of the distilled images, then of the cells."""
        parts: tuple[Distilled | Cell, ...] = (*self.distilled, *self.cells)
        return tuple(part for part in parts if part.failure)
