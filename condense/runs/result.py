"""What a run found, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from condense.engine.evaluate import Score
from condense.engine.select import Choice
from condense.recipe.config import RunConfig
from condense.storage.distilled import DistilledDataset
from condense.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The outcome of a run.

    path: the run directory.
    config: what was run, resolved.
    distilled: the distilled dataset.
    scores: the method's score, then that of random real images if they were evaluated.
    teacher_accuracy: in [0, 1]; None for a run without a teacher.
    seconds: per stage.
    notes: what the user was told.
    versions: of Python, the packages that compute and the plugins, by name.
    choice: what students judged and which candidate was kept; None if the recipe has it not done.
    """

    path: Path
    config: RunConfig
    distilled: DistilledDataset
    scores: Sequence[Score]
    teacher_accuracy: float | None
    seconds: Mapping[str, float]
    notes: Sequence[str]
    versions: Mapping[str, str]
    choice: Choice | None = None

    @property
    def accuracy(self) -> float | None:
        """Mean accuracy of the method's students, in [0, 1]; None if no student was trained."""
        return self.scores[0].mean if self.scores else None

    @property
    def grid(self) -> Path:
        """Path of the picture of the distilled images."""
        return RunFolder(self.path).grid

    @property
    def report(self) -> Path:
        """Path of the page that shows the outcome."""
        return RunFolder(self.path).report

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON and the report; accuracies are fractions, sizes are in bytes."""
        recipe = self.config.recipe
        return {
            "name": self.path.name,
            "path": str(self.path),
            "method": recipe.method,
            "dataset": recipe.dataset.name,
            "ipc": recipe.ipc,
            "seed": recipe.seed,
            "protocol": msgspec.to_builtins(self.config.evaluation.protocol),
            "rows": [score.to_dict() for score in self.scores],
            "teacher_accuracy": self.teacher_accuracy,
            "seconds": dict(self.seconds),
            "bytes": self.distilled.sizes(),
            "grid": str(self.grid),
            "report": str(self.report),
            "notes": list(self.notes),
            "settings": self.config.to_dict(),
            "versions": dict(self.versions),
            "choice": self.choice.to_dict() if self.choice else None,
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The outcome of evaluating an earlier artifact.

    path: where the artifact lies.
    config: how it was evaluated, resolved; its student is the first of the networks.
    distilled: the dataset, with the labels that students learned from.
    scores: what the students of each network reached, by the network as people write it; finished ones only.
    versions: of Python, the packages that compute and the plugins, by name.
    table: the Markdown file with the table; the same numbers lie beside it as JSON. None if nothing was saved.
    """

    path: Path
    config: RunConfig
    distilled: DistilledDataset
    scores: Mapping[str, Score]
    versions: Mapping[str, str]
    table: Path | None = None

    @property
    def score(self) -> Score:
        """What the students of the first network reached."""
        return next(iter(self.scores.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; accuracies are fractions, sizes are in bytes."""
        return {
            "path": str(self.path),
            "table": str(self.table) if self.table else "",
            "method": self.distilled.method,
            "dataset": self.config.recipe.dataset.name,
            "ipc": self.distilled.ipc,
            "seed": self.config.recipe.seed,
            "protocol": msgspec.to_builtins(self.config.evaluation.protocol),
            "rows": [
                {"student": network, **score.to_dict(), "accuracy_interval": score.interval}
                for network, score in self.scores.items()
            ],
            "bytes": self.distilled.sizes(),
            "versions": dict(self.versions),
        }
