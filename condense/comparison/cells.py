"""One cell of a comparison: a row distilled once, and the students of every column on it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from condense.comparison.columns import Course
from condense.comparison.design import Design, Place
from condense.comparison.outcome import Cell, Distilled
from condense.comparison.progress import Progress
from condense.comparison.workspace import Shelf, between
from condense.data.dataset import RealDataset
from condense.engine.components import Measurement
from condense.engine.evaluate import Bench
from condense.engine.plan import make_plan
from condense.engine.relabel import relabel
from condense.engine.squeeze import fresh_teacher
from condense.errors import CondenseError
from condense.models.build import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry
from condense.runs.pipeline import run
from condense.runs.teachers import Taught
from condense.runtime import Runtime
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.files import read_json, same_file, write_json, write_text
from condense.storage.locks import HeldError, held
from condense.storage.run_folder import RunFolder

T = TypeVar("T")
_DISTILLING = ("measure", "recover")
_NOT_THE_ROWS = ("protocol", "student", "evaluator", "students", "reference", "data_dir")


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What all cells of a comparison share. folder: the comparison's own."""

    design: Design
    shelf: Shelf
    registry: Registry
    runtime: Runtime
    progress: Progress
    dataset: RealDataset
    taught: Taught
    folder: Path

    @cached_property
    def teacher(self) -> Network:
        """The teacher that labels come from."""
        network = fresh_teacher(
            self.design.shared, self.dataset, self.registry, self.runtime, to_be_filled=True
        )
        load_checkpoint(network, self.taught.file)
        return network.frozen()

    def is_done(self, place: Place) -> bool:
        """Whether nothing is left to compute there."""
        bench = _Place(self, place)
        files = [file for course in self.design.courses for file in bench.files(course)]
        return finished(bench.folder) and all(file.exists() for file in files)

    def is_free(self, place: Place) -> bool:
        """Whether no other process works there just now."""
        try:
            with held(_Place(self, place).folder.path):
                return True
        except HeldError:
            return False

    def work(self, place: Place) -> tuple[Distilled, list[Cell], bool]:
        """Do what is left of a place; what failed says why. Last: whether there was anything to do."""
        bench = _Place(self, place)
        with held(bench.folder.path, waiting=bench.say_that_it_waits):
            distilled = bench.distil()
            cells = [] if distilled.failure else [bench.train(course) for course in self.design.courses]
        return distilled, cells, bench.worked


