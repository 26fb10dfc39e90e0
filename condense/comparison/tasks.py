"""What a comparison does, cut into tasks: the images of cells, and students, of which a stack may span seeds."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from condense.comparison.design import Design, Place
from condense.recipe.config import Evaluation
from condense.text import counted


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work that one script does: the images of some places, and then the students of some places.

    Places of one task differ in their seeds alone.
    """

    images: tuple[Place, ...] = ()
    students: tuple[Place, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """All places of the task."""
        return tuple(dict.fromkeys((*self.images, *self.students)))

    def text(self) -> str:
        """Return the task for people: "wmdd, 10 images per class, seed 0"."""
        first = self.places[0]
        seeds = f"seed {first.seed}"
        if not self.images:
            seeds = f"students of {counted(len(self.students), 'seed')}"
        return f"{first.row}, {counted(first.ipc, 'image')} per class, {seeds}"


def tasks_of(design: Design) -> list[Task]:
    """Return the tasks of a comparison in the order of work: each after those that make its images.

    Without stacks that span seeds, each place is a task of its own, seed by seed, so that the whole table has early
    results. With such stacks, the images of all seeds of a row and their students follow each other.
    """
    if not spanning(design):
        return [Task(images=(place,), students=(place,)) for place in design.places()]
    tasks = []
    for ipc in design.ipcs:
        for row in design.rows:
            places = tuple(Place(row=row.label, ipc=ipc, seed=seed) for seed in design.seeds)
            tasks += [Task(images=(place,)) for place in places]
            tasks.append(Task(students=places))
    return tasks


def spanning(design: Design) -> bool:
    """Return whether students of several seeds are in one stack."""
    return any(
        len({seed for seed, _ in block}) > 1
        for setup in design.columns
        for block in blocks(setup.evaluation, len(design.seeds))
    )


def blocks(evaluation: Evaluation, seeds: int) -> list[list[tuple[int, int]]]:
    """Return the students of each stack: those of a row, number of images per class and column, cut in their order.

    Each is the position of its seed, below `seeds`, and its number.
    """
    together = evaluation.student.together
    students = [(seed, number) for seed in range(seeds) for number in range(evaluation.students)]
    return [students[first : first + together] for first in range(0, len(students), together)]


def stacks(
    evaluation: Evaluation, seeds: Sequence[int], there: Collection[int]
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Yield the index of each stack, and its students by seed and number. A stack without any is left out.

    seeds: of the comparison. there: those whose images are there, or will be; the others leave their stacks.
    """
    for index, block in enumerate(blocks(evaluation, len(seeds))):
        students = [(seeds[position], number) for position, number in block if seeds[position] in there]
        if students:
            yield index, students
