"""The table of a comparison, which the terminal, the files and the page all show."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from condense.comparison.evidence import Evidence
from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Row
from condense.comparison.statistics import BySeed, interval_over_seeds, paired_difference
from condense.engine.intervals import Interval
from condense.recipe.published import Published, closest


@dataclass(frozen=True, kw_only=True)
class Line:
    """The numbers of one row, images-per-class and column. Accuracies and differences are fractions.

    row, ipc, column: the row's label, the images per class and the column's key.
    count, seeds: how many students there are, from how many seeds.
    mean: over all students; None without any.
    interval: 95 %, over the seeds' means; over the students if the comparison has one seed; None for a single value.
    base: the row that this one is compared to, the first under the same teacher; "" for that row itself.
    difference, difference_interval: to `base`, paired by seed; None without a base and without a shared seed.
    excludes_zero: whether `difference_interval` excludes 0; None without an interval.
    paired: how many seeds the difference is over.
    teacher_difference, teacher_difference_interval, teacher_excludes_zero: the same for the difference to the same row
        under the first teacher; None for the rows of the first teacher and where all rows have one teacher.
    best: whether this mean is the highest under its teacher and its lead over the next row there has an interval that
        excludes 0.
    published: what was published for the row's method on the dataset with so many images per class, with the column's
        student if there is a figure for it.
    lrs, ars: DD-Ranking's scores in [0, 1]; None if something they need is missing.
    distil_seconds: to measure and recover, mean over seeds.
    train_seconds, steps: of one student's training, means.
    bytes: of images, labels and teacher together, mean over seeds.
    parts: the same by "images", "labels" and "teacher".
    compression: bytes of the real images over `bytes`.
    failure: what failed, with the seeds if other seeds did not fail, or "".
    """

    row: str
    ipc: int
    column: str
    count: int = 0
    seeds: int = 0
    base: str = ""
    mean: float | None = None
    interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    excludes_zero: bool | None = None
    paired: int = 0
    teacher_difference: float | None = None
    teacher_difference_interval: Interval | None = None
    teacher_excludes_zero: bool | None = None
    best: bool = False
    published: Published | None = None
    lrs: float | None = None
    ars: float | None = None
    distil_seconds: float | None = None
    train_seconds: float | None = None
    steps: int | None = None
    bytes: int | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    compression: float | None = None
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class Lead:
    """The row with the highest mean at one images-per-class and column, and its distance to the next row.

    If rows have different teachers, there is one for each teacher.

    ipc, column: the images per class and the column's key.
    row, next: the labels of the two rows.
    difference: of `row` to `next`, a fraction, paired by seed; None without a shared seed.
    interval: of the difference, 95 %; None with fewer than two shared seeds.
    clear: whether the difference is positive and its interval excludes 0.
    """

    ipc: int
    column: str
    row: str
    next: str
    difference: float | None
    interval: Interval | None
    clear: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The places where one row failed for one reason.

    row: the row's label.
    ipcs, seeds: every one of `ipcs` failed with every one of `seeds`.
    column: the column's key, or "" if there were no images to train on.
    reason: why it failed.
    """

    row: str
    ipcs: tuple[int, ...]
    column: str
    seeds: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The table of a comparison.

    rows: their labels.
    ipcs: the numbers of images per class.
    columns: those with the role "score".
    lines: one for each images-per-class, column and row, in this order.
    leads: one for each images-per-class, column and teacher with two rows or more that have an accuracy.
    failures: equal reasons together.
    first: the row that the others are compared to; its label without a teacher.
    references: the labels of the rows of random real images, one for each teacher.
    ceilings: each teacher's accuracy in [0, 1], by the teacher's network where there are several, else by "".
    """

    rows: tuple[str, ...]
    ipcs: tuple[int, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    leads: tuple[Lead, ...]
    failures: tuple[Failure, ...]
    first: str
    references: tuple[str, ...]
    ceilings: Mapping[str, float]

    @property
    def ceiling(self) -> float | None:
        """The accuracy of the one teacher; None before it is known, and where rows have different teachers."""
        return self.ceilings.get("")

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teachers' networks where rows have different ones, the first one first; else nothing."""
        return tuple(name for name in self.ceilings if name)

    @property
    def compares(self) -> bool:
        """Whether any row is compared to another one under the same teacher."""
        return any(line.base for line in self.lines)

    @property
    def scored(self) -> bool:
        """Whether any line has one of DD-Ranking's scores."""
        return any(line.lrs is not None or line.ars is not None for line in self.lines)

    def published(self, row: str, ipc: int, columns: Sequence[Column]) -> tuple[Published, ...]:
        """Return what was published for a row's method: one accuracy for each student of `columns`, each once.

        If none has a student of the columns, that is the one that the method names first.
        """
        found = [self.line(row, ipc, column.key).published for column in columns]
        return tuple(dict.fromkeys(one for one in found if one))

    def shows_published(self, ipc: int) -> bool:
        """Return whether any row has a published accuracy at one images-per-class."""
        return any(line.published for line in self.lines if line.ipc == ipc)

    def group(self, ipc: int, column: str) -> tuple[Line, ...]:
        """Return the lines of all rows at one images-per-class and column."""
        return tuple(line for line in self.lines if (line.ipc, line.column) == (ipc, column))

    def line(self, row: str, ipc: int, column: str) -> Line:
        """Return one line. Raises KeyError if the comparison does not have it."""
        for line in self.lines:
            if (line.row, line.ipc, line.column) == (row, ipc, column):
                return line
        raise KeyError((row, ipc, column))


