"""One cell of a comparison: one row, distilled once, and the students of every column that learn from it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from condense.comparison.columns import ColumnSetup
from condense.comparison.design import Design, Place
from condense.comparison.outcome import Cell, Distilled
from condense.comparison.progress import Progress
from condense.comparison.workspace import Workspace, between, finished
from condense.data.dataset import RealDataset
from condense.engine.build import build_component
from condense.engine.components import Evaluator, StudentResult
from condense.engine.evaluate import StudentTrainer
from condense.engine.labels import LABELS, LabelledBy
from condense.engine.squeeze import fresh_teacher
from condense.errors import CondenseError, PluginError
from condense.models.checkpoints import load_checkpoint
from condense.recipe.config import Recipe, RunConfig, public_settings
from condense.recipe.method import IMPORTED
from condense.recipe.registry import Registry
from condense.runs.pipeline import run
from condense.runs.result import RunResult
from condense.runs.teachers import Taught, Teachers
from condense.runtime import Runtime
from condense.storage import artifact
from condense.storage.checksums import DamagedError
from condense.storage.distilled import DistilledDataset
from condense.storage.files import file_hash, json_bytes, read_json, same_file, write_text
from condense.storage.locks import HeldError, held
from condense.storage.run_folder import RunFolder
from condense.text import counted

T = TypeVar("T")
_DISTILLING = ("measure", "recover")


def _of_distilling(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of the stages that make images. A pool counts only where this run trained it."""
    some = {stage: seconds[stage] for stage in ("pool", "select") if stage in seconds}
    return {**some, **{stage: seconds.get(stage, 0.0) for stage in _DISTILLING}}


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all cells of a comparison share.

    taught: the teachers, by `Row.teacher`.
    folder: the comparison's own folder.
    refused: places that cannot be worked on, with the reasons.
    """

    design: Design
    space: Workspace
    registry: Registry
    runtime: Runtime
    progress: Progress
    dataset: RealDataset
    taught: Mapping[str, Taught]
    folder: Path
    refused: Mapping[Place, str] = field(default_factory=dict)
    _labelling: dict[str, LabelledBy] = field(default_factory=dict)

    def labelled_by(self, row: str) -> LabelledBy:
        """Return the teacher that the labels of a row come from. Each is loaded once."""
        teacher = self.design.teacher_of(row)
        if teacher not in self._labelling:
            recipe, file = self.design.recipe_of(teacher), self.taught[teacher].file
            network = fresh_teacher(recipe, self.dataset, self.registry, self.runtime, to_be_filled=True)
            load_checkpoint(network, file)
            found = LabelledBy(network=network.frozen(), hash=file_hash(file), bytes=file.stat().st_size)
            self._labelling[teacher] = found
        return self._labelling[teacher]

    def is_done(self, place: Place) -> bool:
        """Return whether nothing is left to compute for a place."""
        if place in self.refused:
            return True
        cell = _Cell(self, place)
        files = [file for setup in self.design.columns for file in cell.files(setup)]
        return finished(cell.folder) and all(file.exists() for file in files)

    def is_free(self, place: Place) -> bool:
        """Return whether no other process works on a place now."""
        try:
            with held(_Cell(self, place).folder.path):
                return True
        except HeldError:
            return False

    def work(self, place: Place) -> tuple[Distilled, list[Cell], bool]:
        """Compute what is missing for a place. A result that failed says why.

        Return its images, the results of its columns, and whether anything was missing.
        """
        if place in self.refused:
            reason = self.refused[place]
            self.progress.note(f"{place.row} with {counted(place.ipc, 'image')} per class failed: {reason}")
            failed = Distilled(row=place.row, ipc=place.ipc, seed=place.seed, failure=reason)
            return failed, [], False
        cell = _Cell(self, place)
        with held(cell.folder.path, waiting=cell.say_that_it_waits):
            distilled = cell.distil()
            cells = [] if distilled.failure else [cell.train(setup) for setup in self.design.columns]
        return distilled, cells, cell.worked


@dataclass
class _Cell:
    """One place in progress. worked: whether anything had to be computed."""

    shop: Workshop
    place: Place
    worked: bool = False

    @cached_property
    def config(self) -> RunConfig:
        return self.shop.design.runs[self.place]

    @property
    def recipe(self) -> Recipe:
        return self.config.recipe

    @cached_property
    def folder(self) -> RunFolder:
        return self.shop.space.cell(self.recipe)

    @cached_property
    def images(self) -> DistilledDataset:
        """The distilled dataset. Damaged files are made again from the pieces of the run."""
        try:
            return artifact.load(self.folder.path, self.shop.registry)
        except DamagedError as error:
            self.shop.progress.note(f"{error}. It is made again")
            return self._run().distilled

    def _usable(self, file: Path) -> bool:
        return self.folder.checksums.usable(file, self.shop.progress.note)

    def files(self, setup: ColumnSetup) -> list[Path]:
        """Return the files with the results of a column's students."""
        return self.shop.space.students(self.recipe, setup)

    def say_that_it_waits(self) -> None:
        self.shop.progress.note(f"another process works on {self.folder.path.name}; waiting for it")

    def distil(self) -> Distilled:
        """Recover the images unless that is done. Return what was distilled, or why it failed."""
        common: dict[str, Any] = {"row": self.place.row, "ipc": self.place.ipc, "seed": self.place.seed}

        def made() -> Distilled:
            seconds, sizes = self._costs()
            grid = self.shop.folder / "grids" / f"{self.folder.path.name}.png"
            if not grid.exists():
                same_file(self.folder.grid, grid)
            return Distilled(
                **common,
                path=between(self.shop.folder, self.folder.path),
                grid=between(self.shop.folder, grid),
                seconds={} if self.recipe.method == IMPORTED else _of_distilling(seconds),
                bytes={part: sizes[part] for part in ("images", "labels")},
                settings=public_settings(self.recipe, self.config.evaluation)["recipe"],
            )

        return self._or_failure(made, lambda reason: Distilled(**common, failure=reason), "distil")

    def _costs(self) -> tuple[Mapping[str, float], Mapping[str, int]]:
        """Return the seconds of each stage and the bytes of each part, of a finished run or of a new one."""
        if finished(self.folder):
            outcome = read_json(self.folder.run_json)["outcome"]
            return outcome["seconds"], outcome["bytes"]
        self.worked = True
        result = self._run()
        self.images = result.distilled
        return result.seconds, result.distilled.sizes()

    def _run(self) -> RunResult:
        return run(
            self.config,
            self.folder.path,
            registry=self.shop.registry,
            reporter=self.shop.progress,
            resume=self.folder.run_json.exists(),
            teachers=Teachers(self.shop.space.teachers, self.shop.registry),
            dataset=self.shop.dataset,
            locked=True,
        )

    def train(self, setup: ColumnSetup) -> Cell:
        """Train and test the missing students of a column, and return the column's result."""
        column = setup.column.key
        common: dict[str, Any] = {
            "row": self.place.row,
            "ipc": self.place.ipc,
            "seed": self.place.seed,
            "column": column,
        }

        def made() -> Cell:
            files = self.files(setup)
            if all(self._usable(file) for file in files):
                stored = [read_json(file) for file in files]
                students = tuple(msgspec.convert(one, StudentResult) for one in stored)
                sizes = stored[0]["bytes"]
            else:
                self.worked = True
                students, sizes = self._train(setup, files)
            return Cell(
                **common,
                accuracies=tuple(student.accuracy for student in students),
                steps=students[0].steps,
                seconds=sum(student.seconds for student in students) / len(students),
                bytes=sizes,
            )

        return self._or_failure(
            made, lambda reason: Cell(**common, failure=reason), re.sub(r"[^A-Za-z0-9._-]+", "-", column)
        )

    def _train(
        self, setup: ColumnSetup, files: list[Path]
    ) -> tuple[tuple[StudentResult, ...], dict[str, int]]:
        """Return the results of a column's students, and the bytes that have to be stored to train them."""
        shop, protocol = self.shop, setup.evaluation.protocol
        labels = LABELS[protocol.labels]
        wanted = labels.need_teacher(setup.evaluation.students)
        teacher = shop.labelled_by(self.place.row) if wanted else None
        distilled = labels.attach(self.images, teacher, shop.runtime)
        sizes = distilled.sizes()
        trainer = StudentTrainer(
            recipe=self.recipe,
            evaluation=setup.evaluation,
            evaluator=build_component(setup.evaluation.evaluator, "evaluator", Evaluator, shop.registry),
            dataset=shop.dataset,
            teacher=labels.during_training(teacher),
            registry=shop.registry,
            runtime=shop.runtime,
        )
        score = trainer.score(
            distilled,
            f"{self.place.row}, {setup.column.key}",
            recall=lambda number: read_json(files[number]) if self._usable(files[number]) else None,
            keep=lambda number, found: self.folder.checksums.write(
                files[number], json_bytes({**found, "bytes": sizes})
            ),
            unfinished=lambda number: self.folder.unfinished(files[number].stem),
        )
        return score.students, sizes

    def _or_failure(self, made: Callable[[], T], failed: Callable[[str], T], what: str) -> T:
        """Return `made()`. If it raises, return `failed(reason)`, so that the other rows go on."""
        try:
            return made()
        except BrokenPipeError:
            raise  # The reader of our output has gone; the row has not failed.
        except (Exception, SystemExit) as error:  # A plugin's code may raise anything.
            meant = isinstance(error, CondenseError)
            reason = str(error) if meant else f"{type(error).__name__}: {error}"
            if not meant or (isinstance(error, PluginError) and error.__cause__):
                log = self.shop.folder / "failures" / f"{self.folder.path.name}-{what}.log"
                write_text(log, traceback.format_exc())
                reason += f" (traceback in {between(self.shop.folder, log)})"
        self.worked = True
        self.shop.progress.note(f"{self.place.row} failed: {reason}")
        return failed(reason)
