"""One display, whatever many workers report."""

from __future__ import annotations

from typing import Any

from condense.executors.board import Board
from condense.executors.pieces import Batch, Group, Piece

Diary = Any

CHUNKS = [Piece(kind="chunk", index=index, group="recover") for index in range(2)]
STUDENTS = [Piece(kind="student", name=name, group=name) for name in ("one", "other")]
TEACHER = Piece(kind="teacher")


def groups() -> dict[str, Group]:
    return {
        "recover": Group(stage="recover", detail="2 chunks", unit="step", units=10),
        **{
            name: Group(stage="evaluate", detail=name, unit="epoch", units=4, summary=lambda: "done")
            for name in ("one", "other")
        },
    }


def opened(diary: Diary, *done: Piece) -> Board:
    board = Board(diary)
    board.open(Batch(pieces=[*CHUNKS, *STUDENTS], done=done, groups=groups()))
    return board


def test_pieces_of_a_group_are_one_work(diary: Diary) -> None:
    board = opened(diary)
    for chunk in CHUNKS:
        board.begin(chunk)
    for _ in range(2):
        for chunk in CHUNKS:
            board.tell(chunk, ("start", ("recover", "of its own", 5, "step")))
            board.tell(chunk, ("advance", (5, None)))
    for chunk in CHUNKS:
        board.end(chunk)
    assert diary.events == ["start recover: 2 chunks, 20 step", *["advance 5"] * 4, "finish"]


def test_what_is_done_already_counts(diary: Diary) -> None:
    board = opened(diary, CHUNKS[0], STUDENTS[0])
    assert diary.events == ["start evaluate: one, 4 epoch", "advance 4", "finish done"]
    board.begin(CHUNKS[1])
    assert diary.events[3:] == ["start recover: 2 chunks, 20 step", "advance 10"]


def test_of_works_side_by_side_the_oldest_is_shown_and_then_the_next(diary: Diary) -> None:
    board = opened(diary, *CHUNKS)
    del diary.events[:]
    for student in STUDENTS:
        board.begin(student)
        board.tell(student, ("advance", (1, None)))
    board.tell(STUDENTS[1], ("advance", (3, None)))
    board.end(STUDENTS[1])
    assert diary.events == ["start evaluate: one, 4 epoch", "advance 1"]
    board.end(STUDENTS[0])
    assert diary.events[2:] == ["finish done", "start evaluate: other, 4 epoch", "advance 4", "finish done"]


def test_a_piece_by_itself_tells_its_own_work(diary: Diary) -> None:
    board = Board(diary)
    board.open(Batch(pieces=[TEACHER]))
    board.begin(TEACHER)
    assert diary.events == []
    board.tell(TEACHER, ("start", ("squeeze", "training", 2, "epoch")))
    board.tell(TEACHER, ("advance", (2, {"loss": 1.0})))
    board.tell(TEACHER, ("finish", ("well",)))
    board.end(TEACHER)
    assert diary.events == ["start squeeze: training, 2 epoch", "advance 2", "finish well"]


def test_units_of_a_lost_worker_are_not_told_twice(diary: Diary) -> None:
    board = opened(diary)
    board.begin(CHUNKS[0])
    board.tell(CHUNKS[0], ("advance", (6, None)))
    board.lose(CHUNKS[0])
    board.begin(CHUNKS[0])
    board.tell(CHUNKS[0], ("advance", (4, None)))
    board.tell(CHUNKS[0], ("advance", (6, None)))
    assert diary.events[1:] == ["advance 6", "advance 0", "advance 4"]


def test_a_note_is_told_once(diary: Diary) -> None:
    board = Board(diary)
    for _ in range(2):
        board.tell(TEACHER, ("note", ("so it is",)))
    assert diary.events == ["note so it is"]


def test_a_group_that_failed_makes_room(diary: Diary) -> None:
    board = opened(diary, *CHUNKS)
    del diary.events[:]
    for student in STUDENTS:
        board.begin(student)
    board.drop(STUDENTS[0])
    board.tell(STUDENTS[1], ("advance", (4, None)))
    board.end(STUDENTS[1])
    assert diary.events == [
        "start evaluate: one, 4 epoch",
        "start evaluate: other, 4 epoch",
        "advance 4",
        "finish done",
    ]