def summarise(outcome: Outcome) -> Summary:
    """Return the table of a comparison, computed from its raw results."""
    evidence = Evidence(outcome)
    columns = tuple(column for column in outcome.columns if column.role == "score")
    groups = [
        [row.label for row in outcome.rows if row.teacher == teacher]
        for teacher in dict.fromkeys(row.teacher for row in outcome.rows)
    ]
    lines: list[Line] = []
    leads: list[Lead] = []
    for ipc in outcome.ipcs:
        for column in columns:
            found = [lead for rows in groups if (lead := _lead(evidence, rows, ipc, column))]
            leads += found
            best = {lead.row for lead in found if lead.clear}
            lines += [_line(evidence, row, ipc, column, best) for row in outcome.rows]
    return Summary(
        rows=tuple(row.label for row in outcome.rows),
        ipcs=outcome.ipcs,
        columns=columns,
        lines=tuple(lines),
        leads=tuple(leads),
        failures=_failures(outcome.failures),
        first=outcome.rows[0].stem if outcome.rows else "",
        references=outcome.references,
        ceilings={
            row.teacher: teacher.accuracy for row in outcome.rows if (teacher := outcome.teacher_of(row))
        },
    )


def _line(evidence: Evidence, of: Row, ipc: int, column: Column, best: Collection[str]) -> Line:
    outcome, row = evidence.outcome, of.label
    by_seed = evidence.accuracies(row, ipc, column)
    cells = evidence.trained(row, ipc, column)
    distilled = evidence.distilled[row, ipc]
    base, other = evidence.base_of(row), evidence.under_first_teacher(row)
    gap = None if row == base else paired_difference(by_seed, evidence.accuracies(base, ipc, column))
    of_teacher = paired_difference(by_seed, evidence.accuracies(other, ipc, column)) if other else None
    parts = _mean_parts(cells)
    stored = sum(parts.values())
    return Line(
        row=row,
        ipc=ipc,
        column=column.key,
        count=sum(map(len, by_seed.values())),
        seeds=len(by_seed),
        base="" if row == base else base,
        mean=_mean_of_students(by_seed),
        interval=interval_over_seeds(by_seed) if len(by_seed) > 1 or len(outcome.seeds) == 1 else None,
        difference=gap.mean if gap else None,
        difference_interval=gap.interval if gap else None,
        excludes_zero=gap.excludes_zero if gap else None,
        paired=gap.seeds if gap else 0,
        teacher_difference=of_teacher.mean if of_teacher else None,
        teacher_difference_interval=of_teacher.interval if of_teacher else None,
        teacher_excludes_zero=of_teacher.excludes_zero if of_teacher else None,
        best=row in best,
        published=closest((one for one in of.published if one.ipc == ipc), column.student),
        lrs=evidence.label_robust(row, ipc, column),
        ars=evidence.augmentation_robust(row, ipc, column),
        distil_seconds=_mean(
            found.distil_seconds
            for found in distilled
            if not found.failure and found.distil_seconds is not None
        ),
        train_seconds=_mean(cell.seconds for cell in cells),
        steps=round(statistics.fmean(cell.steps for cell in cells)) if cells else None,
        bytes=stored or None,
        parts=parts,
        compression=outcome.bytes / stored if stored else None,
        failure=_reasons((*distilled, *evidence.cells[row, ipc, column.key]), outcome.seeds),
    )


