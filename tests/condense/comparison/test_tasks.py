"""How the students of a comparison are cut into stacks, and its work into tasks, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.comparison.design import Design, Place, design_comparison
from condense.comparison.graph import pieces_ahead
from condense.comparison.tasks import Task, blocks, spanning, tasks_of
from condense.executors.pieces import outlined
from condense.recipe.config import Evaluation
from condense.recipe.method import Student
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry, load_registry


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def design(registry: Registry, together: int, **terms: Any) -> Design:
    usual: dict[str, Any] = {"dataset": "fashion-mini", "ipc": 1, "seeds": 3, "scores": False}
    settings = {"student.together": together}
    return design_comparison("compare", ["random"], registry, settings=settings, **{**usual, **terms})


def evaluation(students: int, together: int) -> Evaluation:
    made = Evaluation(protocol=Protocol(name="bare"), students=students)
    return replace(made, student=Student(together=together))


def test_students_are_cut_seed_by_seed() -> None:
    assert blocks(evaluation(2, 4), 3) == [[(0, 0), (0, 1), (1, 0), (1, 1)], [(2, 0), (2, 1)]]
    assert blocks(evaluation(1, 2), 3) == [[(0, 0), (1, 0)], [(2, 0)]]
    assert blocks(evaluation(3, 2), 1) == [[(0, 0), (0, 1)], [(0, 2)]]


@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 5))
def test_every_student_is_in_one_stack(students: int, together: int, seeds: int) -> None:
    cut = blocks(evaluation(students, together), seeds)
    assert [one for block in cut for one in block] == [
        (seed, number) for seed in range(seeds) for number in range(students)
    ]
    assert {len(block) for block in cut[:-1]} <= {together} and 1 <= len(cut[-1]) <= together


@pytest.mark.parametrize(("students", "together", "expected"), [(1, 1, 0), (2, 2, 0), (4, 2, 0), (3, 2, 1)])
def test_a_stack_spans_seeds_where_those_of_a_seed_are_not_whole_stacks(
    registry: Registry, students: int, together: int, expected: bool
) -> None:
    assert spanning(design(registry, together, students=students)) == bool(expected)
    assert not spanning(design(registry, together, students=students, seeds=1))


def test_images_of_all_seeds_come_before_the_students_of_stacks_that_span_them(registry: Registry) -> None:
    def place(ipc: int, seed: int) -> Place:
        return Place(row="random", ipc=ipc, seed=seed)

    terms: dict[str, Any] = {"ipc": (1, 10), "seeds": 2}
    assert tasks_of(design(registry, 1, **terms)) == [
        Task(images=(place(ipc, seed),), students=(place(ipc, seed),)) for seed in (0, 1) for ipc in (1, 10)
    ]
    assert tasks_of(design(registry, 2, **terms)) == [
        *(Task(images=(place(1, seed),)) for seed in (0, 1)),
        Task(students=(place(1, 0), place(1, 1))),
        *(Task(images=(place(10, seed),)) for seed in (0, 1)),
        Task(students=(place(10, 0), place(10, 1))),
    ]


@pytest.mark.parametrize(("students", "together", "stacks"), [(1, 1, 3), (1, 3, 1), (2, 4, 2), (3, 2, 5)])
def test_a_dry_run_counts_the_stacks(registry: Registry, students: int, together: int, stacks: int) -> None:
    asked = design(registry, together, students=students)
    pieces = pieces_ahead(asked, registry)
    assert pieces is not None
    (line,) = (line for line in outlined(pieces) if line.kind == "student")
    assert (line.count, line.needs, line.makes) == (stacks, ("images",), ("students/",))
    # A place that will fail leaves its stack, and takes none of the others with it.
    left = pieces_ahead(asked, registry, [Place(row="random", ipc=1, seed=1)])
    assert left is not None
    files = [name for piece in left if piece.kind == "student" for name in piece.outputs]
    assert len(files) == 2 * students and not any("-1-" in name for name in files)
