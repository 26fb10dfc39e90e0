"""What a comparison found, as plain data: everything that its table, chart and page are made from.

A comparison has rows (a method, or a method with other settings), and columns (a protocol with a training length).
For every images-per-class and seed a row is distilled once, and students are trained on it for every column.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["compare", "sweep", "ablate"]
# "score": as the protocol has it. "hard": its hard labels. "plain": without augmentation. The last two are there
# for DD-Ranking's scores alone, and are not shown as columns of their own.
Role = Literal["score", "hard", "plain"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """label: unique, for people, e.g. "wmdd" or "wmdd class-batchnorm=0.1". method: its name; settings: dotted key
    to value, what this row changes of the method; without: components it leaves out. summary, source: the method's.
    """

    label: str
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    summary: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """key: unique, e.g. "fkd@300" or "fkd@300/hard". protocol: its name. epochs: of a student's training, with a
    whole schedule of its own. labels: hard, soft or online. student: the student's network. role: see `Role`.
    """

    key: str
    protocol: str
    epochs: int
    labels: str
    student: str
    role: Role = "score"


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """One row distilled at one images-per-class with one seed.

    path: the run directory, relative to the comparison's. grid: the picture in it, relative too. seconds: by stage,
    without the teacher's. bytes: "images" and "labels", as the run's artifact has them. settings: the resolved
    configuration, nested. failure: why there is none of this, or "".
    """

    row: str
    ipc: int
    seed: int
    path: str = ""
    grid: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def distil_seconds(self) -> float:
        """To measure and recover, without the teacher."""
        return sum(self.seconds.get(stage, 0.0) for stage in ("measure", "recover"))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The students of one row, images-per-class, seed and column.

    accuracies: in [0, 1], one for each student, in the order of their numbers: student s of seed r starts from the
    same weights in every row. steps: of one student's training. seconds: to train and test one, mean.
    bytes: "images", "labels" and "teacher", what someone must store to train this way. failure: why there are none,
    or "".
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
    """The one teacher of a comparison. accuracy: on the test images, in [0, 1]: the ceiling, for it has learned from
    all real images. seconds: to train it, 0 where it was there already. hash: of what made it. bytes: of its file.
    """

    model: str
    accuracy: float
    seconds: float
    hash: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A whole comparison; `condense.comparison` turns it into compare.json, .md, .png and .html.

    name: of its folder. dataset: as users name it. images: of the real training split; bytes: of those images as
    8-bit pixels, for the compression ratio. classes: how many. rows: in the order given; the first is the one that
    others are compared to. floor: the label of the row of random real images, "" for none. validation: the share of
    training images tested on instead of the test images, 0 for the test images. command: how to repeat it.
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
    floor: str = ""
    validation: float = 0.0
    command: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    finished: bool = False

    @property
    def failures(self) -> tuple[Distilled | Cell, ...]:
        """What did not work, in order."""
        parts: tuple[Distilled | Cell, ...] = (*self.distilled, *self.cells)
        return tuple(part for part in parts if part.failure)
