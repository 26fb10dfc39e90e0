"""Making a comparison: dataset and teacher once, cell by cell, everything kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from condense.comparison.cells import Workshop, finished
from condense.comparison.design import Design, Place
from condense.comparison.outcome import Cell, Distilled, Outcome, TeacherFacts
from condense.comparison.processes import check_jobs, helpers
from condense.comparison.progress import Forecast, Progress
from condense.comparison.report.write import write_all
from condense.comparison.saved import JSON, PAGE, to_dict
from condense.comparison.summary import Summary, summarise
from condense.comparison.workspace import Shelf
from condense.data.dataset import RealDataset
from condense.data.load import load_dataset
from condense.engine.squeeze import fresh_teacher
from condense.errors import StorageError
from condense.recipe.config import dataset_label
from condense.recipe.registry import Registry
from condense.runs import provenance
from condense.runs.pipeline import check_ipc
from condense.runs.teachers import Taught
from condense.runtime import Reporter, Runtime, SilentReporter, make_runtime, numeric_settings
from condense.storage.files import write_json
from condense.storage.locks import held


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """What a comparison found. path: its folder, with compare.json, compare.md, compare.png and compare.html."""

    path: Path
    outcome: Outcome

    @cached_property
    def summary(self) -> Summary:
        """The table, worked out: means, intervals, differences, scores."""
        return summarise(self.outcome)

    @property
    def page(self) -> Path:
        """The page that shows all of it."""
        return self.path / PAGE

    @property
    def failures(self) -> tuple[Distilled | Cell, ...]:
        """What did not work."""
        return self.outcome.failures

    def to_dict(self) -> dict[str, Any]:
        """What compare.json holds."""
        return to_dict(self.outcome)


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How much of a comparison there is, and how much of it is done. students: over all columns."""

    path: Path
    cells: int
    cells_done: int
    students: int
    students_done: int


def carry_out(
    design: Design, out: Path, registry: Registry, reporter: Reporter | None = None, *, jobs: int = 1
) -> ComparisonResult:
    """Make the comparison in out/name, go on with it, or take it from there. jobs: processes that work on it.

    A row that fails says why in the outcome and the others go on. Raises CondenseError for what all rows need.
    """
    check_jobs(jobs, registry)
    progress = Progress(reporter or SilentReporter())
    runtime = make_runtime(design.shared.device, design.shared.precision, progress)
    folder = out / design.name
    _check_folder(folder)
    with held(folder), numeric_settings(runtime):
        dataset = load_dataset(design.shared, registry)
        for ipc in design.ipcs:
            check_ipc(ipc, dataset)
        for note in (*dataset.notes, *design.notes):
            progress.note(note)
        shelf = Shelf(out, registry, runtime)
        shelf.check_images(design.shared, dataset)
        taught, facts = _teach(design, shelf, dataset, registry, runtime, progress)
        shop = Workshop(
            design=design,
            shelf=shelf,
            registry=registry,
            runtime=runtime,
            progress=progress,
            dataset=dataset,
            taught=taught,
            folder=folder,
        )
        book = _Book(design, dataset, facts, provenance.versions(registry))
        further = min(jobs, len([place for place in design.places() if not shop.is_done(place)])) - 1
        with helpers(max(0, further), design, out, taught, registry, progress):
            outcome = _all_cells(shop, book, jobs)
        write_all(outcome, folder)
    return ComparisonResult(path=folder, outcome=outcome)


def look_ahead(design: Design, out: Path, registry: Registry) -> Outlook:
    """What there is to do, without doing or writing anything."""
    runtime = make_runtime(design.shared.device, design.shared.precision)
    shelf = Shelf(out, registry, runtime)
    cells = students = 0
    for place in design.places():
        config = shelf.run_config(design.runs[place])
        if finished(shelf.cell(config)):
            cells += 1
            students += sum(
                file.exists()
                for course in design.courses
                for file in shelf.students(config, course, design.students)
            )
    places = len(list(design.places()))
    return Outlook(
        path=out / design.name,
        cells=places,
        cells_done=cells,
        students=places * len(design.courses) * design.students,
        students_done=students,
    )