def _lead(evidence: Evidence, rows: Sequence[str], ipc: int, column: Column) -> Lead | None:
    """Return who leads among `rows`, or None if fewer than two of them have an accuracy."""
    found = {row: evidence.accuracies(row, ipc, column) for row in rows}
    means = {row: mean for row, by_seed in found.items() if (mean := _mean_of_students(by_seed)) is not None}
    if len(means) < 2:
        return None
    first, second, *_ = sorted(means, key=lambda row: -means[row])  # the sort keeps the order of equal rows
    gap = paired_difference(found[first], found[second])
    return Lead(
        ipc=ipc,
        column=column.key,
        row=first,
        next=second,
        difference=gap.mean if gap else None,
        interval=gap.interval if gap else None,
        # If a row lacks seeds, the mean over the shared seeds may favour the other row: then nobody leads.
        clear=bool(gap and gap.mean > 0 and gap.excludes_zero),
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def _mean_of_students(by_seed: BySeed) -> float | None:
    return _mean(accuracy for students in by_seed.values() for accuracy in students)


def _mean_parts(cells: Iterable[Cell]) -> dict[str, int]:
    """Return the bytes of each part, mean over seeds."""
    found = [cell.bytes for cell in cells if cell.bytes]
    names = dict.fromkeys(name for parts in found for name in parts)
    return {name: round(statistics.fmean(parts.get(name, 0) for parts in found)) for name in names}


def _reasons(parts: Iterable[Distilled | Cell], seeds: tuple[int, ...]) -> str:
    """Return each reason once; with its seeds if other seeds did not fail for it."""
    by_reason: dict[str, list[int]] = {}
    for part in parts:
        if part.failure and part.seed not in by_reason.setdefault(part.failure, []):
            by_reason[part.failure].append(part.seed)
    texts = []
    for reason, found in by_reason.items():
        which = f"seed{'s' if len(found) > 1 else ''} {', '.join(map(str, found))}: "
        texts.append(reason if set(found) >= set(seeds) else which + reason)
    return "; ".join(texts)


def _failures(parts: Iterable[Distilled | Cell]) -> tuple[Failure, ...]:
    """Return the failures: the seeds of equal reasons together, then the images-per-class with the same seeds."""
    seeds: dict[tuple[str, int, str, str], list[int]] = {}
    no_images: set[tuple[str, int, int]] = set()
    for part in parts:
        column = part.column if isinstance(part, Cell) else ""
        place = (part.row, part.ipc, part.seed)
        if not column:
            no_images.add(place)
        elif place in no_images:  # students need images, so the failure of the images says it all
            continue
        seeds.setdefault((part.row, part.ipc, column, part.failure), []).append(part.seed)
    ipcs: dict[tuple[str, str, str, tuple[int, ...]], list[int]] = {}
    for (row, ipc, column, reason), found in seeds.items():
        ipcs.setdefault((row, column, reason, tuple(found)), []).append(ipc)
    return tuple(
        Failure(row=row, ipcs=tuple(found), column=column, seeds=which, reason=reason)
        for (row, column, reason, which), found in ipcs.items()
    )
