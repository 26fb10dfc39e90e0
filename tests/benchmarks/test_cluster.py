"""The simulation of a run on many workers, against what can be worked out by hand."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.executors.pieces import Piece

FILE = Path(__file__).parents[2] / "benchmarks" / "cluster.py"


def loaded() -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location("benchmarks_cluster", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


CLUSTER = loaded()


def run_of(chunks: int, students: int) -> list[Piece]:
    teacher = Piece(kind="teacher", outputs=("teacher",))
    some = [
        Piece(kind="chunk", index=index, inputs=("teacher",), outputs=(f"chunk{index}",))
        for index in range(chunks)
    ]
    images = Piece(
        kind="images", inputs=tuple(f"chunk{index}" for index in range(chunks)), outputs=("images",)
    )
    learning = [
        Piece(kind="student", index=index, inputs=("images",), outputs=(f"s{index}",))
        for index in range(students)
    ]
    return [teacher, *some, images, *learning]


@given(
    workers=st.integers(1, 9),
    chunks=st.integers(1, 30),
    students=st.integers(1, 8),
    times=st.tuples(*[st.integers(1, 50)] * 4),
)
def test_equal_pieces_in_rows_take_what_arithmetic_says(
    workers: int, chunks: int, students: int, times: tuple[int, int, int, int]
) -> None:
    """Every stage waits for the one before it, and takes ceil(pieces / workers) rounds of equal length."""
    teacher, chunk, images, student = times
    seconds = {"teacher": teacher, "chunk": chunk, "images": images, "student": student}
    found = CLUSTER.simulate(run_of(chunks, students), workers, seconds)
    rounds = teacher + math.ceil(chunks / workers) * chunk + images + math.ceil(students / workers) * student
    assert found.seconds == rounds
    work = teacher + chunks * chunk + images + students * student
    assert found.busy == pytest.approx(work / (workers * rounds))
    chain = CLUSTER.longest_chain(run_of(chunks, students), seconds)
    assert chain == teacher + chunk + images + student <= found.seconds


def test_what_others_wait_for() -> None:
    pieces = run_of(64, 2)
    slow_teacher = CLUSTER.simulate(pieces, 8, {"teacher": 100, "chunk": 1, "student": 1})
    few_students = CLUSTER.simulate(pieces, 8, {"teacher": 1, "chunk": 1, "student": 100})
    assert (slow_teacher.limit, few_students.limit) == ("teacher", "student")
    assert CLUSTER.simulate(pieces, 1, {"chunk": 1}).limit == ""


def test_each_worker_starts_once_and_only_when_there_is_a_piece_for_it() -> None:
    pieces = run_of(2, 2)
    seconds = {"teacher": 10, "chunk": 20, "student": 5}
    assert CLUSTER.simulate(pieces, 1, seconds, start=3).seconds == 3 + 10 + 40 + 10
    # The second worker starts with the second chunk.
    assert CLUSTER.simulate(pieces, 2, seconds, start=3).seconds == 3 + 10 + (3 + 20) + 5


def test_the_graph_of_imagenet() -> None:
    pieces = CLUSTER.pieces_of("wmdd", "imagenet-1k", 10, 3, [])
    shards = [piece for piece in pieces if piece.kind == "shard"]
    assert len(shards) == 1_281_167 // 50_000
    assert len([piece for piece in pieces if piece.kind == "student"]) == 6
    assert not any(piece.group for piece in pieces)
