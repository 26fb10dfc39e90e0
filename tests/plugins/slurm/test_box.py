"""The folder through which a driver and its jobs talk."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("condense_slurm", reason="this installation is older than the plugin")

from condense_slurm.box import Box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    found = Box(tmp_path / "box")
    found.path.mkdir()
    found.prepare()
    return found


def test_every_piece_is_taken_once_the_first_one_first(box: Box) -> None:
    for number in range(1, 101):
        box.put(number, str(number).encode())
    assert box.take("first") == (1, b"1")
    found: dict[str, list[int]] = {name: [] for name in "abc"}

    def work(name: str) -> None:
        own = Box(box.path)
        while (taken := own.take(name)) is not None:
            found[name].append(taken[0])

    threads = [threading.Thread(target=work, args=(name,)) for name in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for taken in found.values() for number in taken) == list(range(2, 101))
    assert all(taken == sorted(taken) for taken in found.values())
    owners = {number: name for name, taken in found.items() for number in taken}
    assert box.taken() == {1: "first", **owners}
    assert box.take("late") is None


def test_what_is_reported_is_read_once_and_by_whole_lines(box: Box) -> None:
    other = Box(box.path)
    assert box.news(1, "one") == []
    other.tell(1, "one", ("start", ("recover", "chunk", 2, "step")))
    other.tell(1, "one", ("advance", (2, {"loss": 0.5})))
    assert box.news(1, "one") == [
        ("start", ("recover", "chunk", 2, "step")),
        ("advance", (2, {"loss": 0.5})),
    ]
    with (box.path / "told" / "00000001@one").open("a") as file:
        file.write('["note", ["half')
        file.flush()
        assert box.news(1, "one") == []
        file.write(' and whole"]]\n')
    assert box.news(1, "one") == [("note", ("half and whole",))]
    assert box.news(1, "one") == []


def test_a_piece_that_is_forgotten_leaves_nothing(box: Box) -> None:
    for number in (1, 2):
        box.put(number, b"piece")
    box.take("one")
    box.tell(1, "one", ("note", ("x",)))
    box.end(1, "one", b"outcome")
    assert box.ended() == {1: b"outcome"}
    for number in (1, 2):
        box.forget(number)
    assert not [
        path for room in ("waiting", "taken", "told", "ended") for path in (box.path / room).iterdir()
    ]


def test_workers_see_that_they_are_to_end(box: Box) -> None:
    assert not box.closed("one")
    box.dismiss("one")
    assert box.closed("one") and not box.closed("other")
    box.close()
    assert box.closed("other")
    assert Box(box.path / "gone").closed("one")


def test_a_worker_gives_back_what_its_earlier_life_left_and_ends_if_its_driver_is_silent(
    box: Box, orders: Any, tmp_path: Path
) -> None:
    for number in (1, 2):
        box.put(number, b"piece")
        box.take("one" if number == 1 else "other")
    program = (
        f"import pickle, sys, {orders.__name__} as orders\n"
        "import condense_slurm.worker as worker\n"
        "worker.SILENCE = 0.5\n"
        "worker.work(sys.argv[1], 'one', pickle.dumps(orders.Order(sys.argv[2])), 'cpu', 1)\n"
    )
    words = [sys.executable, "-c", program, str(box.path), str(tmp_path)]
    ended = subprocess.run(words, timeout=120, check=False)
    assert ended.returncode == 0
    assert box.ended() == {1: b""}
    assert box.sign("one") and not box.sign("other")
