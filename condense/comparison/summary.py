"""The table of a comparison, which the terminal, the files and the page all show."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Role
from condense.comparison.statistics import (
    BySeed,
    augmentation_robust_score,
    interval_over_seeds,
    label_robust_score,
    mean_over_seeds,
    paired_difference,
)
from condense.engine.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class Line:
    """The numbers of one row, images-per-class and column. Accuracies and differences are fractions.

    row, ipc, column: the row's label, the images per class and the column's key.
    count, seeds: how many students there are, from how many seeds.
    mean: over all students; None without any.
    interval: 95 %, over the seeds' means; over the students if the comparison has one seed; None for a single value.
    difference, difference_interval: to the first row, paired by seed; None for the first row and without a shared seed.
    excludes_zero: whether `difference_interval` excludes 0; None without an interval.
    paired: how many seeds the difference is over.
    best: whether this mean is the highest and its lead over the next row has an interval that excludes 0.
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
    mean: float | None = None
    interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    excludes_zero: bool | None = None
    paired: int = 0
    best: bool = False
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
    leads: one for each images-per-class and column with two rows or more that have an accuracy.
    failures: equal reasons together.
    first: the label of the row that the others are compared to.
    reference: the label of the row of random real images, or "".
    ceiling: the teacher's accuracy in [0, 1], or None.
    """

    rows: tuple[str, ...]
    ipcs: tuple[int, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    leads: tuple[Lead, ...]
    failures: tuple[Failure, ...]
    first: str
    reference: str
    ceiling: float | None

    @property
    def scored(self) -> bool:
        """Whether any line has one of DD-Ranking's scores."""
        return any(line.lrs is not None or line.ars is not None for line in self.lines)

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
    evidence = _Evidence(outcome)
    columns = tuple(column for column in outcome.columns if column.role == "score")
    lines: list[Line] = []
    leads: list[Lead] = []
    for ipc in outcome.ipcs:
        for column in columns:
            lead = _lead(evidence, ipc, column)
            leads += [lead] if lead else []
            best = lead.row if lead and lead.clear else None
            lines += [_line(evidence, row.label, ipc, column, best) for row in outcome.rows]
    return Summary(
        rows=tuple(row.label for row in outcome.rows),
        ipcs=outcome.ipcs,
        columns=columns,
        lines=tuple(lines),
        leads=tuple(leads),
        failures=_failures(outcome.failures),
        first=outcome.rows[0].label if outcome.rows else "",
        reference=outcome.reference,
        ceiling=outcome.teacher.accuracy if outcome.teacher else None,
    )


def _line(evidence: _Evidence, row: str, ipc: int, column: Column, best: str | None) -> Line:
    outcome = evidence.outcome
    by_seed = evidence.accuracies(row, ipc, column)
    cells = evidence.trained(row, ipc, column)
    distilled = evidence.distilled[row, ipc]
    first = outcome.rows[0].label
    gap = None if row == first else paired_difference(by_seed, evidence.accuracies(first, ipc, column))
    parts = _mean_parts(cells)
    stored = sum(parts.values())
    return Line(
        row=row,
        ipc=ipc,
        column=column.key,
        count=sum(map(len, by_seed.values())),
        seeds=len(by_seed),
        mean=_mean_of_students(by_seed),
        interval=interval_over_seeds(by_seed) if len(by_seed) > 1 or len(outcome.seeds) == 1 else None,
        difference=gap.mean if gap else None,
        difference_interval=gap.interval if gap else None,
        excludes_zero=gap.excludes_zero if gap else None,
        paired=gap.seeds if gap else 0,
        best=row == best,
        lrs=evidence.label_robust(row, ipc, column),
        ars=evidence.augmentation_robust(row, ipc, column),
        distil_seconds=_mean(found.distil_seconds for found in distilled if not found.failure),
        train_seconds=_mean(cell.seconds for cell in cells),
        steps=round(statistics.fmean(cell.steps for cell in cells)) if cells else None,
        bytes=stored or None,
        parts=parts,
        compression=outcome.bytes / stored if stored else None,
        failure=_reasons((*distilled, *evidence.cells[row, ipc, column.key]), outcome.seeds),
    )


def _lead(evidence: _Evidence, ipc: int, column: Column) -> Lead | None:
    """Return who leads, or None if fewer than two rows have an accuracy."""
    found = {row.label: evidence.accuracies(row.label, ipc, column) for row in evidence.outcome.rows}
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


class _Evidence:
    """The raw results of a comparison by place, failures included, and the scores that follow from them.

    cells: by row, images-per-class and column key.
    distilled: by row and images-per-class.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._columns = {(one.role, one.protocol, one.epochs, one.student): one for one in outcome.columns}
        self.cells: dict[tuple[str, int, str], list[Cell]] = defaultdict(list)
        self.distilled: dict[tuple[str, int], list[Distilled]] = defaultdict(list)
        for cell in outcome.cells:
            self.cells[cell.row, cell.ipc, cell.column].append(cell)
        for found in outcome.distilled:
            self.distilled[found.row, found.ipc].append(found)

    def trained(self, row: str, ipc: int, column: Column) -> list[Cell]:
        """Return the cells with accuracies."""
        return [cell for cell in self.cells[row, ipc, column.key] if cell.accuracies and not cell.failure]

    def accuracies(self, row: str, ipc: int, column: Column) -> BySeed:
        """Return the accuracies of each seed that has any."""
        return {cell.seed: cell.accuracies for cell in self.trained(row, ipc, column)}

    def label_robust(self, row: str, ipc: int, column: Column) -> float | None:
        """Return LRS over the seeds that have all it needs, or None without such a seed."""
        hard = column if column.labels == "hard" else self._partner(column, "hard")
        random, teacher = self.outcome.reference, self.outcome.teacher
        means = self._means(ipc, synthetic=(row, column), synthetic_hard=(row, hard), random=(random, column))
        return label_robust_score(full_hard=teacher.accuracy, **means) if means and teacher else None

    def augmentation_robust(self, row: str, ipc: int, column: Column) -> float | None:
        """Return ARS over the seeds that have all it needs, or None without such a seed."""
        plain, random = self._partner(column, "plain"), self.outcome.reference
        means = self._means(
            ipc,
            synthetic=(row, column),
            random=(random, column),
            synthetic_plain=(row, plain),
            random_plain=(random, plain),
        )
        return augmentation_robust_score(**means) if means else None

    def _partner(self, column: Column, role: Role) -> Column | None:
        """Return the column of this role with the same protocol, epochs and student."""
        return self._columns.get((role, column.protocol, column.epochs, column.student))

    def _means(self, ipc: int, **places: tuple[str, Column | None]) -> dict[str, float] | None:
        """Return the mean accuracy at each place (row, column) over the shared seeds, None if anything is missing."""
        found = {name: self.accuracies(row, ipc, column) for name, (row, column) in places.items() if column}
        shared = set.intersection(*map(set, found.values())) if len(found) == len(places) else set()
        means = {name: mean_over_seeds({seed: of[seed] for seed in shared}) for name, of in found.items()}
        known = {name: mean for name, mean in means.items() if mean is not None}
        return known if len(known) == len(places) else None
