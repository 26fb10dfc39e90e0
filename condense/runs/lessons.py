"""What the students of a run learn from, and what trains them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from condense.engine.components import Evaluator
from condense.engine.evaluate import StudentEvaluator
from condense.engine.labels import LABELS
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
    """The lessons of one run: for its own students, and for those of random real images."""

    def __init__(self, of: OfRun, site: RunSite) -> None:
        self._of, self._site = of, site
        self._known: dict[str, tuple[StudentTrainer, DistilledDataset]] = {}

    def of(self, name: str) -> tuple[StudentTrainer, DistilledDataset]:
        """Return what trains the students of a name, and the images that they learn from."""
        if name not in self._known:
            self._known = {name: self._made(name)}  # one at a time in memory
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

    def _made(self, name: str) -> tuple[StudentTrainer, DistilledDataset]:
        evaluation, site = self._of.evaluation, self._site
        answers = LABELS[evaluation.protocol.labels].answers
        trainer = StudentTrainer(
            recipe=self._of.recipe,
            evaluation=evaluation,
            evaluator=self._of.evaluator,
            dataset=site.dataset,
            teacher=self._of.teacher if answers else None,
            registry=site.registry,
            runtime=site.runtime,
        )
        return trainer, self._images(name)
