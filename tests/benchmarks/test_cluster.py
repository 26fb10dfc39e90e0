"""The simulation of a run on many workers, against what can be worked out by hand."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from condense.engine.price import Throughput
from condense.executors.pieces import KINDS, Piece
from condense.recipe.registry import default_registry
from condense.runs.journal import FORMAT

# The modules are the same for all examples.
FREE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)


@pytest.fixture
def cluster(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("cluster")


@pytest.fixture
def sources(script: Callable[[str], ModuleType]) -> ModuleType:
    """Where the seconds of pieces come from."""
    return script("piece_seconds")


def linked(graph: list[tuple[str, tuple[int, ...]]]) -> list[Piece]:
    """Pieces from their kinds and the positions of those that they need."""
    return [
        Piece(
            kind=kind,  # type: ignore[arg-type]
            index=number,
            inputs=tuple(f"{other}" for other in needs),
            outputs=(f"{number}",),
        )
        for number, (kind, needs) in enumerate(graph)
    ]


@st.composite
def graphs(draw: st.DrawFn) -> list[Piece]:
    found = []
    for number in range(draw(st.integers(1, 12))):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        found.append((draw(st.sampled_from(KINDS)), tuple(needs)))
    return linked(found)


# Whole seconds add up exactly.
SECONDS = st.fixed_dictionaries({kind: st.integers(0, 9) for kind in KINDS})


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


@FREE
@given(
    workers=st.integers(1, 9),
    chunks=st.integers(1, 30),
    students=st.integers(1, 8),
    times=st.tuples(*[st.integers(1, 50)] * 4),
)
def test_equal_pieces_in_rows_take_what_arithmetic_says(
    cluster: ModuleType, workers: int, chunks: int, students: int, times: tuple[int, int, int, int]
) -> None:
    """Every stage waits for the one before it, and takes ceil(pieces / workers) rounds of equal length."""
    teacher, chunk, images, student = times
    seconds = {"teacher": teacher, "chunk": chunk, "images": images, "student": student}
    found = cluster.simulate(run_of(chunks, students), workers, seconds)
    rounds = teacher + math.ceil(chunks / workers) * chunk + images + math.ceil(students / workers) * student
    assert found.seconds == rounds
    work = teacher + chunks * chunk + images + students * student
    assert found.busy == pytest.approx(work / (workers * rounds))
    chain = cluster.longest_chain(run_of(chunks, students), seconds)
    assert chain == teacher + chunk + images + student <= found.seconds


def test_what_others_wait_for(cluster: ModuleType) -> None:
    pieces = run_of(64, 2)
    slow_teacher = cluster.simulate(pieces, 8, {"teacher": 100, "chunk": 1, "student": 1})
    few_students = cluster.simulate(pieces, 8, {"teacher": 1, "chunk": 1, "student": 100})
    assert (slow_teacher.limit, few_students.limit) == ("teacher", "student")
    assert cluster.simulate(pieces, 1, {"chunk": 1}).limit == ""


def test_each_worker_starts_once_and_only_when_there_is_a_piece_for_it(cluster: ModuleType) -> None:
    pieces = run_of(2, 2)
    seconds = {"teacher": 10, "chunk": 20, "student": 5}
    assert cluster.simulate(pieces, 1, seconds, start=3).seconds == 3 + 10 + 40 + 10
    # The second worker starts with the second chunk.
    assert cluster.simulate(pieces, 2, seconds, start=3).seconds == 3 + 10 + (3 + 20) + 5


def test_grahams_example(cluster: ModuleType) -> None:
    """SIAM J. Appl. Math. 17, 1969: nine tasks take three workers 12 seconds, and four workers 15."""
    first, short, long, last = "teacher", "pool", "shard", "fit"
    seconds = {first: 3, short: 2, long: 4, last: 9}
    needs = {8: (0,), **dict.fromkeys((4, 5, 6, 7), (3,))}
    kinds = [first, *[short] * 3, *[long] * 4, last]
    pieces = linked([(kind, needs.get(number, ())) for number, kind in enumerate(kinds)])
    assert cluster.simulate(pieces, 3, seconds).seconds == 12
    assert cluster.simulate(pieces, 3, seconds).along == {last: 9, first: 3}
    assert cluster.simulate(pieces, 4, seconds).seconds == 15
    assert cluster.simulate(pieces, 4, seconds).along == {last: 9, long: 4, short: 2}


def test_what_the_time_consists_of(cluster: ModuleType) -> None:
    seconds = {"teacher": 4, "chunk": 3, "images": 2, "student": 1}
    found = cluster.simulate(run_of(4, 1), 2, seconds)
    # Each of the two workers does two chunks, one after the other, and the images wait for all.
    assert found.along == {"chunk": 6, "teacher": 4, "images": 2, "student": 1}
    # The second worker starts when the teacher is there, and its first chunk ends after 5 + 4 + 5 + 3 seconds.
    late = cluster.simulate(run_of(2, 1), 2, seconds, start=5)
    assert late.seconds == 20
    assert late.along == {"start": 10, "teacher": 4, "chunk": 3, "images": 2, "student": 1}


@FREE
@given(pieces=graphs(), seconds=SECONDS, workers=st.integers(1, 5), start=st.integers(0, 3))
def test_bounds_of_list_scheduling(
    cluster: ModuleType, pieces: list[Piece], seconds: dict[str, int], workers: int, start: int
) -> None:
    """Graham: max(T / m, C) <= seconds <= T / m + (1 - 1 / m) C, of T seconds in all and a longest chain of C."""
    found = cluster.simulate(pieces, workers, seconds)
    total, chain = sum(seconds[piece.kind] for piece in pieces), cluster.longest_chain(pieces, seconds)
    assert max(total / workers, chain) <= found.seconds + 1e-9
    assert found.seconds <= total / workers + (1 - 1 / workers) * chain + 1e-9
    assert sum(found.along.values()) == found.seconds
    assert cluster.simulate(pieces, 1, seconds, start).seconds == total + start
    assert cluster.simulate(pieces, len(pieces), seconds).seconds == chain
    begun = cluster.simulate(pieces, workers, seconds, start)
    assert sum(begun.along.values()) == begun.seconds


def test_the_graph_of_imagenet(sources: ModuleType) -> None:
    run = sources.configured(
        default_registry(), method="wmdd", dataset="imagenet-1k", ipc=10, students=3, settings=[]
    )
    counts = Counter(piece.kind for piece in run.pieces())
    assert counts["shard"] == 1_281_167 // 50_000
    assert counts["student"] == 6
    assert counts["chunk"] == 1000 * 10 // 100
    assert not any(piece.group for piece in run.pieces())


def mini(sources: ModuleType, **more: Any) -> Any:
    what = {"method": "wmdd", "dataset": "fashion-mini", "ipc": 10, "students": 2, "settings": [], **more}
    return sources.configured(default_registry(), **what)


@pytest.mark.parametrize("reference", [True, False])
def test_a_throughput_gives_the_seconds_of_all_counted_work(sources: ModuleType, reference: bool) -> None:
    run = mini(sources, reference=reference)
    rates = Throughput(forward=100, backward=50, load=400)
    seconds, counts = sources.by_throughput(run, rates), Counter(piece.kind for piece in run.pieces())
    assert sum(seconds[kind] * counts[kind] for kind in seconds) == pytest.approx(
        sum(rates.seconds(work) for work in run.work())
    )
    # 500 iterations on the 100 images of the only chunk, which are loaded before.
    assert seconds["chunk"] == pytest.approx(500 * 100 * (1 / 100 + 1 / 50) + 100 / 400)


def saved(run: Any, folder: Path, stages: dict[str, float]) -> Path:
    """A run directory with nothing but run.json."""
    data = {"format": FORMAT, "settings": run.config.to_dict()}
    data["stages"] = {stage: {"seconds": seconds} for stage, seconds in stages.items()}
    (folder / "run.json").write_text(json.dumps(data))
    return folder


def test_the_seconds_of_a_run_grow_with_its_passes(sources: ModuleType, tmp_path: Path) -> None:
    run, registry = mini(sources), default_registry()
    stages = {"squeeze": 30.0, "measure": 3.0, "recover": 10.0, "evaluate": 7.0, "reference": 9.0}
    earlier = saved(run, tmp_path, stages)
    assert sources.by_run(run, earlier, registry) == pytest.approx(
        {"teacher": 30, "fit": 3, "chunk": 10, "student": 16 / 4}
    )
    twice = mini(sources, settings=[("recover.iterations", 1000)], students=4)
    assert sources.by_run(twice, earlier, registry) == pytest.approx(
        {"teacher": 30, "fit": 3, "chunk": 20, "student": 16 / 4}, rel=0.01
    )
    other = mini(sources, settings=[("student.model", "resnet18")])
    with pytest.raises(SystemExit, match="says nothing about this run"):
        sources.by_run(other, earlier, registry)


def test_seconds_are_read_by_kind(sources: ModuleType) -> None:
    assert sources.given("chunk=90, student=1e3") == {"chunk": 90.0, "student": 1000.0}
    for wrong in ("chunk", "chunks=3", "chunk=-1", "chunk=nan"):
        with pytest.raises(SystemExit, match="the kinds are teacher"):
            sources.given(wrong)


def test_the_command_prints_a_table_for_each_ipc(
    cluster: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--dataset fashion-mini --ipc 1,10 --students 1 --workers 1,2 --seconds teacher=60,chunk=30,student=90"
    monkeypatch.setattr("sys.argv", ["cluster.py", *words.split()])
    cluster.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 2 |")]
    # Teacher and chunk one after the other, then both students side by side. The reference could begin earlier.
    assert len(lines) == 2 and all(line.startswith("| 2 | 3 min 00 s |") for line in lines)
