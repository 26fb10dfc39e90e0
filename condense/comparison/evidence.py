"""The raw results of a comparison by place, and what is compared with what."""

from __future__ import annotations

from collections import defaultdict

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Role, under_teacher
from condense.comparison.statistics import (
    BySeed,
    augmentation_robust_score,
    label_robust_score,
    mean_over_seeds,
)


class Evidence:
    """The raw results of a comparison by place, failures included, and the scores that follow from them.

    rows: by label.
    cells: by row, images-per-class and column key.
    distilled: by row and images-per-class.
    """

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.rows = {row.label: row for row in outcome.rows}
        self._columns = {(one.role, one.protocol, one.epochs, one.student): one for one in outcome.columns}
        self.cells: dict[tuple[str, int, str], list[Cell]] = defaultdict(list)
        self.distilled: dict[tuple[str, int], list[Distilled]] = defaultdict(list)
        for cell in outcome.cells:
            self.cells[cell.row, cell.ipc, cell.column].append(cell)
        for found in outcome.distilled:
            self.distilled[found.row, found.ipc].append(found)

    def base_of(self, row: str) -> str:
        """Return the row that a row is compared to: the first one under the same teacher."""
        return next(other.label for other in self.outcome.rows if other.teacher == self.rows[row].teacher)

    def under_first_teacher(self, row: str) -> str:
        """Return the same row under the first teacher, or "" if that is this row or there is none."""
        found = under_teacher(self.rows[row].stem, self.outcome.rows[0].teacher)
        return found if found != row and found in self.rows else ""

    def reference_of(self, row: str) -> str:
        """Return the row of random real images under the same teacher, or ""."""
        teacher = self.rows[row].teacher
        return next((label for label in self.outcome.references if self.rows[label].teacher == teacher), "")

    def trained(self, row: str, ipc: int, column: Column) -> list[Cell]:
        """Return the cells with accuracies."""
        return [cell for cell in self.cells[row, ipc, column.key] if cell.accuracies and not cell.failure]

    def accuracies(self, row: str, ipc: int, column: Column) -> BySeed:
        """Return the accuracies of each seed that has any."""
        return {cell.seed: cell.accuracies for cell in self.trained(row, ipc, column)}

    def label_robust(self, row: str, ipc: int, column: Column) -> float | None:
        """Return LRS over the seeds that have all it needs, or None without such a seed."""
        hard = column if column.labels == "hard" else self._partner(column, "hard")
        random, teacher = self.reference_of(row), self.outcome.teacher_of(self.rows[row])
        means = self._means(ipc, synthetic=(row, column), synthetic_hard=(row, hard), random=(random, column))
        return label_robust_score(full_hard=teacher.accuracy, **means) if means and teacher else None

    def augmentation_robust(self, row: str, ipc: int, column: Column) -> float | None:
        """Return ARS over the seeds that have all it needs, or None without such a seed."""
        plain, random = self._partner(column, "plain"), self.reference_of(row)
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
