"""The work of a whole comparison, counted before it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from condense.comparison.design import Design, Place
from condense.engine.plan import make_plan
from condense.engine.work import Counts, Work, distil_work, known_counts, passes, squeeze_work, student_work
from condense.recipe.config import digest
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How many images pass through networks in a comparison, whether that is done already or not.

    teachers, images, students: (forward, backward), of training the teachers, of making the images of every row, and of
        training and testing all students.
    recovered: how many cells have images that gradients make.
    """

    teachers: tuple[int, int]
    images: tuple[int, int]
    students: tuple[int, int]
    recovered: int = 0

    @property
    def divided(self) -> int:
        """How many of the backward passes can be done side by side: of students, and of the images of several cells."""
        return self.students[1] + (self.images[1] if self.recovered > 1 else 0)

    def parts(self) -> Mapping[str, tuple[int, int]]:
        """Return the parts by name."""
        return {"teachers": self.teachers, "images": self.images, "students": self.students}


def amount_ahead(design: Design, registry: Registry, refused: Collection[Place] = ()) -> Amount | None:
    """Return the work of a comparison, or None for a dataset whose images would have to be looked at.

    refused: places that will fail.
    """
    use = design.recipe.dataset
    known = known_counts(registry.dataset(use.name)[0], options_of(use, "dataset", registry))
    return amount_of(design, registry, known.held_out(design.validation), refused) if known else None


def amount_of(design: Design, registry: Registry, counts: Counts, refused: Collection[Place] = ()) -> Amount:
    """Return the work of a comparison on a dataset of these counts, of which no more are held out.

    refused: places that will fail.
    """
    images: list[Work] = []
    pools: dict[str, Work] = {}
    students: list[Work] = []
    recovered = 0
    for row in design.rows:
        for ipc in design.ipcs:
            # Seeds differ in nothing that counts.
            place = Place(row=row.label, ipc=ipc, seed=design.seeds[0])
            if place in refused:
                continue
            config = design.runs[place]
            plan = make_plan(replace(config, evaluation=design.columns[0].evaluation), registry)
            recovered += len(design.seeds) * bool(config.recipe.recover.iterations)
            for part in distil_work(plan, counts):
                if part.stage == "pool":  # trained once, whatever row or seed comes first
                    pools[digest([config.recipe.pool, config.recipe.pool_network])] = part
                else:
                    images.append(part.times(len(design.seeds)))
            for setup in design.columns:
                seeds = len(design.seeds)
                students += student_work(
                    setup.evaluation, config.recipe, counts, judged=[plan.images_per_class] * seeds
                )
    teachers = [part for teacher in design.teachers.values() for part in squeeze_work(teacher, counts)]
    return Amount(
        teachers=passes(teachers),
        images=passes([*images, *pools.values()]),
        students=passes(students),
        recovered=recovered,
    )
