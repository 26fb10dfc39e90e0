"""One cell of a comparison: one row, distilled once, and the students of every column that learn from it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from condense.comparison.columns import ColumnSetup
from condense.comparison.design import Design, Place
from condense.comparison.outcome import Cell, Distilled
from condense.comparison.progress import Progress
from condense.comparison.workspace import Workspace, between, finished
from condense.data.dataset import RealDataset
from condense.engine.evaluate import Score, known_result
from condense.engine.labels import LABELS
from condense.engine.unfinished import discard
from condense.errors import CondenseError, PluginError
from condense.executors.foreman import Script
from condense.executors.pieces import Batch, Failed, Group, Piece
from condense.recipe.config import Recipe, RunConfig, public_settings
from condense.recipe.method import IMPORTED
from condense.recipe.registry import Registry
from condense.runs import provenance
from condense.runs.bench import RunJob
from condense.runs.graph import students_together, unfinished_of
from condense.runs.lessons import Judging
from condense.runs.pipeline import RunDriver
from condense.runs.result import RunResult
from condense.runtime import Runtime
from condense.storage.checksums import DamagedError
from condense.storage.files import read_json, same_file, write_text
from condense.storage.locks import HeldError, held
from condense.storage.run_folder import RunFolder
from condense.text import counted

_DISTILLING = ("measure", "recover")


def _of_distilling(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of the stages that make images. A pool counts only where this run trained it."""
    some = {stage: seconds[stage] for stage in ("pool", "select") if stage in seconds}
    return {**some, **{stage: seconds.get(stage, 0.0) for stage in _DISTILLING}}


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all cells of a comparison share.

    jobs: the runs of the cells by the names of their folders, as workers know them.
    folder: the comparison's own folder.
    refused: places that cannot be worked on, with the reasons.
    threads: as in `Crew`: of each worker, and for a piece that is done alone.
    """

    design: Design
    space: Workspace
    registry: Registry
    runtime: Runtime
    progress: Progress
    dataset: RealDataset
    jobs: Mapping[str, RunJob]
    folder: Path
    refused: Mapping[Place, str] = field(default_factory=dict)
    threads: tuple[int, int] = (0, 0)

    def is_done(self, place: Place) -> bool:
        """Return whether nothing is left to compute for a place."""
        if place in self.refused:
            return True
        cell = _Cell(self, place)
        files = [file for setup in self.design.columns for file in cell.files(setup)]
        return finished(cell.folder) and all(file.exists() for file in files)

    def is_free(self, place: Place) -> bool:
        """Return whether nobody works on a place now."""
        try:
            with held(_Cell(self, place).folder.path):
                return True
        except HeldError:
            return False

    def work(self, place: Place) -> Script[tuple[Distilled, list[Cell], bool]]:
        """Yield the pieces that are missing for a place. A result that failed says why.

        Return its images, the results of its columns, and whether anything was missing.
        """
        if place in self.refused:
            reason = self.refused[place]
            self.progress.note(f"{place.row} with {counted(place.ipc, 'image')} per class failed: {reason}")
            failed = Distilled(row=place.row, ipc=place.ipc, seed=place.seed, failure=reason)
            return failed, [], False
        cell = _Cell(self, place)
        with held(cell.folder.path, waiting=cell.say_that_it_waits):
            distilled = yield from cell.distil()
            cells = [] if distilled.failure else (yield from cell.columns())
        return distilled, cells, cell.worked


def jobs_of(design: Design, space: Workspace, taught: Mapping[str, Path]) -> dict[str, RunJob]:
    """Return the runs of all cells by the names of their folders, with the students of the columns.

    taught: the files of the teachers, by `Row.teacher`.
    """
    jobs: dict[str, RunJob] = {}
    for place, config in design.runs.items():
        folder, teacher = space.cell(config.recipe), design.teacher_of(place.row)
        columns = {}
        for setup in design.columns:
            wanted = LABELS[setup.evaluation.protocol.labels].need_teacher(setup.evaluation.students)
            columns[setup.column.key] = Judging(
                evaluation=setup.evaluation,
                recipe=design.recipe_of(teacher) if wanted else None,
                teacher=taught[teacher] if wanted else None,
            )
        jobs[folder.path.name] = RunJob(
            config=config,
            path=folder.path,
            teachers=space.teachers,
            columns=columns,
        )
    return jobs


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

    def _usable(self, file: Path) -> bool:
        return self.folder.checksums.usable(file, self.shop.progress.note)

    def files(self, setup: ColumnSetup) -> list[Path]:
        """Return the files with the results of a column's students."""
        return self.shop.space.students(self.recipe, setup)

    def say_that_it_waits(self) -> None:
        self.shop.progress.note(f"another process works on {self.folder.path.name}; waiting for it")

    def distil(self) -> Script[Distilled]:
        """Recover the images unless that is done. Return what was distilled, or why it failed."""
        common: dict[str, Any] = {"row": self.place.row, "ipc": self.place.ipc, "seed": self.place.seed}
        try:
            seconds, sizes, kept = yield from self._facts()
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
                kept=kept,
            )
        except (Exception, SystemExit) as error:  # A plugin's code may raise anything.
            return Distilled(**common, failure=self._reason(error, "distil"))

    def _facts(self) -> Script[tuple[Mapping[str, float], Mapping[str, int], str]]:
        """Return the seconds of each stage, the bytes of each part and what students kept, of a finished or new run."""
        if finished(self.folder):
            saved = self.folder.read()
            self._tell_threads(saved.get("host", {}))
            outcome = saved["outcome"]
            return outcome["seconds"], outcome["bytes"], (outcome.get("choice") or {}).get("kept_text", "")
        self.worked = True
        result = yield from self._run()
        kept = result.choice.kept_text() if result.choice else ""
        return result.seconds, result.distilled.sizes(), kept

    def _tell_threads(self, made_on: Mapping[str, str]) -> None:
        """Note that a finished run stands beside work that is left and will have another number of threads."""
        host = provenance.host(self.shop.runtime, self.config, *self.shop.threads)
        told = provenance.other_threads(made_on.get("threads", host["threads"]), host)
        if told and not all(map(self.shop.is_done, self.shop.design.places())):
            self.shop.progress.note(told)

    def _run(self) -> Script[RunResult]:
        shop, key = self.shop, self.folder.path.name
        driver = RunDriver(
            job=shop.jobs[key],
            registry=shop.registry,
            runtime=replace(shop.runtime, reporter=shop.progress),
            dataset=shop.dataset,
            shown=self.folder.path,
            key=key,
            threads=shop.threads,
        )
        return (yield from driver.steps(resume=self.folder.run_json.exists(), locks=None))

    def columns(self) -> Script[list[Cell]]:
        """Have the missing students of all columns trained and tested, and return the result of each column."""
        results = yield from self._students()
        damaged = [error for error in results.values() if isinstance(error, DamagedError)]
        if damaged:
            # Damaged files are made again from the pieces of the run.
            self.shop.progress.note(f"{damaged[0]}. It is made again")
            yield from self._run()
            results = yield from self._students()
        return [self._cell(setup, results) for setup in self.shop.design.columns]

    def _students(self) -> Script[dict[Piece, Any]]:
        """Have the missing students trained, and return what was found of each student, or the error."""
        columns = {setup.column.key: self._pieces(setup) for setup in self.shop.design.columns}
        pieces = [piece for column in columns.values() for piece in column]
        found: dict[Piece, Any] = {
            piece: [read_json(self.folder.path / name) for name in piece.outputs]
            for piece in pieces
            if self._there(piece)
        }
        done = list(found)
        for piece in done:  # a process may have been killed after it wrote the last of a piece
            for name in unfinished_of(piece):
                discard(self.folder.path / name)
        self.worked |= len(done) < len(pieces)
        results = yield Batch(
            pieces=pieces,
            done=done,
            groups={
                setup.column.key: self._group(setup, columns[setup.column.key], found)
                for setup in self.shop.design.columns
            },
            keep=lambda finished: found.update({finished.piece: finished.facts["students"]}),
            apart=lambda piece: piece.name,
        )
        failed = {piece: result.error for piece, result in results.items() if isinstance(result, Failed)}
        return {**found, **failed}

    def _there(self, piece: Piece) -> bool:
        return all(self._usable(self.folder.path / name) for name in piece.outputs)

    def _pieces(self, setup: ColumnSetup) -> list[Piece]:
        files = [file.relative_to(self.folder.path).as_posix() for file in self.files(setup)]
        return [
            Piece(
                kind="student",
                job=self.folder.path.name,
                name=setup.column.key,
                index=index,
                group=setup.column.key,
                inputs=("distilled/distilled.json",),
                outputs=tuple(files[number] for number in numbers),
            )
            for index, numbers in enumerate(students_together(setup.evaluation))
        ]

    def _group(self, setup: ColumnSetup, pieces: Sequence[Piece], found: Mapping[Piece, Any]) -> Group:
        return Group(
            stage="evaluate",
            detail=f"{counted(setup.evaluation.students, 'student')} on {self.place.row}, {setup.column.key}",
            unit="epoch",
            units=setup.evaluation.protocol.epochs,
            summary=lambda: _score([one for piece in pieces for one in found[piece]]).text(),
        )

    def _cell(self, setup: ColumnSetup, results: Mapping[Piece, Any]) -> Cell:
        """Return the result of a column, or why it failed."""
        column = setup.column.key
        common: dict[str, Any] = {
            "row": self.place.row,
            "ipc": self.place.ipc,
            "seed": self.place.seed,
            "column": column,
        }
        of_pieces = [results[piece] for piece in self._pieces(setup)]
        errors = [one for one in of_pieces if isinstance(one, BaseException)]
        if errors:
            what = re.sub(r"[^A-Za-z0-9._-]+", "-", column)
            return Cell(**common, failure=self._reason(errors[0], what))
        found = [one for some in of_pieces for one in some]
        students = _score(found).students
        return Cell(
            **common,
            accuracies=tuple(student.accuracy for student in students),
            steps=students[0].steps,
            seconds=sum(student.seconds for student in students) / len(students),
            bytes=found[0]["bytes"],
        )

    def _reason(self, error: BaseException, what: str) -> str:
        """Return why a result failed, so that the other rows go on. What is not meant for users leaves its traceback.

        Raises an error that is not the row's: the reader of our output has gone, or someone interrupts.
        """
        if isinstance(error, BrokenPipeError) or not isinstance(error, (Exception, SystemExit)):
            raise error
        meant = isinstance(error, CondenseError)
        reason = str(error) if meant else f"{type(error).__name__}: {error}"
        if not meant or (isinstance(error, PluginError) and error.__cause__):
            log = self.shop.folder / "failures" / f"{self.folder.path.name}-{what}.log"
            write_text(log, "".join(traceback.format_exception(error)))
            reason += f" (traceback in {between(self.shop.folder, log)})"
        self.worked = True
        self.shop.progress.note(f"{self.place.row} failed: {reason}")
        return reason


def _score(found: Sequence[Any]) -> Score:
    """Return what the students of a column reached, from what was found of each."""
    return Score(label="", students=tuple(map(known_result, found)))
