"""Simulate a run on many workers: how long it takes, and what limits it.

    python benchmarks/cluster.py --throughput forward=16500,backward=8300 --seconds fit=130,images=100 --start 30
    python benchmarks/cluster.py --like runs/NAME [--same] --workers 1,2
    python benchmarks/cluster.py --seconds teacher=0,shard=60,fit=120,chunk=90,images=300,student=3000

The graph of pieces is the run's own, and the driver that gives pieces to workers is the one of `condense run`; only the
clock is made up. How long one piece of each kind takes comes from one of three sources, or from several:

--throughput: images per second of one worker, as `condense plan` takes them; the work is counted as it counts it.
--like: the stages in the run.json of a run with the same networks and size of images, in proportion to the passes of
    images through networks. With --same, that very run is simulated and the options of a run are not used, so that
    the result can be compared with the clock.
--seconds: of one piece of a kind, in place of what another source says. What fits the losses (fit) and what puts the
    images together (images) is one piece each, in which --throughput and --like count little or nothing.

--start is what a worker needs before its first piece: imports, the index of the dataset, networks.

For every number of workers it prints the time from the first piece to the last, times as fast as one worker, how busy
the workers are, what the others wait for (the kind of piece under way while most workers had nothing to do), and what
the time consists of (the kinds along the chain of pieces that ends last, each of which began when the one before it
ended). The last line of a table is the longest chain of pieces that need each other, below which no number of workers
gets.

Not simulated: pieces of one kind that take unequal time, workers that share a disk or a network, workers that are lost.
"""

from __future__ import annotations

import argparse
import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piece_seconds import Simulated, by_run, by_throughput, configured, given, listed

from condense.engine.price import parse_throughput
from condense.errors import CondenseError
from condense.executors.board import Board
from condense.executors.executor import Crew
from condense.executors.foreman import OneScript, Script, carry_out
from condense.executors.pieces import Batch, Event, Finished, Piece
from condense.recipe.registry import default_registry
from condense.runs.journal import earlier_config
from condense.runtime import SilentReporter
from condense.text import duration


@dataclass(frozen=True, kw_only=True)
class Span:
    """When a piece was given to a worker, how long the worker took to begin, and when the piece ended, in seconds."""

    given: float
    start: float
    end: float


class SimulatedCrew(Crew):
    """Workers with a clock of their own.

    seconds: of one piece, by its kind. start: seconds that each worker needs before its first piece.
    now: seconds since the beginning. busy: seconds of all workers together that pieces took.
    alone: by kind, worker-seconds without a piece while pieces of this kind were under way.
    spans: of the pieces given so far.
    """

    def __init__(self, size: int, seconds: Mapping[str, float], start: float = 0.0) -> None:
        self.size, self._seconds, self._start = size, seconds, start
        self.now = self.busy = 0.0
        self.alone: defaultdict[str, float] = defaultdict(float)
        self.spans: dict[Piece, Span] = {}
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
        begins = self._start * first
        self.spans[piece] = Span(given=self.now, start=begins, end=self.now + took + begins)
        heapq.heappush(self._ends, (self.spans[piece].end, self._given, piece))

    def wait(self) -> Sequence[Event]:
        """Let the clock run to the end of the next piece."""
        end, _, piece = self._ends[0]
        for kind in {other.kind for _, _, other in self._ends}:
            self.alone[kind] += (end - self.now) * self.idle()
        heapq.heappop(self._ends)
        self.now = end
        return [Finished(piece=piece, seconds=self._seconds.get(piece.kind, 0.0))]


@dataclass(frozen=True)
class Result:
    """What a simulation found.

    seconds: from the first piece to the last. busy: the fraction of the workers' time that pieces take.
    limit: the kind of piece under way while most worker-seconds passed without one; "" if there were none.
    along: the seconds by kind, with "start", along the chain of pieces that ends last; they add up to `seconds`.
    """

    workers: int
    seconds: float
    busy: float
    limit: str
    along: Mapping[str, float]


def simulate(
    pieces: Sequence[Piece], workers: int, seconds: Mapping[str, float], start: float = 0.0
) -> Result:
    """Return how a run of these pieces goes. seconds: of one piece of each kind. start: of a worker."""
    crew = SimulatedCrew(workers, seconds, start)

    def script() -> Script[None]:
        yield Batch(pieces=pieces)

    carry_out(OneScript(script()), crew, Board(SilentReporter()))
    limit = max(crew.alone, key=crew.alone.__getitem__, default="")
    limit = limit if crew.alone[limit] > 0 else ""
    busy = crew.busy / (workers * crew.now) if crew.now else 1.0
    return Result(workers, crew.now, busy, limit, along_the_last(crew.spans))


