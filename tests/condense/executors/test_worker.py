"""A worker in another process: its site, what it reports and what it returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from condense.errors import OptionError, PluginError
from condense.executors.executor import Message, needed_package, unpacked
from condense.executors.pieces import Failed, Finished, Piece
from condense.executors.placement import Placement, own_placement
from condense.executors.worker import Worker


class Order:
    """Counts the sites that are built and left; `refuses` says why none can be built."""

    kind, probe = "cpu", ""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.built: list[Placement] = []
        self.left = 0

    @contextmanager
    def site(self, placement: Placement) -> Iterator[Any]:
        if self.refuses:
            raise OptionError(self.refuses)
        self.built.append(placement)
        yield self
        self.left += 1

    def do(self, piece: Piece, reporter: Any) -> dict[str, int]:
        reporter.start("recover", "chunk", 2, "step")
        reporter.advance(1)
        reporter.advance(1, {"loss": 0.5})
        if piece.index == 2:
            raise OptionError("it cannot be done")
        return {"index": piece.index}


def test_a_worker_builds_its_site_once_and_leaves_it_when_it_is_closed() -> None:
    order = Order()
    worker = Worker(order, Placement(device="cpu", threads=2))
    assert not order.built
    found = [unpacked(worker.do(Piece(kind="chunk", index=index), lambda _: None)) for index in range(3)]
    assert [event.facts["index"] for event in found if isinstance(event, Finished)] == [0, 1]
    assert isinstance(found[2], Failed) and str(found[2].error) == "it cannot be done"
    assert order.built == [Placement(device="cpu", threads=2)]
    worker.close()
    assert order.left == 1


@pytest.mark.parametrize(
    ("place", "threads"), [((1, 3), [1, 3, 1]), ((2, 0), [2, 2, 2]), ((0, 0), [4, 4, 4])]
)
def test_a_piece_that_is_alone_has_the_threads_of_all_workers(
    place: tuple[int, int], threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [4]
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))

    class Watching(Order):
        def do(self, piece: Piece, reporter: Any) -> dict[str, int]:
            return {"threads": now[0]}

    worker = Worker(Watching(), Placement(device="cpu", threads=place[0], alone=place[1]))
    pieces = [Piece(kind="chunk"), Piece(kind="teacher", alone=True), Piece(kind="student")]
    found = [unpacked(worker.do(piece, lambda _: None)) for piece in pieces]
    assert [event.facts["threads"] for event in found if isinstance(event, Finished)] == threads


def test_all_that_a_piece_reports_is_sent_before_its_outcome() -> None:
    sent: list[Message] = []
    Worker(Order(), Placement(device="cpu")).do(Piece(kind="chunk"), sent.append)
    assert sent[0] == ("start", ("recover", "chunk", 2, "step"))
    assert sum(arguments[0] for name, arguments in sent if name == "advance") == 2


def test_what_a_site_lacks_is_a_failure_of_the_piece() -> None:
    worker = Worker(Order("storage is not shared"), Placement(device="cpu"))
    failed = unpacked(worker.do(Piece(kind="chunk"), lambda _: None))
    assert isinstance(failed, Failed) and str(failed.error) == "storage is not shared"


@pytest.mark.parametrize(
    ("kind", "threads", "place"),
    [
        ("cpu", 0, Placement(device="cpu", threads=4)),
        ("cpu", 1, Placement(device="cpu", threads=1)),
        ("mps", 0, Placement(device="mps", threads=4)),
        ("cuda", 0, Placement(device="cuda:0")),
        ("cuda:3", 2, Placement(device="cuda:0", threads=2)),
    ],
)
def test_a_worker_of_a_cluster_has_the_first_gpu_that_it_sees(
    kind: str, threads: int, place: Placement
) -> None:
    assert own_placement(kind, cores=4, threads=threads) == place


def test_a_missing_package_is_told_with_the_extra_that_has_it() -> None:
    with pytest.raises(PluginError) as caught:
        needed_package("mine", "theirs", "extra")
    assert (
        str(caught.value)
        == "the executor 'mine' needs the package theirs: pip install 'condense-toolkit[extra]'"
    )
