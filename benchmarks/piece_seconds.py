"""How long one piece of each kind takes in a run, for benchmarks/cluster.py."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense.engine.plan import Plan, make_plan
from condense.engine.price import Throughput
from condense.engine.work import Counts, Work, passes, work_of
from condense.executors.pieces import KINDS, Piece
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.runs.estimate import counts_of
from condense.runs.graph import RunGraph
from condense.runs.journal import earlier_config
from condense.storage.files import read_json

# The kinds of pieces that take the time of a stage: the first of them that a run has.
STAGES: Mapping[str, tuple[str, ...]] = {
    "squeeze": ("teacher",),
    "pool": ("pool",),
    "measure": ("shard", "fit"),
    "recover": ("chunk", "images"),
    "relabel": ("images",),
    "evaluate": ("student",),
}


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A run that is simulated.

    config: of the run. plan, counts: what it does, and on how many images.
    """

    config: RunConfig
    plan: Plan
    counts: Counts

    @classmethod
    def of(cls, config: RunConfig, registry: Registry) -> Simulated:
        """Return the run of a configuration. A dataset whose numbers are not published is loaded."""
        counts, _ = counts_of(config, registry)
        return cls(config=config, plan=make_plan(config, registry), counts=counts)

    def pieces(self) -> list[Piece]:
        """Return its graph, in an order in which one worker can do the pieces."""
        counts = self.counts.held_out(self.config.recipe.validation)
        graph = RunGraph(
            plan=self.plan, classes=counts.classes, images_of_dataset=counts.train, path=Path("run")
        )
        # A group would only be shown.
        return [Piece(**{**vars(piece), "group": ""}) for piece in graph.whole()]

    def work(self) -> tuple[Work, ...]:
        """Return its counted work."""
        return work_of(self.plan, self.counts)


def configured(registry: Registry, **what: Any) -> Simulated:
    """Return the run of settings, which are those of `condense.run`."""
    return Simulated.of(configure(registry, **what), registry)


def shared_out(seconds: Mapping[str, float], pieces: Iterable[Piece]) -> dict[str, float]:
    """Return the seconds of one piece of each kind, from those of whole stages."""
    counts = Counter(piece.kind for piece in pieces if piece.stage != "select")
    found: dict[str, float] = {}
    for stage, kinds in STAGES.items():
        main = next((kind for kind in kinds if counts[kind]), "")
        if main and seconds.get(stage):
            found[main] = found.get(main, 0.0) + seconds[stage] / counts[main]
    return found


def by_throughput(run: Simulated, throughput: Throughput) -> dict[str, float]:
    """Return the seconds of one piece of each kind on a worker of a known throughput, counted as `condense plan` does.

    Measuring is the shards' if there are any. What losses fit, and how images are written, is not counted.
    """
    stages: dict[str, float] = {}
    for work in run.work():
        stages[work.stage] = stages.get(work.stage, 0.0) + throughput.seconds(work)
    return shared_out(stages, run.pieces())


def by_run(run: Simulated, path: Path, registry: Registry) -> dict[str, float]:
    """Return the seconds of one piece of each kind, from the run.json of an earlier run.

    The seconds of a stage grow with the passes of images through networks, so the earlier run may have had fewer
    images, iterations or epochs. Raises SystemExit unless it had the same networks at the same size of images.
    """
    earlier = Simulated.of(earlier_config(path, registry), registry)
    ours, theirs = (alike(one) for one in (run, earlier))
    if ours != theirs:
        raise SystemExit(f"{path} says nothing about this run: it had {theirs}, and this run has {ours}")
    spent = dict(stage_seconds(path))
    spent["evaluate"] = spent.get("evaluate", 0.0) + spent.get("reference", 0.0)
    scaled = {}
    for stage in STAGES:
        before, now = (sum(passes(one.work(), stage)) for one in (earlier, run))
        scaled[stage] = spent.get(stage, 0.0) * (now / before if before else 1.0)
    return shared_out(scaled, run.pieces())


def alike(run: Simulated) -> str:
    """Return what two runs must have in common for their seconds to be in proportion."""
    recipe, side = run.config.recipe, run.counts.side
    student = run.config.evaluation.student_network(recipe.teacher)
    return f"{recipe.method} by {recipe.teacher.model.name} and students of {student.name} at {side} pixels"


def stage_seconds(path: Path) -> dict[str, float]:
    """Return the seconds of each stage in a run.json, added up over workers."""
    data = read_json(path / "run.json")
    return {stage: float(facts["seconds"]) for stage, facts in data["stages"].items()}


def given(text: str) -> dict[str, float]:
    """Return "chunk=90,student=3000" by kind. Raises SystemExit for another text."""
    found = {}
    for part in filter(None, text.split(",")):
        kind, _, value = (side.strip() for side in part.partition("="))
        try:
            found[kind] = float(value)
        except ValueError:
            found[kind] = -1.0
        if kind not in KINDS or not 0 <= found[kind] < math.inf:
            raise SystemExit(f"{part!r} is not KIND=SECONDS; the kinds are {', '.join(KINDS)}")
    return found


def listed(seconds: Mapping[str, float], pieces: Sequence[Piece]) -> str:
    """Return the pieces of a run for people: how many there are of each kind, and what one takes."""
    counts = Counter(piece.kind for piece in pieces)
    return ", ".join(f"{count} {kind} of {seconds.get(kind, 0):.3g} s" for kind, count in counts.items())
