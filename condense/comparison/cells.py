"""The cells of a comparison: each is the images of one row, made with one number of images per class and one seed."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from condense.comparison.columns import ColumnSetup
from condense.comparison.design import Design, Place
from condense.comparison.outcome import Distilled
from condense.comparison.progress import Progress
from condense.comparison.tasks import Task, tasks_of
from condense.comparison.workspace import Workspace, between, finished
from condense.data.dataset import RealDataset
from condense.errors import CondenseError, PluginError
from condense.executors.foreman import Script
from condense.recipe.config import Recipe, RunConfig, public_settings
from condense.recipe.method import IMPORTED
from condense.recipe.registry import Registry
from condense.runs import provenance
from condense.runs.bench import RunJob
from condense.runs.pipeline import RunDriver
from condense.runs.result import RunResult
from condense.runtime import Runtime
from condense.storage.files import same_file, write_text
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

    def cell(self, place: Place) -> CellWork:
        """Return the cell of a place, which is not a refused one, in progress."""
        return CellWork(self, place)

    def is_done(self, task: Task) -> bool:
        """Return whether nothing is left to compute for a task."""
        files = (
            file
            for place in task.students
            if place not in self.refused
            for setup in self.design.columns
            for file in self.cell(place).files(setup)
        )
        made = (place in self.refused or finished(self.cell(place).folder) for place in task.images)
        return all(made) and all(file.exists() for file in files)

    def is_free(self, task: Task) -> bool:
        """Return whether nobody works on the places of a task now."""
        try:
            with self.locked(task, wait=False):
                return True
        except HeldError:
            return False

    @contextmanager
    def locked(self, task: Task, *, wait: bool = True) -> Iterator[None]:
        """Lock the places of a task inside the block, in an order in which no two processes wait for each other.

        wait: whether to wait for another process; otherwise HeldError is raised.
        """
        cells = [self.cell(place) for place in task.places if place not in self.refused]
        with ExitStack() as locks:
            for cell in sorted(cells, key=lambda cell: cell.folder.path.name):
                locks.enter_context(held(cell.folder.path, waiting=cell.say_that_it_waits if wait else None))
            yield

    def distil(self, place: Place) -> Script[tuple[Distilled, bool]]:
        """Yield the pieces that are missing of the images of a place. A result that failed says why.

        Return what was distilled, and whether anything was missing.
        """
        if place in self.refused:
            reason = self.refused[place]
            self.progress.note(f"{place.row} with {counted(place.ipc, 'image')} per class failed: {reason}")
            return Distilled(row=place.row, ipc=place.ipc, seed=place.seed, failure=reason), False
        cell = self.cell(place)
        return (yield from cell.distil()), cell.worked


def jobs_of(design: Design, space: Workspace) -> dict[str, RunJob]:
    """Return the runs of all cells by the names of their folders."""
    folders = {place: space.cell(config.recipe).path for place, config in design.runs.items()}
    return {
        folders[place].name: RunJob(config=config, path=folders[place], teachers=space.teachers)
        for place, config in design.runs.items()
    }


@dataclass(eq=False)
class CellWork:
    """One cell in progress. worked: whether anything had to be computed."""

    shop: Workshop
    place: Place
    worked: bool = False

    @cached_property
    def config(self) -> RunConfig:
        """The run of the cell."""
        return self.shop.design.runs[self.place]

    @property
    def recipe(self) -> Recipe:
        """How the images are made."""
        return self.config.recipe

    @cached_property
    def folder(self) -> RunFolder:
        """The run directory of the cell."""
        return self.shop.space.cell(self.recipe)

    def files(self, setup: ColumnSetup) -> list[Path]:
        """Return the files with the results of a column's students."""
        return self.shop.space.students(self.recipe, setup)

    def say_that_it_waits(self) -> None:
        """Note that another process works on the cell."""
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
            return Distilled(**common, failure=self.reason(error, "distil"))

    def _facts(self) -> Script[tuple[Mapping[str, float], Mapping[str, int], str]]:
        """Return the seconds of each stage, the bytes of each part and what students kept, of a finished or new run."""
        if finished(self.folder):
            saved = self.folder.read()
            self._tell_threads(saved.get("host", {}))
            outcome = saved["outcome"]
            return outcome["seconds"], outcome["bytes"], (outcome.get("choice") or {}).get("kept_text", "")
        self.worked = True
        result = yield from self.run()
        kept = result.choice.kept_text() if result.choice else ""
        return result.seconds, result.distilled.sizes(), kept

    def _tell_threads(self, made_on: Mapping[str, str]) -> None:
        """Note that a finished run stands beside work that is left and will have another number of threads."""
        host = provenance.host(self.shop.runtime, self.config, *self.shop.threads)
        told = provenance.other_threads(made_on.get("threads", host["threads"]), host)
        if told and not all(map(self.shop.is_done, tasks_of(self.shop.design))):
            self.shop.progress.note(told)

    def run(self) -> Script[RunResult]:
        """Yield the pieces of the run that are missing or damaged, and return its result. Raises what it raises."""
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

    def reason(self, error: BaseException, what: str) -> str:
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