def along_the_last(spans: Mapping[Piece, Span]) -> dict[str, float]:
    """Return the seconds by kind along the chain that ends last, the most first.

    A piece is given when another one ends: one whose output it needs, or else one whose worker it gets.
    """
    ending: dict[float, list[Piece]] = {}
    for one, span in spans.items():
        ending.setdefault(span.end, []).append(one)
    found: dict[str, float] = {}
    piece: Piece | None = max(spans, key=lambda other: spans[other].end, default=None)
    seen: set[Piece] = set()
    while piece is not None:
        seen.add(piece)
        span = spans[piece]
        found["start"] = found.get("start", 0.0) + span.start
        found[piece.kind] = found.get(piece.kind, 0.0) + span.end - span.given - span.start
        earlier = [one for one in ending.get(span.given, ()) if one not in seen]
        needed = [one for one in earlier if not set(one.outputs).isdisjoint(piece.inputs)]
        piece = next(iter(needed or earlier), None)
    return {kind: spent for kind, spent in sorted(found.items(), key=lambda item: -item[1]) if spent > 0}


def longest_chain(pieces: Sequence[Piece], seconds: Mapping[str, float]) -> float:
    """Return the seconds of the longest chain of pieces that need each other. pieces: in an order that works."""
    made: dict[str, float] = {}
    for piece in pieces:
        end = max((made.get(name, 0.0) for name in piece.inputs), default=0.0) + seconds.get(piece.kind, 0.0)
        made |= dict.fromkeys(piece.outputs, end)
    return max(made.values(), default=0.0)


def row(found: Result, alone: float) -> str:
    """Return a line of the table. alone: the seconds of one worker."""
    faster = alone / found.seconds if found.seconds else 1.0
    shares = {kind: spent / found.seconds for kind, spent in found.along.items()}
    along = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if share >= 0.005)
    return (
        f"| {found.workers} | {duration(found.seconds)} | {faster:.1f} | {found.busy:.0%} | {found.limit or '-'} "
        f"| {along} |"
    )


def show(run: Simulated, seconds: Mapping[str, float], workers: Sequence[int], start: float) -> None:
    """Print the table of a run."""
    pieces, recipe = run.pieces(), run.config.recipe
    print(f"\n{recipe.method} on {recipe.dataset.name}, ipc {recipe.ipc}: {listed(seconds, pieces)}\n")
    print(
        "| workers | time | times as fast as one | busy | what others wait for | what the time consists of |"
    )
    print("|---:|---:|---:|---:|---|---|")
    alone = simulate(pieces, 1, seconds, start).seconds
    for count in workers:
        print(row(simulate(pieces, count, seconds, start), alone))
    print(f"| without limit | {duration(longest_chain(pieces, seconds) + start)} | | | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulate a run on many workers.")
    parser.add_argument("--method", default="wmdd")
    parser.add_argument("--dataset", default="imagenet-1k")
    parser.add_argument("--ipc", default="10,50")
    parser.add_argument("--students", type=int, default=6)
    parser.add_argument("--reference", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--throughput", metavar="RATES", help="forward=N,backward=N[,load=N], of one worker")
    parser.add_argument("--like", type=Path, metavar="RUN")
    parser.add_argument("--same", action="store_true", help="simulate the run of --like itself")
    parser.add_argument("--seconds", default="", metavar="KIND=SECONDS,...")
    parser.add_argument("--start", type=float, default=0.0)
    options = parser.parse_args()
    settings = [(key, value) for key, _, value in (text.partition("=") for text in options.set)]
    registry = default_registry()
    what: dict[str, Any] = {"method": options.method, "dataset": options.dataset, "settings": settings}
    what |= {"students": options.students, "reference": options.reference}
    try:
        if options.same and not options.like:
            raise SystemExit("--same simulates the run of --like, which is missing")
        runs = (
            [Simulated.of(earlier_config(options.like, registry), registry)]
            if options.same
            else [configured(registry, ipc=int(ipc), **what) for ipc in options.ipc.split(",")]
        )
        for run in runs:
            seconds: dict[str, float] = {}
            if options.throughput:
                seconds |= by_throughput(run, parse_throughput(options.throughput))
            if options.like:
                seconds |= by_run(run, options.like, registry)
            seconds |= given(options.seconds)
            if not any(seconds.values()):
                raise SystemExit("say how long pieces take: --throughput, --like or --seconds")
            show(run, seconds, [int(count) for count in options.workers.split(",")], options.start)
    except CondenseError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
