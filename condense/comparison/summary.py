"""The derived table of a comparison: what the terminal, the files and the page all show."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Role
from condense.comparison.statistics import (
    Interval,
    augmentation_robust_score,
    interval_over_seeds,
    label_robust_score,
    mean_over_seeds,
    paired_difference,
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row, images-per-class and column. Accuracies and differences are fractions; None is "not known".

    mean: over all `count` students of `seeds` seeds. interval: 95%, over the seeds' means, or over the students of a
    comparison of one seed; None for a single one.
    difference, difference_interval, excludes_zero: to the first row, paired by seed, over `paired` seeds; None for
    the first row itself. best: this has the highest mean, and its lead over the next row has an interval that
    excludes 0. lrs, ars: DD-Ranking's scores in [0, 1]. distil_seconds: to measure and recover, mean over seeds.
    train_seconds, steps: of one student, means. bytes: images + labels + teacher, mean over seeds; parts: each of
    them. compression: bytes of the real images / `bytes`. failure: what failed, by seed where not all did, or "".
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
    """Who has the highest mean at one images-per-class and column, and by how much over the next row.

    difference, interval: paired by seed, None where they share no seed or a single one. clear: whether the interval
    excludes 0.
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
    """What failed for one reason. column: its key, "" where there were no images to train on."""

    row: str
    ipcs: tuple[int, ...]
    column: str
    seeds: tuple[int, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """columns: those with role "score". lines: for every images-per-class, column and row, in this order.

    first: the label of the row that others are compared to. ceiling: the teacher's accuracy, None without one.
    """

    rows: tuple[str, ...]
    ipcs: tuple[int, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    leads: tuple[Lead, ...]
    failures: tuple[Failure, ...]
    first: str
    floor: str
    ceiling: float | None

    @property
    def scored(self) -> bool:
        """Whether any line has a score of DD-Ranking."""
        return any(line.lrs is not None or line.ars is not None for line in self.lines)

    def group(self, ipc: int, column: str) -> tuple[Line, ...]:
        """The lines of one table, a line for each row."""
        return tuple(line for line in self.lines if (line.ipc, line.column) == (ipc, column))

    def line(self, row: str, ipc: int, column: str) -> Line:
        """One line. Raises KeyError where the comparison has no such place."""
        for line in self.lines:
            if (line.row, line.ipc, line.column) == (row, ipc, column):
                return line
        raise KeyError((row, ipc, column))


def summarise(outcome: Outcome) -> Summary:
    """Everything that follows from the raw data, the same for every reader of it."""
    evidence = Evidence(outcome)
    lines: list[Line] = []
    leads: list[Lead] = []
    for ipc in outcome.ipcs:
        for column in evidence.scored:
            lead = _lead(outcome, evidence, ipc, column)
            leads += [lead] if lead else []
            best = lead.row if lead and lead.clear else None
            lines += [_line(outcome, evidence, row.label, ipc, column, best) for row in outcome.rows]
    return Summary(
        rows=tuple(row.label for row in outcome.rows),
        ipcs=outcome.ipcs,
        columns=evidence.scored,
        lines=tuple(lines),
        leads=tuple(leads),
        failures=_failures(outcome.failures),
        first=outcome.rows[0].label if outcome.rows else "",
        floor=outcome.floor,
        ceiling=outcome.teacher.accuracy if outcome.teacher else None,
    )


def _line(outcome: Outcome, evidence: Evidence, row: str, ipc: int, column: Column, best: str | None) -> Line:
    by_seed = evidence.accuracies(row, ipc, column.key)
    values = [accuracy for students in by_seed.values() for accuracy in students]
    cells = evidence.cells(row, ipc, column.key)
    distilled = evidence.distilled(row, ipc)
    first = outcome.rows[0].label
    gap = None
    if row != first:
        gap = paired_difference(by_seed, evidence.accuracies(first, ipc, column.key))
    parts = _mean_parts(cells)
    stored = sum(parts.values())
    return Line(
        row=row,
        ipc=ipc,
        column=column.key,
        count=len(values),
        seeds=len(by_seed),
        mean=statistics.fmean(values) if values else None,
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
        failure=_reasons((*distilled, *evidence.cells(row, ipc, column.key, failed=True)), outcome.seeds),
    )


def _lead(outcome: Outcome, evidence: Evidence, ipc: int, column: Column) -> Lead | None:
    """None where fewer than two rows have an accuracy."""
    means = {}
    for row in outcome.rows:
        values = [
            value for found in evidence.accuracies(row.label, ipc, column.key).values() for value in found
        ]
        if values:
            means[row.label] = statistics.fmean(values)
    if len(means) < 2:
        return None
    first, second = sorted(means, key=lambda label: -means[label])[
        :2
    ]  # stable: of equals, the one given first
    gap = paired_difference(
        evidence.accuracies(first, ipc, column.key), evidence.accuracies(second, ipc, column.key)
    )
    return Lead(
        ipc=ipc,
        column=column.key,
        row=first,
        next=second,
        difference=gap.mean if gap else None,
        interval=gap.interval if gap else None,
        # Where seeds are missing, the mean over the shared ones may favour the other row: that is no lead.
        clear=bool(gap and gap.mean > 0 and gap.excludes_zero),
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None


def _mean_parts(cells: Iterable[Cell]) -> dict[str, int]:
    """Bytes of each part, mean over seeds."""
    found = [cell.bytes for cell in cells if cell.bytes]
    names = list(dict.fromkeys(name for parts in found for name in parts))
    return {name: round(statistics.fmean(parts.get(name, 0) for parts in found)) for name in names}


def _reasons(parts: Iterable[Distilled | Cell], seeds: tuple[int, ...]) -> str:
    """What failed, each reason once; with its seeds where others did not fail for it."""
    by_reason: dict[str, list[int]] = {}
    for part in parts:
        if part.failure and part.seed not in by_reason.setdefault(part.failure, []):
            by_reason[part.failure].append(part.seed)
    texts = []
    for reason, found in by_reason.items():
        which = ", ".join(str(seed) for seed in found)
        place = "" if set(found) >= set(seeds) else f"seed{'s' if len(found) > 1 else ''} {which}: "
        texts.append(place + reason)
    return "; ".join(texts)


def _failures(parts: Iterable[Distilled | Cell]) -> tuple[Failure, ...]:
    """Equal reasons together: over seeds, then over images-per-class with the same seeds."""
    seeds: dict[tuple[str, int, str, str], list[int]] = {}
    no_images: set[tuple[str, int, int]] = set()
    for part in parts:
        column = part.column if isinstance(part, Cell) else ""
        place = (part.row, part.ipc, part.seed)
        if not column:
            no_images.add(place)
        elif place in no_images:  # no column can have students then: said already
            continue
        seeds.setdefault((part.row, part.ipc, column, part.failure), []).append(part.seed)
    ipcs: dict[tuple[str, str, str, tuple[int, ...]], list[int]] = {}
    for (row, ipc, column, reason), found in seeds.items():
        ipcs.setdefault((row, column, reason, tuple(found)), []).append(ipc)
    return tuple(
        Failure(row=row, ipcs=tuple(found), column=column, seeds=which, reason=reason)
        for (row, column, reason, which), found in ipcs.items()
    )


BySeed = dict[int, tuple[float, ...]]


class Evidence:
    """An outcome's cells and distilled datasets, found by row, images-per-class and column.

    scored: the columns with role "score", in order.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.scored = tuple(column for column in outcome.columns if column.role == "score")
        self._columns = outcome.columns
        self._floor = outcome.floor
        self._teacher = outcome.teacher.accuracy if outcome.teacher else None
        self._cells: dict[tuple[str, int, str], list[Cell]] = defaultdict(list)
        self._distilled: dict[tuple[str, int], list[Distilled]] = defaultdict(list)
        for cell in outcome.cells:
            self._cells[cell.row, cell.ipc, cell.column].append(cell)
        for found in outcome.distilled:
            self._distilled[found.row, found.ipc].append(found)

    def cells(self, row: str, ipc: int, column: str, *, failed: bool = False) -> list[Cell]:
        """Of every seed: those with accuracies, or those that failed."""
        return [
            cell
            for cell in self._cells.get((row, ipc, column), ())
            if (bool(cell.failure) if failed else bool(cell.accuracies and not cell.failure))
        ]

    def distilled(self, row: str, ipc: int) -> list[Distilled]:
        """Of every seed, those that failed too."""
        return self._distilled.get((row, ipc), [])

    def accuracies(self, row: str, ipc: int, column: str) -> BySeed:
        """By seed, (students,) fractions; seeds without any are left out."""
        return {cell.seed: cell.accuracies for cell in self.cells(row, ipc, column)}

    def label_robust(self, row: str, ipc: int, column: Column) -> float | None:
        """LRS, over the seeds that have all it needs; None where there are none."""
        hard = column if column.labels == "hard" else self._partner(column, "hard")
        if hard is None or self._teacher is None:
            return None
        means = self._means(ipc, (row, column), (row, hard), (self._floor, column))
        if means is None:
            return None
        synthetic, synthetic_hard, random = means
        return label_robust_score(
            full_hard=self._teacher, synthetic_hard=synthetic_hard, synthetic=synthetic, random=random
        )

    def augmentation_robust(self, row: str, ipc: int, column: Column) -> float | None:
        """ARS, over the seeds that have all it needs; None where there are none."""
        plain = self._partner(column, "plain")
        if plain is None:
            return None
        places = (row, column), (self._floor, column), (row, plain), (self._floor, plain)
        means = self._means(ipc, *places)
        if means is None:
            return None
        synthetic, random, synthetic_plain, random_plain = means
        return augmentation_robust_score(
            synthetic=synthetic, random=random, synthetic_plain=synthetic_plain, random_plain=random_plain
        )

    def _partner(self, column: Column, role: Role) -> Column | None:
        """The column that differs from this one in nothing but its role."""
        for other in self._columns:
            same = (other.protocol, other.epochs, other.student)
            if other.role == role and same == (column.protocol, column.epochs, column.student):
                return other
        return None

    def _means(self, ipc: int, *places: tuple[str, Column]) -> list[float] | None:
        """Mean accuracies at the places (row, column), all over the same seeds; None where they share none."""
        found = [self.accuracies(row, ipc, column.key) for row, column in places]
        shared = set.intersection(*(set(by_seed) for by_seed in found))
        means = [mean_over_seeds({seed: by_seed[seed] for seed in shared}) for by_seed in found]
        known = [mean for mean in means if mean is not None]
        return known if len(known) == len(places) else None
