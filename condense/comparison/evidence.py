"""The raw data of a comparison by place, and the scores that need more than one column of it."""

from __future__ import annotations

from collections import defaultdict

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Role
from condense.comparison.ranking import augmentation_robust_score, label_robust_score
from condense.comparison.statistics import mean_over_seeds

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
