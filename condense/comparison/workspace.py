"""The folder that comparisons share: equal work has equal names, so that it is done once."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from condense.comparison.columns import ColumnSetup
from condense.comparison.design import Design
from condense.comparison.terms import CELLS, RESULTS, TEACHERS
from condense.errors import StorageError, checked_path
from condense.recipe.config import Machine, Recipe, by_content, digest, placeless
from condense.recipe.registry import Registry
from condense.recipe.sources import judges_of, parts_of, plugin_marks
from condense.runtime import compile_for
from condense.storage.files import read_json
from condense.storage.run_folder import RunFolder
from condense.version import host_version


@dataclass(frozen=True)
class Workspace:
    """The folder that comparisons share. The name of a piece of work depends on everything that determines it.

    out: the folder.
    registry: what plugins offer.
    machine: the machine that computes, with a definite device and precision instead of "auto".
    """

    out: Path
    registry: Registry
    machine: Machine

    @property
    def teachers(self) -> Path:
        """The folder of teachers."""
        return self.out / TEACHERS

    @property
    def cells(self) -> Path:
        """The folder of cells."""
        return self.out / CELLS

    def cell(self, recipe: Recipe) -> RunFolder:
        """Return the folder in which a recipe is distilled, whether it exists or not."""
        kind, _, argument = recipe.dataset.name.partition(":")
        dataset = "-".join(filter(None, (kind, Path(argument).name)))
        stem = f"{recipe.method}-{dataset}-ipc{recipe.ipc}-seed{recipe.seed}"
        versions = dict(_own_versions())
        versions |= plugin_marks(parts_of(recipe), self.registry)
        known = replace(recipe, teacher=by_content(recipe.teacher), initializer=placeless(recipe.initializer))
        judges = recipe.select.epochs if recipe.select.students else 0
        steps = max(recipe.recover.iterations, judges)
        made_of = [known.hash, self.machine.hash, versions, *self._compiled(steps)]
        return RunFolder(self.cells / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', stem)}-{digest(made_of)[:10]}")

    def students(self, recipe: Recipe, setup: ColumnSetup) -> list[Path]:
        """Return the result files of a column's students, by student number, whether they exist or not.

        The cell's folder stands for everything that the recipe and the machine determine.
        """
        evaluation = setup.evaluation
        uses = judges_of(evaluation, recipe.teacher)
        name = f"{setup.column.protocol}-{setup.column.epochs}"
        made_of = [
            evaluation.hash,
            plugin_marks(uses, self.registry),
            *self._compiled(evaluation.protocol.epochs),
        ]
        name += f"-{digest(made_of)[:10]}"
        folder = self.cell(recipe)
        return [folder.student(name, number) for number in range(evaluation.students)]

    def _compiled(self, steps: int) -> list[str]:
        """Return what names add for work of at least `steps` equal steps that is compiled."""
        device = self.machine.device.partition(":")[0]
        return [] if compile_for(self.machine.compile, device, steps) == "off" else ["compiled"]


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The amount of work in a comparison, and how much of it is done.

    path: the comparison's folder.
    cells: the number of rows, each distilled for one ipc and seed.
    students: their number over all columns.
    """

    path: Path
    cells: int
    cells_done: int
    students: int
    students_done: int


def look_ahead(design: Design, out: Path, registry: Registry) -> Outlook:
    """Return how much there is to do, without doing or writing anything.

    For a device or precision of "auto", count the work of the kind of machine that has done most here.
    """
    spaces = [Workspace(out, registry, machine) for machine in design.machine.kinds()]
    cells_done, students_done = max(_done(design, space) for space in spaces)
    places = len(list(design.places()))
    return Outlook(
        path=out / design.name,
        cells=places,
        cells_done=cells_done,
        students=places * len(design.columns) * design.students,
        students_done=students_done,
    )


def finished(folder: RunFolder) -> bool:
    """Return whether a run is done and everything that it saves is there."""
    if not (folder.run_json.exists() and folder.distilled.is_dir() and folder.grid.exists()):
        return False
    data = read_json(folder.run_json)
    return isinstance(data, dict) and data.get("status") == "done"


@functools.cache
def _own_versions() -> tuple[tuple[str, str], ...]:
    return (("condense", host_version()), ("torch", importlib.metadata.version("torch")))


def between(folder: Path, other: Path) -> str:
    """Return the relative path from a folder to another path, with slashes."""
    return Path(os.path.relpath(other, folder)).as_posix()


def check_folder(folder: Path) -> None:
    """Raise StorageError if the comparison's folder holds something else."""
    if not checked_path(folder).exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not _is_comparison(list(folder.iterdir()))):
        raise StorageError(f"{folder} exists already and is not a comparison; choose another --name or --out")


def _is_comparison(found: Sequence[Path]) -> bool:
    return any(entry.name in (RESULTS, "grids", "failures") for entry in found) and not any(
        entry.name == "run.json" for entry in found
    )


def _done(design: Design, space: Workspace) -> tuple[int, int]:
    """Return how many cells and students of a comparison lie in a workspace."""
    cells = students = 0
    for place in design.places():
        recipe = design.runs[place].recipe
        if finished(space.cell(recipe)):
            cells += 1
            files = [file for setup in design.columns for file in space.students(recipe, setup)]
            students += sum(file.exists() for file in files)
    return cells, students
