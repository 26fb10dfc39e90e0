"""Carry out a comparison: load dataset and teacher once, then compute task by task. All finished work is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from condense.comparison.amount import amount_of
from condense.comparison.cells import Workshop, jobs_of
from condense.comparison.design import Design, Place
from condense.comparison.outcome import Cell, Distilled, Outcome, TeacherFacts
from condense.comparison.progress import Forecast, Progress
from condense.comparison.saved import JSON, PAGE, to_dict
from condense.comparison.school import School
from condense.comparison.students import students_jobs
from condense.comparison.study import Study
from condense.comparison.summary import Summary, summarise
from condense.comparison.tasks import Task, tasks_of
from condense.comparison.terms import DATASETS
from condense.comparison.workspace import Workspace, check_folder
from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import coder_of
from condense.engine.parts import Part, parts_of
from condense.engine.plan import make_plan
from condense.engine.preflight import preflight
from condense.engine.real import counts_in, real_dataset
from condense.errors import CondenseError, StorageError
from condense.executors.board import Board
from condense.executors.executor import Executor
from condense.executors.foreman import OneScript, Script
from condense.executors.foreman import carry_out as finish
from condense.recipe.config import Recipe, RunConfig, dataset_label, digest
from condense.recipe.registry import Registry
from condense.runs import provenance
from condense.runs.build import build_parts, check_images
from condense.runs.machine import runtime_of
from condense.runs.pipeline import order_of
from condense.runs.site import Job, RunSite
from condense.runs.usual import usual_executor
from condense.runtime import Reporter, SilentReporter, process_settings
from condense.storage.files import read_json, write_json
from condense.storage.locks import held


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """The result of a comparison.

    path: its folder, with compare.json, compare.md, compare.png and compare.html.
    outcome: what was found.
    """

    path: Path
    outcome: Outcome

    @cached_property
    def summary(self) -> Summary:
        """The computed table: means, intervals, differences, scores."""
        return summarise(self.outcome)

    @property
    def page(self) -> Path:
        """Path of the page that shows everything."""
        return self.path / PAGE

    @property
    def failures(self) -> tuple[Distilled | Cell, ...]:
        """The results that failed."""
        return self.outcome.failures

    def to_dict(self) -> dict[str, Any]:
        """Return what compare.json holds."""
        return to_dict(self.outcome, self.summary)


def carry_out(
    design: Design,
    out: Path,
    registry: Registry,
    reporter: Reporter | None = None,
    *,
    executor: Executor | None = None,
) -> ComparisonResult:
    """Carry out the comparison in out/name, or what is missing of it. The caller writes the reports.

    executor: has the pieces of all cells done; None for the one that suits the work.

    A row that fails says why in the outcome, and the others go on. Raises CondenseError if something that all
    rows need fails.
    """
    progress = Progress(reporter or SilentReporter())
    recipe, machine = design.recipe, design.machine
    # Several processes that compute share the cores already.
    loaders = machine.loaders if executor is None or executor.alone else 0
    runtime = runtime_of(replace(machine, loaders=loaders), progress)
    folder = out / design.name
    check_folder(folder)
    with held(folder), process_settings(runtime):
        dataset = real_dataset(recipe, machine, registry, runtime)
        refused = _refusals(design, dataset, registry, progress)
        for note in (*dataset.notes, *design.notes):
            progress.note(note)
        chosen = replace(machine, device=str(runtime.device), precision=runtime.precision)
        space = Workspace(out, registry, chosen)
        _check_images(space, recipe, dataset)
        preflight(_networks(design, registry, refused), dataset, registry, runtime, chosen=recipe.dataset)
        school = School(design, space, dataset, registry, runtime)
        school.check()
        shop = Workshop(
            design=design,
            space=space,
            registry=registry,
            runtime=runtime,
            progress=progress,
            dataset=dataset,
            jobs=jobs_of(design, space),
            folder=folder,
            refused=refused,
        )
        jobs: dict[str, Job] = {**school.jobs, **shop.jobs, **students_jobs(design, space, school.files)}
        site = RunSite(jobs=jobs, registry=registry, machine_runtime=runtime, dataset=dataset)
        config = RunConfig(recipe=recipe, evaluation=design.columns[0].evaluation, machine=machine)
        order = order_of(site, config, probe=out / DATASETS)
        if executor is None:
            counts = counts_in(dataset)
            amount = amount_of(design, registry, counts, refused)
            executor = usual_executor(amount.divided, counts, runtime, registry)
        board = Board(progress)
        with executor.crew(order, site, board.tell) as crew:
            finish(OneScript(school.script()), crew, board)
            book = _Book(design, dataset, school.facts, provenance.versions(registry))
            tasks = _Tasks(replace(shop, threads=(crew.threads, crew.alone)), book, crew.size)
            finish(tasks, crew, board)
    return ComparisonResult(path=folder, outcome=book.outcome(complete=True))


class _Book:
    """The results so far. A place whose students are not done yet is not told."""

    def __init__(
        self,
        design: Design,
        dataset: RealDataset,
        teachers: dict[str, TeacherFacts],
        versions: dict[str, str],
    ) -> None:
        self._design, self._dataset, self._teachers, self._versions = design, dataset, teachers, versions
        self.distilled: dict[Place, Distilled] = {}
        self.cells: dict[Place, list[Cell]] = {}

    def outcome(self, *, complete: bool) -> Outcome:
        """Return the outcome in the order of rows, images per class and seeds, whatever the order of work."""
        design, dataset = self._design, self._dataset
        order = [
            place
            for row in design.rows
            for ipc in design.ipcs
            for seed in design.seeds
            if (place := Place(row=row.label, ipc=ipc, seed=seed)) in self.cells
        ]
        images = len(dataset.train)
        return Outcome(
            name=design.name,
            kind=design.kind,
            dataset=dataset_label(design.recipe.dataset.name),
            classes=len(dataset.classes),
            images=images,
            bytes=images * dataset.channels * dataset.size**2,
            ipcs=design.ipcs,
            seeds=design.seeds,
            students=design.students,
            rows=design.rows,
            columns=tuple(setup.column for setup in design.columns),
            distilled=tuple(self.distilled[place] for place in order),
            cells=tuple(cell for place in order for cell in self.cells[place]),
            teacher=next(iter(self._teachers.values())),
            teachers=self._teachers if len(self._teachers) > 1 else {},
            reference=design.reference,
            validation=design.validation,
            command=design.command,
            notes=(*dataset.notes, *design.notes),
            versions=self._versions,
            finished=complete,
        )


class _Tasks:
    """The tasks of a comparison as scripts. compare.json is written after each, so that it can be looked at."""

    def __init__(self, shop: Workshop, book: _Book, workers: int) -> None:
        self._shop, self._book, self._workers = shop, book, workers
        design = shop.design
        # Finished tasks come first: they show how long the rest may take, and compare.json holds them from the start.
        self._left = sorted(tasks_of(design), key=lambda task: not shop.is_done(task))
        self._begun: list[Task] = []
        self._total = len(self._left)
        references = {row.label for row in design.rows if design.reference and row.stem == design.reference}
        self._forecast = Forecast([setup.column.key for setup in design.columns], references)

    def following(self, *, idle: bool) -> Script[None] | None:
        """Return the script of a task whose images are there and on which nobody works.

        If all are worked on elsewhere, wait for one if idle.
        """
        task = next(filter(self._shop.is_free, self._ready()), None)
        if task is None and idle:
            task = next(self._ready(), None)
        if task is None:
            return None
        if not self._shop.is_done(task):
            seconds = self._forecast.left([*self._begun, *self._left])
            number = self._total - len(self._left) + 1
            together = min(self._workers, len(self._left) + len(self._begun))
            self._shop.progress.piece(number, self._total, task.text(), seconds and seconds / together)
        self._left.remove(task)
        self._begun.append(task)
        return self._script(task)

    def _ready(self) -> Iterator[Task]:
        """Yield the tasks that are left and whose images are there, or are a part of them."""
        made = self._book.distilled
        return (
            task
            for task in self._left
            if all(place in task.images or place in made for place in task.students)
        )

    def _script(self, task: Task) -> Script[None]:
        shop, book = self._shop, self._book
        some_worked = False
        with shop.locked(task):
            for place in task.images:
                book.distilled[place], worked = yield from shop.distil(place)
                some_worked |= worked
                self._forecast.learn_images(book.distilled[place])
            study = Study(shop, [place for place in task.students if not book.distilled[place].failure])
            cells = yield from study.script()
        for place in task.students:
            book.cells[place] = cells.get(place, [])
            self._forecast.learn_students(book.cells[place])
        self._begun.remove(task)
        if some_worked or study.worked:
            so_far = book.outcome(complete=False)
            write_json(shop.folder / JSON, to_dict(so_far, summarise(so_far)))


def _refusals(
    design: Design, dataset: RealDataset, registry: Registry, progress: Progress
) -> dict[Place, str]:
    """Return the places that cannot be worked on, with the reasons, before a teacher is trained.

    Raises CondenseError if there is no other place.
    """
    refused: dict[Place, str] = {}
    for place, config in design.runs.items():
        try:
            check_images(place.ipc, dataset, coder_of(config.recipe.parametrization, registry))
            build_parts(make_plan(config, registry), registry)
        except CondenseError as error:
            refused[place] = str(error)
            if len(refused) == len(design.runs):
                raise
        except (
            Exception,
            SystemExit,
        ):  # A plugin's code may raise anything; the row tells it with its traceback.
            progress.note(f"{place.row} will fail while its parts are built")
    return refused


def _networks(design: Design, registry: Registry, refused: Collection[Place]) -> list[Part]:
    """Return the networks of every row and column. A comparison always has a teacher."""
    parts = [Part(role="teacher", use=design.recipe.teacher.model)]
    for place, config in design.runs.items():
        if place not in refused:
            parts += parts_of(make_plan(config, registry))
    parts += [
        Part(role="student", use=setup.evaluation.student_network(design.recipe.teacher))
        for setup in design.columns
    ]
    return parts


def _check_images(space: Workspace, recipe: Recipe, dataset: RealDataset) -> None:
    """Raise StorageError if the workspace holds work on other images under the same dataset name."""
    asked = [recipe.dataset, recipe.validation, recipe.teacher_seed]
    if recipe.teacher.model.options.get("pretrained"):
        asked.append(dataset.train.images.shape)  # pretrained weights choose how images are resized
    file = space.out / DATASETS / f"{digest(asked)[:10]}.json"
    found = {
        "dataset": recipe.dataset.name,
        "images": [dataset.train.hash, dataset.test.hash],
    }
    if not file.exists():
        write_json(file, found)
    elif read_json(file) != found:
        raise StorageError(
            f"{space.out} holds work on other images that were called {recipe.dataset.name!r} as well; choose "
            "another folder with --out"
        )
