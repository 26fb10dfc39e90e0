"""The options of a comparison, apart from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from condense.errors import OptionError, checked_path
from condense.recipe.fields import checked
from condense.recipe.networks import split_networks
from condense.recipe.registry import Registry
from condense.recipe.settings import Settings
from condense.runtime import Reporter

# The file of a comparison with its raw results and its table.
RESULTS = "compare.json"
# Folders that all comparisons below one --out share.
CELLS, TEACHERS, DATASETS = "cells", "teachers", "datasets"
# Beyond these, a number is a slip of the hand.
_MOST, _MOST_LISTED = 1000, 100
_TAKEN = (CELLS, TEACHERS, DATASETS)


class TermOptions(TypedDict, total=False):
    """The options of a comparison, apart from its rows; `terms_of` has the defaults.

    dataset: its name.
    ipc: images per class, one number or several.
    seeds: how many seeds, from `seed` on; every row is distilled once for each.
    students: trained for each seed.
    protocol: one name or several, each a column; by default that of the first method that makes its images. Those that
        choose real ones, such as random and medoids, decide only among themselves.
    epochs: epochs of a student's training, by default the protocol's. Each of several numbers is a column of
        its own, with the whole schedule.
    student: the students' network, such as "resnet18" or "convnet(width=64)"; by default the protocol's. Each of
        several networks, in a list or with commas between them, is a column of its own.
    teacher_model: the teacher's network; by default the dataset's. With several networks, in a list or with commas
        between them, every row is there once for each teacher.
    scores: whether to train the additional students that DD-Ranking's scores need.
    validation: the fraction of the training images that replaces the test images, for tuning.
    name: the name of the folder of the tables; by default made from the rest.
    data_dir, device, precision, loaders, jpeg_decoder, compile, keep_minutes: as in `condense.run`.
    """

    dataset: str
    ipc: int | Sequence[int]
    seeds: int
    seed: int
    students: int
    protocol: str | Sequence[str]
    epochs: int | Sequence[int]
    student: str | Sequence[str]
    teacher_model: str | Sequence[str]
    scores: bool
    validation: float
    name: str | None
    data_dir: str | Path | None
    device: str
    precision: str
    loaders: int | None
    jpeg_decoder: str
    keep_minutes: float
    compile: str


class ComparisonOptions(TermOptions, total=False):
    """The options of `condense.compare`, `sweep` and `ablate`: those of `TermOptions` and these.

    settings: dotted keys to values. They apply to all rows or, as "METHOD:KEY", to the rows of one method. Of those
        for all rows, the reference takes those of `parametrization` alone, and imported images take none. In a sweep
        a value may list several: "0.1,1", or a list.
    reference: whether random real images are a row too, if they are not named.
    out: the folder that comparisons share: out/cells, out/teachers, and out/NAME for the tables. Finished
        work there is used again, and unfinished work goes on.
    jobs: processes that work side by side and share the cores; short for the executor "processes" with as many workers.
    executor, workers, address: who does the pieces of all cells, as in `condense.run`.
    reporter: is told about the progress.
    registry: what plugins offer; by default the installed ones.
    """

    settings: Settings
    reference: bool
    out: str | Path
    jobs: int
    executor: str
    workers: int | None
    address: str
    reporter: Reporter | None
    registry: Registry | None


@checked
@dataclass(frozen=True, kw_only=True)
class Terms:
    """The options of a comparison, apart from its rows; the fields of `TermOptions`, checked.

    networks, teachers: the students' and the teachers' networks, one text for each.

    Raises OptionError for a number below its minimum, an ipc that is given twice or a name that cannot be a
    folder.
    """

    dataset: str
    ipcs: tuple[int, ...]
    seeds: int
    seed: int
    students: int
    protocols: tuple[str, ...]
    epochs: tuple[int, ...]
    networks: tuple[str, ...]
    teachers: tuple[str, ...]
    scores: bool
    validation: float
    name: str | None
    data_dir: str
    device: str
    precision: str
    loaders: int | None
    jpeg_decoder: str
    keep_minutes: float
    compile: str

    def __post_init__(self) -> None:
        for what, value in (("seeds", self.seeds), ("students", self.students)):
            if not 1 <= value <= _MOST:
                raise OptionError(f"{what} must lie between 1 and {_MOST}, not {value}")
        for what, listed in (("images per class", self.ipcs), ("numbers of epochs", self.epochs)):
            if len(listed) > _MOST_LISTED:
                raise OptionError(f"{len(listed)} {what} are more than {_MOST_LISTED}; split the comparison")
        if not self.ipcs:
            raise OptionError("no images per class were given; write for example --ipc 1,10")
        for ipc in self.ipcs:
            if ipc < 1:
                raise OptionError(f"images per class must be at least 1, not {ipc}")
            if self.ipcs.count(ipc) > 1:
                raise OptionError(f"{ipc} images per class stand twice")
        name = self.name
        if name is not None and (not name or Path(name).name != name or name == ".." or name in _TAKEN):
            raise OptionError(
                f"name {name!r} must be one folder name, and none of {', '.join(_TAKEN)}; choose the folder above it "
                "with --out"
            )
        checked_path(name or "")


def terms_of(
    *,
    dataset: str = "fashion-mini",
    ipc: int | Sequence[int] = 10,
    seeds: int = 3,
    seed: int = 0,
    students: int = 1,
    protocol: str | Sequence[str] = (),
    epochs: int | Sequence[int] = (),
    student: str | Sequence[str] = (),
    teacher_model: str | Sequence[str] = (),
    scores: bool = True,
    validation: float = 0.0,
    name: str | None = None,
    data_dir: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    loaders: int | None = None,
    jpeg_decoder: str = "cpu",
    keep_minutes: float = 5.0,
    compile: str = "auto",
) -> Terms:
    """Return the checked terms of a comparison. Raises OptionError as `Terms` does, and for values of wrong types."""
    try:
        return Terms(
            dataset=dataset,
            ipcs=(ipc,) if isinstance(ipc, int) else tuple(ipc),
            seeds=seeds,
            seed=seed,
            students=students,
            protocols=(protocol,) if isinstance(protocol, str) else tuple(protocol),
            epochs=(epochs,) if isinstance(epochs, int) else tuple(epochs),
            networks=split_networks(student),
            teachers=split_networks(teacher_model),
            scores=scores,
            validation=validation,
            name=name,
            data_dir=str(data_dir or ""),
            device=device,
            precision=precision,
            loaders=loaders,
            jpeg_decoder=jpeg_decoder,
            keep_minutes=keep_minutes,
            compile=compile,
        )
    except ValueError as error:
        raise OptionError(str(error)) from error
