"""The students of a comparison as workers know them: those of one row and number of images per class are one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from condense.comparison.design import Design
from condense.comparison.workspace import Workspace
from condense.engine.build import build_component
from condense.engine.components import Evaluator
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.students import StudentTrainer
from condense.executors.pieces import Piece
from condense.recipe.config import Evaluation, Recipe
from condense.runs.site import Bench, RunSite
from condense.runs.students import WantedStudent, train_wanted
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Judging:
    """The students of a column.

    evaluation: how they are trained and tested.
    recipe, teacher: of the teacher that labels come from, and the file of its weights; None if they need none.
    """

    evaluation: Evaluation
    recipe: Recipe | None = None
    teacher: Path | None = None


@dataclass(frozen=True, kw_only=True)
class StudentsJob:
    """The students of one row and number of images per class, over all seeds, as an order has them.

    folder: of all cells, in which the files of pieces are named. recipes: of the cells, by the names of their folders.
    columns: by the names of pieces.
    """

    folder: Path
    recipes: Mapping[str, Recipe]
    columns: Mapping[str, Judging]

    def bench(self, site: RunSite) -> Bench:
        """Return the bench of a worker for these students."""
        return _StudentsBench(self, site)


def students_job(row: str, ipc: int) -> str:
    """Return the key of the job of a row's students."""
    return f"students {row} {ipc}"


def students_jobs(design: Design, space: Workspace, taught: Mapping[str, Path]) -> dict[str, StudentsJob]:
    """Return the students of all rows and numbers of images per class by their keys.

    taught: the files of the teachers, by `Row.teacher`.
    """
    recipes: dict[tuple[str, int], dict[str, Recipe]] = {}
    for place, config in design.runs.items():
        recipes.setdefault((place.row, place.ipc), {})[space.cell(config.recipe).path.name] = config.recipe
    columns = {name: _columns(design, name, file) for name, file in taught.items()}
    return {
        students_job(row, ipc): StudentsJob(
            folder=space.cells, recipes=of_row, columns=columns[design.teacher_of(row)]
        )
        for (row, ipc), of_row in recipes.items()
    }


def _columns(design: Design, teacher: str, file: Path) -> dict[str, Judging]:
    """Return the columns of rows with a teacher, by their keys. teacher: as in `Row.teacher`. file: of its weights."""
    columns = {}
    for setup in design.columns:
        wanted = LABELS[setup.evaluation.protocol.labels].need_teacher(setup.evaluation.students)
        columns[setup.column.key] = Judging(
            evaluation=setup.evaluation,
            recipe=design.recipe_of(teacher) if wanted else None,
            teacher=file if wanted else None,
        )
    return columns


class _StudentsBench:
    """Trains students of a column. What the last piece learned from is kept for the next."""

    def __init__(self, job: StudentsJob, site: RunSite) -> None:
        self._job, self._site = job, site
        self._known: dict[tuple[str, str], tuple[StudentTrainer, DistilledDataset]] = {}

    def do(self, piece: Piece) -> Mapping[str, Any]:
        """Train and test the students of a piece that have no result yet. Write and return how all of them did."""
        names = [PurePosixPath(name) for name in piece.outputs]
        cells = dict.fromkeys(name.parts[0] for name in names)
        self._known = {
            (cell, piece.name): self._known.get((cell, piece.name)) or self._lesson(cell, piece.name)
            for cell in cells
        }
        sizes = {cell: self._known[cell, piece.name][1].sizes() for cell in cells}
        wanted = []
        for name in names:
            cell = name.parts[0]
            file, (trainer, distilled) = self._job.folder / name, self._known[cell, piece.name]
            wanted.append(
                WantedStudent(
                    folder=RunFolder(self._job.folder / cell),
                    file=file,
                    number=RunFolder.number_of(file),
                    trainer=trainer,
                    distilled=distilled,
                    more={"bytes": sizes[cell]},
                )
            )
        title = next(iter(self._job.recipes.values())).method
        return {"students": train_wanted(wanted, title, self._site)}

    def _lesson(self, cell: str, column: str) -> tuple[StudentTrainer, DistilledDataset]:
        """Return what trains the students of a cell and column, and the images that they learn from."""
        judging, site = self._job.columns[column], self._site
        evaluation = judging.evaluation
        labels = LABELS[evaluation.protocol.labels]
        teacher = self._labelled_by(judging)
        folder = RunFolder(self._job.folder / cell)
        folder.check_there()
        images = artifact.load(folder.distilled, site.registry)
        trainer = StudentTrainer(
            recipe=self._job.recipes[cell],
            evaluation=evaluation,
            evaluator=build_component(evaluation.evaluator, "evaluator", Evaluator, site.registry),
            dataset=site.dataset,
            teacher=labels.during_training(teacher),
            registry=site.registry,
            runtime=site.runtime,
        )
        return trainer, labels.attach(images, teacher, site.runtime)

    def _labelled_by(self, judging: Judging) -> LabelledBy | None:
        if judging.recipe is None or judging.teacher is None:
            return None
        return self._site.labelled_by(judging.recipe, judging.teacher)
