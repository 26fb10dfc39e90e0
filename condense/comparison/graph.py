"""The graph of a comparison before it starts: the teachers, the runs of all cells, the students of all columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from condense.comparison.design import Design, Place
from condense.comparison.tasks import stacks
from condense.engine.plan import make_plan
from condense.executors.pieces import Piece
from condense.recipe.registry import Registry
from condense.runs.graph import graph_ahead


def pieces_ahead(design: Design, registry: Registry, refused: Collection[Place] = ()) -> list[Piece] | None:
    """Return the pieces of a comparison, done or not; None for a dataset whose images would have to be looked at.

    refused: places that will fail.
    """
    pieces = [
        Piece(kind="teacher", job=f"teacher {name}", outputs=(f"teachers/{name or 'teacher'}",))
        for name in design.teachers
    ]
    for place, config in design.runs.items():
        if place in refused:
            continue
        job = _job(place)
        graph = graph_ahead(make_plan(config, registry), registry, Path(job), job)
        if graph is None:
            return None
        # The teacher of a cell is one of the comparison's.
        pieces += [piece for piece in graph.whole() if piece.kind != "teacher"]
    for row, ipc in dict.fromkeys((place.row, place.ipc) for place in design.runs):
        pieces += _students(design, row, ipc, refused)
    return pieces


def _students(design: Design, row: str, ipc: int, refused: Collection[Place]) -> Iterator[Piece]:
    """Yield the stacks of students of one row and number of images per class."""
    places = {seed: Place(row=row, ipc=ipc, seed=seed) for seed in design.seeds}
    there = [seed for seed, place in places.items() if place not in refused]
    for setup in design.columns:
        for index, students in stacks(setup.evaluation, design.seeds, there):
            first, _ = students[0]
            yield Piece(
                kind="student",
                job=_job(places[first]),
                name=setup.column.key,
                index=index,
                inputs=("distilled/distilled.json",),
                outputs=tuple(f"students/{setup.column.key}-{seed}-{number}" for seed, number in students),
            )


def _job(place: Place) -> str:
    return f"{place.row} {place.ipc} {place.seed}"