class _Book:
    """What is known so far."""

    def __init__(
        self, design: Design, dataset: RealDataset, teacher: TeacherFacts, versions: dict[str, str]
    ) -> None:
        self._design, self._dataset, self._teacher, self._versions = design, dataset, teacher, versions
        self.distilled: dict[Place, Distilled] = {}
        self.cells: dict[Place, list[Cell]] = {}

    def outcome(self, *, complete: bool) -> Outcome:
        """In the order of rows, images per class and seeds, whatever the order of work."""
        design, dataset = self._design, self._dataset
        order = [
            place
            for row in design.rows
            for ipc in design.ipcs
            for seed in design.seeds
            if (place := Place(row=row.label, ipc=ipc, seed=seed)) in self.distilled
        ]
        images = len(dataset.train)
        return Outcome(
            name=design.name,
            kind=design.kind,
            dataset=dataset_label(design.shared.dataset.name),
            classes=len(dataset.classes),
            images=images,
            bytes=images * dataset.channels * dataset.size**2,
            ipcs=design.ipcs,
            seeds=design.seeds,
            students=design.students,
            rows=design.rows,
            columns=tuple(course.column for course in design.courses),
            distilled=tuple(self.distilled[place] for place in order),
            cells=tuple(cell for place in order for cell in self.cells[place]),
            teacher=self._teacher,
            floor=design.floor,
            validation=design.shared.validation,
            command=design.command,
            notes=(*dataset.notes, *design.notes),
            versions=self._versions,
            finished=complete,
        )


def _all_cells(shop: Workshop, book: _Book, jobs: int) -> Outcome:
    """Cell by cell; compare.json is written after each, so that an interrupted comparison can be looked at."""
    # What is done comes first: it says how long the rest may take, and is in compare.json from the start.
    left = sorted(shop.design.places(), key=lambda place: not shop.is_done(place))
    total = len(left)
    forecast = Forecast([course.column.key for course in shop.design.courses], shop.design.floor)
    while left:
        place = next(filter(shop.is_free, left), left[0])
        if not shop.is_done(place):
            seconds = forecast.left(left)
            shop.progress.piece(
                total - len(left) + 1, total, place, seconds and seconds / min(jobs, len(left))
            )
        left.remove(place)
        distilled, cells, worked = shop.work(place)
        book.distilled[place], book.cells[place] = distilled, cells
        forecast.learn(distilled, cells)
        if worked:
            write_json(shop.folder / JSON, to_dict(book.outcome(complete=False)))
    return book.outcome(complete=True)


def _teach(
    design: Design,
    shelf: Shelf,
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    progress: Progress,
) -> tuple[Taught, TeacherFacts]:
    """The one teacher, trained where it is not there yet."""
    config = shelf.run_config(design.shared)
    teachers = shelf.teachers
    file = teachers.file(config, dataset, runtime)
    with held(
        teachers.path, waiting=lambda: progress.note("another process trains a teacher; waiting for it")
    ):
        known = file.exists() and file.with_suffix(".json").exists()
        network = fresh_teacher(config, dataset, registry, runtime, to_be_filled=known)
        taught = teachers.teach(network, config, dataset, runtime)
    facts = TeacherFacts(
        model=network.name,
        accuracy=taught.accuracy,
        seconds=0.0 if known else taught.seconds,
        hash=file.stem,
        bytes=taught.file.stat().st_size,
    )
    return taught, facts


def _check_folder(folder: Path) -> None:
    """Raise StorageError where something else lies in the comparison's place."""
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not _is_comparison(list(folder.iterdir()))):
        raise StorageError(f"{folder} is there already and no comparison; choose another --name or --out")


def _is_comparison(found: Sequence[Path]) -> bool:
    return any(entry.name in (JSON, "grids", "failures") for entry in found) and not any(
        entry.name == "run.json" for entry in found
    )
