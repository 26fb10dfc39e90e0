"""What the students of a run learn from, and what trains them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from condense.engine.build import build_component
from condense.engine.components import Evaluator
from condense.engine.evaluate import StudentEvaluator
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.students import StudentTrainer
from condense.recipe.config import Evaluation, Recipe
from condense.runs.graph import METHOD, REFERENCE
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.manifest import read_manifest

if TYPE_CHECKING:
    from condense.engine.synthesis import Synthesis
    from condense.models.network import Network
    from condense.runs.site import RunSite
    from condense.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Judging:
    """Students of a comparison's column, which learn from the images of a run.

    evaluation: how they are trained and tested.
    recipe, teacher: of the teacher that labels come from, and the file of its weights; None if they need none.
    """

    evaluation: Evaluation
    recipe: Recipe | None = None
    teacher: Path | None = None


class OfRun(Protocol):
    """What lessons take from the bench of a run. `evaluation` and `evaluator` are those of the run itself."""

    recipe: Recipe
    folder: RunFolder
    evaluation: Evaluation

    @property
    def evaluator(self) -> Evaluator:
        """Trains and tests students."""

    @property
    def teacher(self) -> Network | None:
        """The teacher, or None for a run that needs none."""

    @property
    def synthesis(self) -> Synthesis:
        """What makes images."""


class Lessons:
    """The lessons of one run: for its own students, for those of random real images, and for those of columns."""

    def __init__(self, of: OfRun, columns: Mapping[str, Judging], site: RunSite) -> None:
        self._of, self._columns, self._site = of, columns, site
        self._known: dict[str, tuple[StudentTrainer, DistilledDataset]] = {}

    def of(self, name: str) -> tuple[StudentTrainer, DistilledDataset]:
        """Return what trains the students of a name, and the images that they learn from."""
        if name not in self._known:
            made = self._of_column(name) if name in self._columns else self._of_run(name)
            self._known = {name: made}  # one at a time in memory
        return self._known[name]

    def forget(self) -> None:
        """Forget the images of the run, which have been made anew."""
        self._known.pop(METHOD, None)

    def same(self) -> bool:
        """Return whether the images of the run are those of its reference, random real images, tensor by tensor.

        That is so where students have chosen real images; two students of one number then have the same result. Only
        what the host's evaluator trains is known to depend on these tensors alone. No image is read where those of the
        run were recovered.
        """
        if not isinstance(self._of.evaluator, StudentEvaluator):
            return False
        if read_manifest(self._of.folder.distilled / "distilled.json").origin != "real":
            return False
        return self._images(METHOD).taught == self._images(REFERENCE).taught

    def _images(self, name: str) -> DistilledDataset:
        if name == REFERENCE:
            return self._of.synthesis.reference()
        return artifact.load(self._of.folder.distilled, self._site.registry)

    def _of_run(self, name: str) -> tuple[StudentTrainer, DistilledDataset]:
        evaluation = self._of.evaluation
        answers = LABELS[evaluation.protocol.labels].answers
        trainer = self._trainer(evaluation, self._of.evaluator, self._of.teacher if answers else None)
        return trainer, self._images(name)

    def _of_column(self, name: str) -> tuple[StudentTrainer, DistilledDataset]:
        column, registry = self._columns[name], self._site.registry
        labels = LABELS[column.evaluation.protocol.labels]
        teacher = self._labelled_by(column)
        distilled = labels.attach(self._images(METHOD), teacher, self._site.runtime)
        evaluator = build_component(column.evaluation.evaluator, "evaluator", Evaluator, registry)
        return self._trainer(column.evaluation, evaluator, labels.during_training(teacher)), distilled

    def _labelled_by(self, column: Judging) -> LabelledBy | None:
        if column.recipe is None or column.teacher is None:
            return None
        return self._site.labelled_by(column.recipe, column.teacher)

    def _trainer(
        self, evaluation: Evaluation, evaluator: Evaluator, teacher: Network | None
    ) -> StudentTrainer:
        return StudentTrainer(
            recipe=self._of.recipe,
            evaluation=evaluation,
            evaluator=evaluator,
            dataset=self._site.dataset,
            teacher=teacher,
            registry=self._site.registry,
            runtime=self._site.runtime,
        )
