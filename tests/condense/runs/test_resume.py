"""Going on with a run: after an interruption, and with another evaluation of the same images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import condense
from condense.errors import CondenseError, StorageError
from condense.runs.result import RunResult


def plainly(name: str) -> str:
    """The name of a piece without the hash of the evaluation."""
    return re.sub(r"-fkd-4-[0-9a-f]{10}", "", name)


def position(events: list[str], text: str, number: int = 0) -> int:
    """The place of an event that begins like this, counted from 0, from the end if negative."""
    return [index for index, event in enumerate(events) if event.startswith(text)][number]


POINTS = [
    # where it stops; what is finished by then
    ("start squeeze", 0, set()),
    ("finish squeeze", 0, set()),
    ("start measure", 0, {"teacher"}),
    ("advance measure", 1, {"teacher"}),
    ("start recover", 0, {"teacher", "measurements"}),
    ("advance recover", 2, {"teacher", "measurements"}),
    ("advance recover", -2, {"teacher", "measurements", "chunks/00000"}),
    ("finish recover", 0, {"teacher", "measurements", "chunks/00000", "chunks/00001"}),
    ("start evaluate", 0, {"teacher", "chunks/00001", "distilled"}),
    ("advance evaluate", 5, {"teacher", "distilled", "students/method-0"}),
    ("advance evaluate", -1, {"teacher", "distilled", "students/method-1", "students/reference-0"}),
    ("finish evaluate", -1, {"teacher", "students/method-1", "students/reference-1"}),
]


@pytest.mark.parametrize(("event", "number", "done"), POINTS)
def test_an_interrupted_run_goes_on_to_the_same_end(
    event: str, number: int, done: set[str], site: Any, finished: Any
) -> None:
    whole, events = finished
    with pytest.raises(site.Stopped):
        site.run(name="one", reporter=site.diary(stop=position(events, event, number)))
    path = site.out / "one"
    assert (site.saved(path)["status"], site.saved(path)["failure"][:13]) == ("failed", "StopHereError")
    before = site.pieces(path)
    assert all(any(plainly(name).startswith(piece) for name in before) for piece in done)
    resumed = site.run(name="one", resume=True)
    after = site.pieces(path)
    assert {name: after[name] for name in before} == before
    assert site.tree(path / "distilled") == site.tree(whole.path / "distilled")
    assert site.accuracies(resumed) == site.accuracies(whole)
    assert resumed.teacher_accuracy == whole.teacher_accuracy
    assert site.tree(path).keys() == site.tree(whole.path).keys()
    last = {(line["chunk"], line["iteration"]): line for line in site.metrics(path)}
    assert list(last.values()) == site.metrics(whole.path)


def test_a_finished_run_repeats_nothing(site: Any) -> None:
    first = site.run(name="one")
    before = site.pieces(first.path)
    diary = site.diary()
    again = site.run(name="one", resume=True, reporter=diary)
    assert site.pieces(again.path) == before
    assert site.accuracies(again) == site.accuracies(first)
    started = [event for event in diary.events if event.startswith(("start squeeze", "start measure"))]
    assert not started
    third = condense.repeat(first.path, resume=True, registry=site.registry)
    assert (third.path, site.accuracies(third)) == (first.path, site.accuracies(first))
    assert site.pieces(third.path) == before


def test_going_on_with_other_settings(site: Any) -> None:
    with pytest.raises(site.Stopped):
        site.run(name="one", reporter=site.diary(stop=0))
    with pytest.raises(StorageError) as caught:
        site.run(name="one", resume=True, settings={"lr": 0.5}, seed=3)
    assert str(caught.value) == (
        f"{site.out / 'one'} was started with other settings: recover.lr (0.25 then, 0.5 now), "
        "seed (0 then, 3 now). Repeat them, or choose another --name"
    )


def test_going_on_with_what_is_no_run(site: Any) -> None:
    with pytest.raises(StorageError, match="there is no"):
        site.run(name="gone", resume=True)


@pytest.mark.parametrize(
    "damage",
    [
        # As versions before wrote it.
        lambda data: {"format": 1, "config": data["settings"]["recipe"], "status": "done"},
        lambda data: {**data, "format": 3},
    ],
)
def test_the_run_of_another_version_is_refused_with_a_sentence(
    damage: Callable[[Any], Any], copy: RunResult, site: Any
) -> None:
    file = copy.path / "run.json"
    data = damage(site.saved(copy.path))
    file.write_text(json.dumps(data))
    before = site.tree(copy.path)
    attempts: list[Callable[[], Any]] = [
        lambda: site.run(name="one", resume=True),
        lambda: condense.repeat(copy.path, registry=site.registry),
        lambda: condense.evaluate(copy.path, students=1, device="cpu", registry=site.registry),
    ]
    for attempt in attempts:
        with pytest.raises(CondenseError) as caught:
            attempt()
        assert str(caught.value) == (
            f"{file} has format {data['format']}, and this version of condense reads format 2; start the run again, "
            "or use the version of condense that wrote it"
        )
    assert site.tree(copy.path) == before


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """A function that sets how many threads torch has."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_pieces_with_other_numbers_of_threads_are_told_and_written_down(site: Any, threads: Any) -> None:
    path = site.out / "one"
    threads(1)
    with pytest.raises(site.Stopped):
        site.run(name="one", reporter=site.diary(stop="start measure"))
    assert site.saved(path)["host"]["threads"] == "1"
    again = site.diary()
    threads(2)
    resumed = site.run(name="one", resume=True, reporter=again)
    [told] = [event for event in again.events if event.startswith("note threads")]
    assert "1 for what is finished, 2 for the rest" in told
    assert told.removeprefix("note ") in resumed.notes
    assert site.saved(path)["host"]["threads"] == "1, 2"


def test_a_run_of_which_nothing_is_finished_takes_other_threads_in_silence(site: Any, threads: Any) -> None:
    threads(1)
    with pytest.raises(site.Stopped):
        site.run("random", name="one", reporter=site.diary(stop=0))
    again = site.diary()
    threads(2)
    site.run("random", name="one", resume=True, reporter=again)
    assert not any(event.startswith("note threads") for event in again.events)
    assert site.saved(site.out / "one")["host"]["threads"] == "2"
