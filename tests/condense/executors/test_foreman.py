"""The driver: which pieces are given when, and what happens if they fail or get lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.executors.board import Board
from condense.executors.foreman import LostError, OneScript, Results, Script, carry_out
from condense.executors.pieces import Batch, Failed, Finished, Piece
from condense.runtime import SilentReporter

Troupe = Callable[..., Any]


def chunk(index: int, *inputs: str) -> Piece:
    return Piece(kind="chunk", index=index, inputs=inputs, outputs=(f"chunk{index}",))


TEACHER = Piece(kind="teacher", outputs=("teacher",))
CHUNKS = [chunk(index, "teacher") for index in range(3)]
IMAGES = Piece(kind="images", inputs=("chunk0", "chunk1", "chunk2"), outputs=("images",))
STUDENTS = [Piece(kind="student", index=index, inputs=("images",)) for index in range(2)]
RUN = [TEACHER, *CHUNKS, IMAGES, *STUDENTS]


def driven(batch: Batch, crew: Any) -> Results:
    """What becomes of the pieces of a batch."""
    found: list[Results] = []

    def script() -> Script[None]:
        found.append((yield batch))

    carry_out(OneScript(script()), crew, Board(SilentReporter()))
    return found[0]


def test_one_worker_does_the_pieces_in_their_order(troupe: Troupe) -> None:
    crew = troupe(1)
    kept: list[str] = []
    driven(Batch(pieces=RUN, keep=lambda finished: kept.append(finished.piece.text())), crew)
    assert crew.given == kept == [piece.text() for piece in RUN]


def test_pieces_wait_for_their_inputs_and_for_nothing_else(troupe: Troupe) -> None:
    crew = troupe(8, last=True)
    driven(Batch(pieces=RUN), crew)
    assert crew.given[0] == "teacher"
    assert set(crew.given[1:4]) == {"chunk 0", "chunk 1", "chunk 2"}
    assert crew.given[4:] == ["images", "student 0", "student 1"]
    assert crew.most == 3


@settings(max_examples=40, deadline=None)
@given(
    edges=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40),
    size=st.integers(1, 5),
    lost=st.sets(st.integers(0, 11)),
    last=st.booleans(),
)
def test_no_piece_is_given_before_what_it_needs_is_done(
    troupe: Troupe, edges: list[tuple[int, int]], size: int, lost: set[int], last: bool
) -> None:
    pieces = [
        chunk(number, *(f"chunk{low}" for low, high in edges if low < high and high == number))
        for number in range(12)
    ]
    done: list[str] = []
    crew = troupe(size, loses={f"chunk {number}": 2 for number in lost}, last=last)
    given_before = crew.give

    def give(piece: Piece) -> None:
        assert set(piece.inputs) <= set(done)
        given_before(piece)

    crew.give = give
    results = driven(Batch(pieces=pieces, keep=lambda finished: done.extend(finished.piece.outputs)), crew)
    assert set(results) == set(pieces)
    assert all(isinstance(result, Finished) for result in results.values())


def test_what_is_done_is_not_given_and_holds_nobody_up(troupe: Troupe) -> None:
    crew = troupe(4)
    results = driven(Batch(pieces=RUN, done=[TEACHER, CHUNKS[1]]), crew)
    assert crew.given[:2] == ["chunk 0", "chunk 2"]
    assert TEACHER not in results and CHUNKS[1] not in results


def test_a_lost_piece_is_done_again_before_all_others(troupe: Troupe) -> None:
    crew = troupe(1, loses={"chunk 1": 2})
    results = driven(Batch(pieces=RUN), crew)
    assert crew.given[:6] == ["teacher", "chunk 0", "chunk 1", "chunk 1", "chunk 1", "chunk 2"]
    assert isinstance(results[CHUNKS[1]], Finished)


def test_a_piece_that_is_lost_three_times_fails(troupe: Troupe) -> None:
    results = driven(Batch(pieces=RUN), troupe(2, loses={"chunk 1": 3}))
    failed = results[CHUNKS[1]]
    assert isinstance(failed, Failed) and isinstance(failed.error, LostError)
    assert "chunk 1 was lost with 3 workers one after the other" in str(failed.error)
    assert "a worker went" in str(failed.error)


def test_a_failure_ends_the_batch(troupe: Troupe) -> None:
    crew = troupe(1, fails={"chunk 1": ValueError("no")})
    results = driven(Batch(pieces=RUN), crew)
    assert crew.given == ["teacher", "chunk 0", "chunk 1"]
    left_out = [results[piece] for piece in (CHUNKS[1], CHUNKS[2], IMAGES, *STUDENTS)]
    assert all(isinstance(result, Failed) and str(result.error) == "no" for result in left_out)


def test_a_failure_leaves_what_is_apart(troupe: Troupe) -> None:
    pieces = [
        Piece(kind="student", name=name, index=index) for name in ("one", "other") for index in range(2)
    ]
    crew = troupe(1, fails={"student 0 of one": ValueError("no")})
    results = driven(Batch(pieces=pieces, apart=lambda piece: piece.name), crew)
    assert crew.given == ["student 0 of one", "student 0 of other", "student 1 of other"]
    assert [isinstance(results[piece], Finished) for piece in pieces] == [False, False, True, True]


def test_seconds_of_what_did_not_end_are_told(troupe: Troupe) -> None:
    spent: list[str] = []
    crew = troupe(2, loses={"chunk 0": 1}, fails={"images": KeyError("x")})
    driven(Batch(pieces=RUN, spent=lambda piece, _: spent.append(piece.text())), crew)
    assert spent == ["chunk 0", "images"]


def test_an_error_of_a_script_is_raised_and_an_interruption_reaches_all(troupe: Troupe) -> None:
    told: list[str] = []

    class Two:
        def __init__(self) -> None:
            self.left = [self.script("one"), self.script("other")]

        def following(self, *, idle: bool) -> Script[None] | None:
            return self.left.pop(0) if self.left else None

        def script(self, name: str) -> Script[None]:
            try:
                yield Batch(pieces=[Piece(kind="chunk", job=name)])
            except BaseException as error:
                told.append(f"{name} {type(error).__name__}")
                raise

    crew = troupe(2)

    def interrupted() -> Any:
        raise KeyboardInterrupt

    crew.wait = interrupted
    with pytest.raises(KeyboardInterrupt):
        carry_out(Two(), crew, Board(SilentReporter()))
    assert told == ["one KeyboardInterrupt", "other KeyboardInterrupt"]


def test_a_script_goes_on_where_the_oldest_leaves_workers_idle(troupe: Troupe) -> None:
    begun: list[str] = []

    class Runs:
        def __init__(self) -> None:
            self.left = ["a", "b"]

        def following(self, *, idle: bool) -> Script[None] | None:
            return self.script(self.left.pop(0)) if self.left else None

        def script(self, name: str) -> Script[None]:
            begun.append(name)
            teacher = Piece(kind="teacher", job=name, outputs=("t",))
            chunks = [Piece(kind="chunk", job=name, index=index, inputs=("t",)) for index in range(2)]
            yield Batch(pieces=[teacher, *chunks])

    one = troupe(1)
    carry_out(Runs(), one, Board(SilentReporter()))
    assert one.given == ["teacher", "chunk 0", "chunk 1"] * 2
    two = troupe(2)
    carry_out(Runs(), two, Board(SilentReporter()))
    assert two.given == ["teacher", "teacher", "chunk 0", "chunk 1", "chunk 0", "chunk 1"]
    assert begun == ["a", "b"] * 2
