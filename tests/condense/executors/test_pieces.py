"""Pieces as data: their order, and the graph as people read it."""

from __future__ import annotations

import pickle

import pytest

from condense.errors import DataError, OptionError, PluginError
from condense.executors.executor import attempt, packed, unpacked
from condense.executors.pieces import Failed, Finished, Piece, check_order, outlined
from condense.executors.placement import placements, usual_count

TEACHER = Piece(kind="teacher", outputs=("teacher.safetensors",))
CHUNKS = [
    Piece(kind="chunk", index=index, inputs=TEACHER.outputs, outputs=(f"chunks/{index}",))
    for index in range(3)
]


def test_a_piece_comes_after_what_it_needs() -> None:
    check_order([TEACHER, *CHUNKS])
    with pytest.raises(ValueError, match=r"chunk 0 needs teacher\.safetensors, which a later piece makes"):
        check_order([*CHUNKS, TEACHER])
    with pytest.raises(ValueError, match="two pieces have the same key"):
        check_order([TEACHER, TEACHER])


def test_the_graph_as_people_read_it() -> None:
    judge = Piece(
        kind="student", stage="select", name="real", inputs=("chunks/0",), outputs=("candidates/x",)
    )
    assert [(one.kind, one.text()) for one in outlined([TEACHER, *CHUNKS, judge])] == [
        ("teacher", "teacher.safetensors"),
        ("chunk", "3 x after teacher: chunks/"),
        ("judge", "after chunk: candidates/"),
    ]


@pytest.mark.parametrize(
    ("device", "count", "cards", "devices"),
    [
        ("cuda", 8, 8, [f"cuda:{number}" for number in range(8)]),
        ("cuda", 3, 2, ["cuda:0", "cuda:1", "cuda:0"]),
        ("cuda:1", 2, 2, ["cuda:1", "cuda:1"]),
        ("cpu", 2, 0, ["cpu", "cpu"]),
        ("mps", 1, 0, ["mps"]),
    ],
)
def test_every_worker_has_a_device_of_its_own_as_far_as_there_are_any(
    device: str, count: int, cards: int, devices: list[str]
) -> None:
    places = placements(device, count, cards=cards, threads=6)
    assert [place.device for place in places] == devices
    assert {place.threads for place in places} == {max(1, 6 // count)}


def test_the_usual_number_of_workers() -> None:
    assert usual_count("cuda", cards=8, cores=64) == 8
    assert usual_count("cuda:3", cards=8, cores=64) == 1
    assert [usual_count("cpu", cards=0, cores=cores) for cores in (1, 2, 3, 4, 8, 64)] == [1, 2, 2, 2, 4, 32]
    with pytest.raises(OptionError, match="at least 1 worker, not 0"):
        placements("cpu", 0, cards=0, threads=1)


class TwofoldError(Exception):
    """An error whose class another process cannot make again: it takes two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def test_an_error_arrives_as_it_was_with_its_traceback_where_there_was_one() -> None:
    def caused() -> PluginError:
        try:
            try:
                raise KeyError("x")
            except KeyError as error:
                raise PluginError("the plugin failed") from error
        except PluginError as error:
            return error

    plain, blamed, strange = (
        unpacked(packed(Failed(piece=TEACHER, error=error, seconds=2.0)))
        for error in (DataError("no images"), caused(), TwofoldError("a", "b"))
    )
    assert isinstance(plain, Failed) and isinstance(plain.error, DataError)
    assert (str(plain.error), plain.error.__cause__, plain.seconds) == ("no images", None, 2.0)
    assert isinstance(blamed, Failed) and isinstance(blamed.error, PluginError)
    assert "KeyError: 'x'" in str(blamed.error.__cause__)
    assert isinstance(strange, Failed)
    assert (type(strange.error), str(strange.error)) == (RuntimeError, "TwofoldError: a b")


def test_an_attempt_says_what_became_of_a_piece() -> None:
    class Site:
        def do(self, piece: Piece, reporter: object) -> dict[str, int]:
            if piece.kind == "teacher":
                raise SystemExit(3)
            if piece.index == 1:
                raise BrokenPipeError
            return {"x": 1}

    said = attempt(Site(), CHUNKS[0], lambda *_: None)
    assert isinstance(said, Finished) and said.facts == {"x": 1} and said.seconds > 0
    assert isinstance(attempt(Site(), TEACHER, lambda *_: None), Failed)
    with pytest.raises(BrokenPipeError):
        attempt(Site(), CHUNKS[1], lambda *_: None)


def test_pieces_travel() -> None:
    assert pickle.loads(pickle.dumps(CHUNKS)) == CHUNKS
