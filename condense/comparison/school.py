"""The teachers of a comparison: each a piece of its own, found again by every comparison that shares the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense.comparison.design import Design
from condense.comparison.outcome import TeacherFacts
from condense.comparison.workspace import Workspace
from condense.data.dataset import RealDataset
from condense.engine.squeeze import fresh_teacher
from condense.executors.foreman import Script
from condense.executors.pieces import Batch, Failed, Piece
from condense.recipe.config import Recipe
from condense.recipe.registry import Registry
from condense.runs.site import Bench, RunSite
from condense.runs.teachers import Teachers, taught
from condense.runtime import Runtime
from condense.storage.locks import held


@dataclass(frozen=True, kw_only=True)
class TeacherJob:
    """A teacher, as an order has it. folder: of the teachers that runs share."""

    recipe: Recipe
    folder: Path

    def bench(self, site: RunSite) -> Bench:
        """Return the bench of a worker for this teacher."""
        return _TeacherBench(self, site)


@dataclass(frozen=True)
class _TeacherBench:
    job: TeacherJob
    site: RunSite

    def do(self, piece: Piece) -> Mapping[str, Any]:
        """Train or load the teacher, unless that was done elsewhere meanwhile."""
        site, recipe = self.site, self.job.recipe
        teachers, runtime = Teachers(self.job.folder, site.registry), site.runtime
        file = teachers.file(recipe, site.dataset, runtime)

        def waiting() -> None:
            runtime.reporter.note("another process trains a teacher; waiting for it")

        with held(teachers.path, part=file.stem, waiting=waiting):
            known = teachers.has(file, runtime)
            network = fresh_teacher(recipe, site.dataset, site.registry, runtime, to_be_filled=known)
            teachers.teach(network, recipe, site.dataset, runtime)
        return {"known": known}


class School:
    """The teachers of a comparison, by `Row.teacher`.

    jobs: as workers know them. files: of their weights. facts: what is told of them, once the script has ended.
    """

    def __init__(
        self, design: Design, space: Workspace, dataset: RealDataset, registry: Registry, runtime: Runtime
    ) -> None:
        self._dataset, self._registry, self._runtime = dataset, registry, runtime
        self._teachers = Teachers(space.teachers, registry)
        self._recipes = {name: design.recipe_of(name) for name in design.teachers}
        self.files = {
            name: self._teachers.file(recipe, dataset, runtime) for name, recipe in self._recipes.items()
        }
        self.jobs = {
            f"teacher {name}": TeacherJob(recipe=recipe, folder=space.teachers)
            for name, recipe in self._recipes.items()
        }
        self.facts: dict[str, TeacherFacts] = {}

    def check(self) -> None:
        """Raise ModelError for a network that does not take these images, before any teacher is trained."""
        if len(self._recipes) > 1:
            for recipe in self._recipes.values():
                fresh_teacher(recipe, self._dataset, self._registry, self._runtime)

    def script(self) -> Script[None]:
        """Yield the teachers that are missing, and take down what is known of each. Raises what training raises."""
        pieces = {
            name: Piece(
                kind="teacher",
                job=f"teacher {name}",
                alone=len(self.files) == 1,
                outputs=(file.name, file.with_suffix(".json").name),
            )
            for name, file in self.files.items()
        }
        known = {name for name, file in self.files.items() if self._teachers.has(file, self._runtime)}
        results = yield Batch(pieces=list(pieces.values()), done=[pieces[name] for name in known])
        for result in results.values():
            if isinstance(result, Failed):
                raise result.error
        for name, file in self.files.items():
            told = taught(file)
            self.facts[name] = TeacherFacts(
                model=name or self._recipes[name].teacher.model.name,
                accuracy=told.accuracy,
                seconds=0.0 if name in known else told.seconds,
                hash=file.stem,
                bytes=file.stat().st_size,
            )