@dataclass
class _Place:
    """One place under way. worked: whether anything had to be computed."""

    shop: Workshop
    place: Place
    worked: bool = False

    @cached_property
    def config(self) -> RunConfig:
        return self.shop.shelf.run_config(self.shop.design.runs[self.place])

    @cached_property
    def folder(self) -> RunFolder:
        return self.shop.shelf.cell(self.config)

    @cached_property
    def images(self) -> DistilledDataset:
        return artifact.load(self.folder.path)

    @cached_property
    def relabelled(self) -> DistilledDataset:
        return relabel(self.images, self.shop.teacher, self.shop.runtime)

    def files(self, course: Course) -> list[Path]:
        """Where the results of a column's students lie."""
        return self.shop.shelf.students(self.config, course, self.shop.design.students)

    def say_that_it_waits(self) -> None:
        self.shop.progress.note(f"another process works on {self.folder.path.name}; waiting for it")

    def distil(self) -> Distilled:
        """Recover the images, unless that is done, and say what came of it."""
        common: dict[str, Any] = {"row": self.place.row, "ipc": self.place.ipc, "seed": self.place.seed}

        def made() -> Distilled:
            if not finished(self.folder):
                self.worked = True
                run(
                    self.config,
                    self.folder.path,
                    registry=self.shop.registry,
                    reporter=self.shop.progress,
                    resume=self.folder.run_json.exists(),
                    teachers=self.shop.shelf.teachers,
                    dataset=self.shop.dataset,
                )
            journal = read_json(self.folder.run_json)
            settings = {
                key: value
                for key, value in self.config.without_places().to_dict().items()
                if key not in _NOT_THE_ROWS
            }
            grid = self.shop.folder / "grids" / f"{self.folder.path.name}.png"
            if not grid.exists():
                same_file(self.folder.grid, grid)
            sizes = journal["outcome"]["bytes"]
            return Distilled(
                **common,
                path=between(self.shop.folder, self.folder.path),
                grid=between(self.shop.folder, grid),
                seconds={
                    stage: journal["stages"].get(stage, {}).get("seconds", 0.0) for stage in _DISTILLING
                },
                bytes={part: sizes[part] for part in ("images", "labels")},
                settings=settings,
            )

        return self._or_failure(made, lambda reason: Distilled(**common, failure=reason), "distil")

    def train(self, course: Course) -> Cell:
        """Train and test the students of a column, those that are not there yet."""
        common: dict[str, Any] = {
            "row": self.place.row,
            "ipc": self.place.ipc,
            "seed": self.place.seed,
            "column": course.column.key,
        }
        files = self.files(course)

        def made() -> Cell:
            if not all(file.exists() for file in files):
                self.worked = True
                self._train(course, files)
            found = [read_json(file) for file in files]
            students = [msgspec.convert(one, Measurement) for one in found]
            return Cell(
                **common,
                accuracies=tuple(student.accuracy for student in students),
                steps=students[0].steps,
                seconds=sum(student.seconds for student in students) / len(students),
                bytes=found[0]["bytes"],
            )

        return self._or_failure(
            made, lambda reason: Cell(**common, failure=reason), course.column.key.replace("/", "-")
        )

    def _train(self, course: Course, files: list[Path]) -> None:
        config = replace(
            course.config, seed=self.place.seed, ipc=self.place.ipc, students=self.shop.design.students
        )
        distilled = self._as_learned(config.protocol.labels)
        sizes = distilled.sizes()
        bench = Bench(
            config=config,
            dataset=self.shop.dataset,
            evaluator=make_plan(config, self.shop.registry).evaluator,
            teacher=self.shop.teacher if config.protocol.labels == "online" else None,
            registry=self.shop.registry,
            runtime=self.shop.runtime,
        )
        bench.score(
            distilled,
            f"{self.place.row}, {course.column.key}",
            recall=lambda number: read_json(files[number]) if files[number].exists() else None,
            keep=lambda number, found: write_json(files[number], {**found, "bytes": sizes}),
        )

    def _as_learned(self, labels: str) -> DistilledDataset:
        """The images with the labels that a protocol wants."""
        if labels == "soft":
            return self.relabelled
        size = self.shop.taught.file.stat().st_size
        mode: Any = labels
        return replace(self.images, label_mode=mode, teacher_bytes=size)

    def _or_failure(self, made: Callable[[], T], failed: Callable[[str], T], what: str) -> T:
        """What `made` gives; where it raises, `failed` of the reason, and other rows go on."""
        try:
            return made()
        except BrokenPipeError:
            raise  # whoever reads along has gone: that is no row's fault
        except CondenseError as error:
            reason = str(error)
        except (Exception, SystemExit) as error:  # A plugin's code may raise anything.
            log = self.shop.folder / "failures" / f"{self.folder.path.name}-{what}.log"
            write_text(log, traceback.format_exc())
            reason = f"{type(error).__name__}: {error} (traceback in {between(self.shop.folder, log)})"
        self.worked = True
        self.shop.progress.note(f"{self.place.row} failed: {reason}")
        return failed(reason)


def finished(folder: RunFolder) -> bool:
    """Whether everything that a run leaves behind is there."""
    if not (folder.run_json.exists() and folder.distilled.is_dir() and folder.grid.exists()):
        return False
    return bool(read_json(folder.run_json).get("status") == "done")
