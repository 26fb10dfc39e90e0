"""The graph of a run: its pieces, with the files that each reads and writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from condense.engine.plan import REFERENCE_LABEL, Plan
from condense.engine.work import chunk_sizes, known_counts
from condense.executors.pieces import Piece
from condense.recipe.config import Evaluation
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.storage.run_folder import RunFolder

if TYPE_CHECKING:
    from condense.data.dataset import RealDataset

METHOD, REFERENCE = "method", "reference"
# How many real images one shard of the measure stage has at least. It decides rounding, so it is the same everywhere.
IMAGES_OF_SHARD = 50_000


@dataclass(frozen=True, kw_only=True)
class RunGraph:
    """The pieces of a run, in an order in which one worker can do them.

    plan: of the run. classes, images_of_dataset: how many classes and training images there are.
    path: its directory. job: as in `Piece`.
    label: names the evaluation in the files of students; "" for that of the plan.

    Pieces of a run whose images students choose come in two steps, because those of the second depend on which start is
    the best.
    """

    plan: Plan
    classes: int
    images_of_dataset: int
    path: Path
    job: str = ""
    label: str = ""

    @property
    def folder(self) -> RunFolder:
        """The run directory."""
        return RunFolder(self.path)

    @property
    def shards(self) -> int:
        """How many shards the measure stage has. A loss that does not merge what it observed wants one."""
        merge = all(loss.needs.merges for loss in self.plan.losses if loss.needs.observes)
        return max(1, self.images_of_dataset // IMAGES_OF_SHARD) if merge else 1

    def trained(self) -> list[Piece]:
        """Return what comes before any image: the teacher, the networks of the pool, what losses measure."""
        plan, folder = self.plan, self.folder
        pieces = []
        if plan.needs_teacher:
            pieces.append(self._piece("teacher", "squeeze", alone=self._alone, outputs=[folder.teacher]))
        if plan.needs_pool:
            for number in range(plan.recipe.pool.networks):
                outputs = [folder.pool(number)]
                pieces.append(self._piece("pool", "pool", index=number, group="pool", outputs=outputs))
        if plan.measures:
            inputs = [folder.teacher]
            for number in range(self.shards if self.shards > 1 else 0):
                outputs = [folder.shard(number)]
                pieces.append(
                    self._piece(
                        "shard", "measure", index=number, group="measure", inputs=inputs, outputs=outputs
                    )
                )
            shown = [folder.shard(number) for number in range(self.shards)] if self.shards > 1 else inputs
            pieces.append(
                self._piece("fit", "measure", alone=self._alone, inputs=shown, outputs=[folder.measurements])
            )
        return pieces

    def candidates(self) -> list[Piece]:
        """Return the images of every start, and the students that judge them; nothing for a run that chooses none."""
        if not self.plan.selects:
            return []
        pieces = []
        for spec in self.plan.initializers:
            made = [self.folder.start(spec.name)]
            pieces.append(self._piece("start", "select", name=spec.name, inputs=self._before(), outputs=made))
            pieces += self.judges(spec.name, made)
        return pieces

    def images(self, start: str = "") -> list[Piece]:
        """Return what makes the images: chunks, students that judge states of recovery, and their assembly.

        start: the best of the starts, in a run that chooses one.
        """
        plan, folder = self.plan, self.folder
        recipe = plan.recipe
        chosen = plan.selects
        pieces = []
        sizes = chunk_sizes(self.classes, recipe.ipc, recipe.recover, plan.images_per_stored)
        for index in range(len(sizes) if recipe.recover.iterations or not chosen else 0):
            inputs, outputs = self._before(), [folder.chunk(index)]
            pieces.append(
                self._piece("chunk", "recover", index=index, group="recover", inputs=inputs, outputs=outputs)
            )
        chunks = [self.path / name for piece in pieces for name in piece.outputs]
        for after in plan.judged_after:
            pieces += self.judges(f"{start}-after-{after}", chunks)
        needed = [*chunks, *(self.path / name for piece in pieces[len(chunks) :] for name in piece.outputs)]
        stage = "select" if chosen else "recover"
        made = [folder.distilled / "distilled.json"]
        pieces.append(self._piece("images", stage, inputs=needed or self._before(), outputs=made))
        return pieces

    def students(self) -> list[Piece]:
        """Return the students that learn from the images, and from random real ones.

        Students that judge may keep the random real images. Each student of both is then trained once, so those of the
        images wait for those of the reference.
        """
        plan = self.plan
        waiting = plan.selects and plan.reference
        before = {METHOD: [self.folder.distilled / "distilled.json"], REFERENCE: self._before()}
        stages = {METHOD: "evaluate", REFERENCE: "reference"}
        names = [METHOD, REFERENCE] if plan.reference else [METHOD]
        return [
            self._piece(
                "student",
                stages[name],
                name=name,
                index=index,
                group=name,
                inputs=before[name]
                + (self._results(REFERENCE, numbers) if waiting and name == METHOD else []),
                outputs=self._results(name, numbers),
            )
            for name in (reversed(names) if waiting else names)
            for index, numbers in enumerate(students_together(plan.evaluation))
        ]

    def _results(self, name: str, numbers: Iterable[int]) -> list[Path]:
        """Return the files of the results of students. name: of what they learn from."""
        label = f"{name}-{self.label or self.plan.evaluation.label}"
        return [self.folder.student(label, number) for number in numbers]

    def judges(self, candidate: str, images: list[Path]) -> list[Piece]:
        """Return the students that judge a candidate. images: the files with its images."""
        return [
            self._piece(
                "student",
                "select",
                name=candidate,
                index=number,
                group=candidate,
                inputs=images,
                outputs=[self.folder.judged(candidate, number)],
            )
            for number in range(self.plan.recipe.select.students)
        ]

    def whole(self) -> list[Piece]:
        """Return all pieces. The start of a run that chooses one is called "best"."""
        return [*self.trained(), *self.candidates(), *self.images("best"), *self.students()]

    @property
    def _alone(self) -> bool:
        """Whether nothing can be done beside the teacher and what fits losses: neither a pool nor other runs."""
        return not (self.plan.needs_pool or self.job)

    def _before(self) -> list[Path]:
        made = (piece for piece in self.trained() if piece.kind != "shard")
        return [self.path / name for piece in made for name in piece.outputs]

    def _piece(
        self,
        kind: str,
        stage: str,
        *,
        name: str = "",
        index: int = 0,
        group: str = "",
        alone: bool = False,
        inputs: list[Path] | None = None,
        outputs: list[Path],
    ) -> Piece:
        return Piece(
            kind=kind,  # type: ignore[arg-type]
            job=self.job,
            name=name,
            index=index,
            group=group,
            stage=stage,
            alone=alone,
            inputs=tuple(file.relative_to(self.path).as_posix() for file in inputs or ()),
            outputs=tuple(file.relative_to(self.path).as_posix() for file in outputs),
        )


def students_together(evaluation: Evaluation) -> list[range]:
    """Return the numbers of the students of each piece: those that are trained at once."""
    count, together = evaluation.students, evaluation.student.together
    return [range(first, min(count, first + together)) for first in range(0, count, together)]


def unfinished_of(piece: Piece) -> list[str]:
    """Return the files in which the trainings of a piece, or its recovery, are kept until its outputs are there.

    They are named like the outputs: relative to the folder of the piece's job, with slashes.
    """
    if piece.kind not in ("teacher", "pool", "chunk", "student"):
        return []
    prefix = "chunk-" if piece.kind == "chunk" else "candidate-" if piece.stage == "select" else ""
    found = []
    for name in map(PurePosixPath, piece.outputs):
        folder = name.parent if piece.kind == "pool" else name.parent.parent
        found.append((folder / "unfinished" / f"{prefix}{name.stem}.training").as_posix())
    return found


def title_of(name: str, method: str) -> str:
    """Return what people call the images that students learn from. name: as in `Piece`."""
    return REFERENCE_LABEL if name == REFERENCE else method


def graph_of(plan: Plan, dataset: RealDataset, folder: RunFolder, job: str = "", label: str = "") -> RunGraph:
    """Return the graph of a run on a dataset that is loaded; the others are as in `RunGraph`."""
    return RunGraph(
        plan=plan,
        classes=len(dataset.classes),
        images_of_dataset=len(dataset.train),
        path=folder.path,
        job=job,
        label=label,
    )


def graph_ahead(plan: Plan, registry: Registry, path: Path, job: str = "") -> RunGraph | None:
    """Return the graph of a run on a dataset whose numbers are published, or None if images have to be looked at."""
    recipe = plan.recipe
    use = recipe.dataset
    known = known_counts(registry.dataset(use.name)[0], options_of(use, "dataset", registry))
    if known is None:
        return None
    counts = known.held_out(recipe.validation)
    return RunGraph(plan=plan, classes=counts.classes, images_of_dataset=counts.train, path=path, job=job)
