"""Simulate a run on many workers: how long it takes, and what limits it.

    python benchmarks/cluster.py --dataset imagenet-1k --ipc 10,50 --workers 1,8,64 --students 6 \
        --seconds teacher=0,shard=60,fit=120,chunk=90,images=300,student=3000 --start 30
    python benchmarks/cluster.py --like runs/NAME --workers 1,2 [the run's --method, --dataset and --ipc]

The graph of pieces is the run's own, and the driver that gives pieces to workers is the one of `condense run`; only the
clock is made up. --seconds says how long one piece of each kind takes; --like takes that from the run.json of a run,
whose stages are divided among their pieces. --start is what a worker needs before its first piece.

For every number of workers it prints seconds from the first piece to the last, times as fast as one worker, how busy
the workers are, and the kind of piece under way while most workers had nothing to do. The last line of a table is the
longest chain of pieces that need each other, below which no number of workers gets.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from condense.engine.plan import make_plan
from condense.executors.board import Board
from condense.executors.executor import Crew
from condense.executors.foreman import OneScript, Script, carry_out
from condense.executors.pieces import Batch, Event, Finished, Piece
from condense.recipe.registry import default_registry
from condense.recipe.resolve import configure
from condense.runs.graph import graph_ahead
from condense.runtime import SilentReporter

# The kinds of pieces that a stage of run.json consists of, but for what takes little beside them.
STAGES = {
    "squeeze": ("teacher",),
    "pool": ("pool",),
    "measure": ("shard", "fit"),
    "recover": ("chunk",),
    "evaluate": ("student",),
}


class SimulatedCrew(Crew):
    """Workers with a clock of their own.

    seconds: of one piece, by its kind. start: seconds that each worker needs before its first piece.
    now: seconds since the beginning. busy: seconds of all workers together that pieces took.
    alone: by kind, worker-seconds without a piece while pieces of this kind were under way.
    """

    def __init__(self, size: int, seconds: Mapping[str, float], start: float = 0.0) -> None:
        self.size, self._seconds, self._start = size, seconds, start
        self.now = self.busy = 0.0
        self.alone: Counter[str] = Counter()
        self._ends: list[tuple[float, int, Piece]] = []
        self._given = self._begun = 0

    def idle(self) -> int:
        """Return how many workers have no piece."""
        return self.size - len(self._ends)

    def give(self, piece: Piece) -> None:
        """Give a piece to a worker; those that have begun are taken first, as `processes` does."""
        first = len(self._ends) >= self._begun
        self._begun += first
        took = self._seconds.get(piece.kind, 0.0)
        self.busy += took
        self._given += 1
        heapq.heappush(self._ends, (self.now + took + self._start * first, self._given, piece))

    def wait(self) -> Sequence[Event]:
        """Let the clock run to the end of the next piece."""
        end, _, piece = self._ends[0]
        for kind in {other.kind for _, _, other in self._ends}:
            self.alone[kind] += (end - self.now) * self.idle()
        heapq.heappop(self._ends)
        self.now = end
        return [Finished(piece=piece, seconds=self._seconds.get(piece.kind, 0.0))]


@dataclass(frozen=True)
class Simulated:
    """What a simulation found.

    seconds: from the first piece to the last. busy: the fraction of the workers' time that pieces take.
    limit: the kind of piece under way while most worker-seconds passed without one; "" if there were none.
    """

    workers: int
    seconds: float
    busy: float
    limit: str


def simulate(
    pieces: Sequence[Piece], workers: int, seconds: Mapping[str, float], start: float = 0.0
) -> Simulated:
    """Return how a run of these pieces goes. seconds: of one piece of each kind. start: of a worker."""
    crew = SimulatedCrew(workers, seconds, start)

    def script() -> Script[None]:
        yield Batch(pieces=pieces)

    carry_out(OneScript(script()), crew, Board(SilentReporter()))
    idle = crew.alone.most_common(1)
    limit = idle[0][0] if idle and idle[0][1] > 0 else ""
    return Simulated(workers, crew.now, crew.busy / (workers * crew.now) if crew.now else 1.0, limit)


def longest_chain(pieces: Sequence[Piece], seconds: Mapping[str, float]) -> float:
    """Return the seconds of the longest chain of pieces that need each other. pieces: in an order that works."""
    made: dict[str, float] = {}
    for piece in pieces:
        end = max((made.get(name, 0.0) for name in piece.inputs), default=0.0) + seconds.get(piece.kind, 0.0)
        made |= dict.fromkeys(piece.outputs, end)
    return max(made.values(), default=0.0)


def pieces_of(
    method: str, dataset: str, ipc: int, students: int, settings: Sequence[tuple[str, str]]
) -> list[Piece]:
    """Return the pieces of a run on a dataset whose numbers are published."""
    registry = default_registry()
    config = configure(
        registry, method=method, dataset=dataset, ipc=ipc, students=students, settings=settings
    )
    graph = graph_ahead(make_plan(config, registry), registry, Path("run"))
    if graph is None:
        raise SystemExit(f"the number of images of {dataset} is not published, so its graph is not known")
    # A group would only be shown.
    return [Piece(**{**vars(piece), "group": ""}) for piece in graph.whole()]


def seconds_like(run: Path, pieces: Sequence[Piece]) -> dict[str, float]:
    """Return the seconds of one piece of each kind in an earlier run of these pieces."""
    stages = json.loads((run / "run.json").read_text())["stages"]
    counts = Counter(piece.kind for piece in pieces)
    found: dict[str, float] = {}
    for stage, kinds in STAGES.items():
        there = [kind for kind in kinds if counts[kind]]
        main = there[0] if there else ""
        both = stages.get(stage, {}).get("seconds", 0.0) + (
            stages.get("reference", {}).get("seconds", 0.0) if stage == "evaluate" else 0.0
        )
        if main:
            found[main] = both / counts[main]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate a run on many workers.")
    parser.add_argument("--method", default="wmdd")
    parser.add_argument("--dataset", default="imagenet-1k")
    parser.add_argument("--ipc", default="10,50")
    parser.add_argument("--students", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--seconds", default="", metavar="KIND=SECONDS,...")
    parser.add_argument("--like", type=Path, metavar="RUN")
    parser.add_argument("--start", type=float, default=0.0)
    options = parser.parse_args()
    settings = [(key, value) for key, _, value in (text.partition("=") for text in options.set)]
    for ipc in map(int, options.ipc.split(",")):
        pieces = pieces_of(options.method, options.dataset, ipc, options.students, settings)
        seconds = seconds_like(options.like, pieces) if options.like else {}
        for text in filter(None, options.seconds.split(",")):
            kind, _, value = text.partition("=")
            seconds[kind] = float(value)
        counts = Counter(piece.kind for piece in pieces)
        listed = ", ".join(f"{count} {kind} of {seconds.get(kind, 0):g} s" for kind, count in counts.items())
        print(f"\n{options.method} on {options.dataset}, ipc {ipc}: {listed}\n")
        print("| workers | hours | times as fast as one | busy | what others wait for |")
        print("|---|---|---|---|---|")
        one = simulate(pieces, 1, seconds, options.start).seconds
        for workers in map(int, options.workers.split(",")):
            found = simulate(pieces, workers, seconds, options.start)
            faster = one / found.seconds if found.seconds else 1.0
            print(
                f"| {workers} | {found.seconds / 3600:.2f} | {faster:.1f} | {found.busy:.0%} | {found.limit or '-'} |"
            )
        print(f"| without limit | {longest_chain(pieces, seconds) / 3600:.2f} | | | |")


if __name__ == "__main__":
    main()
