"""What a run takes, before it: counted work, seconds, memory and bytes on disk, and what to change to fit a budget."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch

from condense.data.parametrizations.base import coder_of
from condense.engine.plan import Plan, make_plan
from condense.engine.price import Footprint, Price, Throughput, loads_of, memory_advice, time_advice
from condense.engine.real import counts_in, real_dataset
from condense.engine.work import Counts, known_counts, passes, work_of
from condense.errors import DataError, OptionError
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry
from condense.recipe.settings import options_of
from condense.runs.ahead import check_teacher_is_needed
from condense.runs.calibrate import Calibration
from condense.runs.usual import divided_backward, usual_executor
from condense.runtime import Reporter, Runtime, make_runtime, process_settings

# A process of this size where the system does not say how large ours is.
_PROCESS = 400 * 10**6


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would take, and how that was found.

    config: the run.
    counts: of its dataset.
    price: work, seconds, memory and bytes on disk.
    stages: each stage with a text for people.
    source: where the seconds come from.
    device: what computes.
    advice: what to change to fit the budgets.
    notes: what the user should know.
    """

    config: RunConfig
    counts: Counts
    price: Price
    stages: tuple[tuple[str, str], ...]
    source: str
    device: str
    advice: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; sizes are in bytes."""
        price, recipe = self.price, self.config.recipe
        stages = []
        for stage, text in self.stages:
            forward, backward = passes(price.work, stage)
            load = price.loads.get(stage)
            stages.append(
                {
                    "stage": stage,
                    "text": text,
                    "steps": sum(part.steps for part in price.work if part.stage == stage),
                    "forward": forward,
                    "backward": backward,
                    "seconds": price.seconds.get(stage, 0.0),
                    "memory": price.base + load.bytes if load else 0,
                }
            )
        return {
            "method": recipe.method,
            "dataset": recipe.dataset.name,
            "ipc": recipe.ipc,
            "seed": recipe.seed,
            "device": self.device,
            "counts": {
                name: getattr(self.counts, name) for name in ("classes", "train", "test", "side", "channels")
            },
            "stages": stages,
            "seconds": price.total_seconds,
            "seconds_from": self.source,
            "peak_memory": price.peak,
            "disk": dict(price.disk),
            "advice": list(self.advice),
            "notes": list(self.notes),
        }


def estimate(
    config: RunConfig,
    registry: Registry,
    *,
    throughput: Throughput | None = None,
    budget_time: float | None = None,
    budget_memory: int | None = None,
    reporter: Reporter | None = None,
    given: Collection[str] = (),
) -> Estimate:
    """Return what a run takes. The dataset is loaded only if its spec does not say how many images it has.

    throughput: of another machine; None times a few steps on this one.
    budget_time, budget_memory: in seconds and bytes, for advice.
    given: the keys of the user's settings, which are refused if they have no effect.

    Raises CondenseError as a run does for what cannot work.
    """
    plan = make_plan(config, registry)
    check_teacher_is_needed(plan, given)
    counts, notes = counts_of(config, registry)
    coder_of(config.recipe.parametrization, registry).check(counts.channels, counts.side)
    per_class = counts.held_out(config.recipe.validation).train // counts.classes
    if plan.images_per_class > per_class:
        raise DataError(
            f"{plan.images_per_class} images per class were asked for, and a class of {config.recipe.dataset.name!r} "
            f"has {per_class} on average; use a smaller --ipc"
        )
    runtime = _runtime(config, throughput, reporter)
    calibration = Calibration(
        plan=plan, counts=counts.held_out(config.recipe.validation), registry=registry, runtime=runtime
    )
    with process_settings(runtime):
        price = _priced(calibration, counts, throughput)
    advice = []
    if budget_memory:
        held = plan.images_per_stored
        advice = memory_advice(price, budget_memory, config.recipe, bf16=runtime.bf16, images_per_stored=held)
    advice += time_advice(price, budget_time, config.recipe, config.evaluation) if budget_time else []
    if not counts.in_memory and not (throughput and throughput.load):
        notes = (
            *notes,
            "reading and decoding images is not counted; --throughput load=N does, in images per second",
        )
    usual = usual_executor(divided_backward(plan, counts), counts, runtime, registry)
    if not (throughput or usual.alone):
        notes = (
            *notes,
            "these are the times of one process; condense run does some of it in several here, which takes less",
        )
    return Estimate(
        config=config,
        counts=counts,
        price=price,
        stages=tuple(plan.stages()),
        source="given throughputs" if throughput else "a few steps timed on this machine",
        device=runtime.describe() if not throughput else "another machine",
        advice=tuple(advice),
        notes=(*plan.notes, *notes),
    )


def _priced(calibration: Calibration, counts: Counts, throughput: Throughput | None) -> Price:
    """Return what the run of a calibration takes. counts: of the whole dataset."""
    plan, images = calibration.plan, 0
    work = work_of(plan, counts)
    if counts.in_memory:
        images = counts.bytes_of_image * (counts.train + counts.test)
    accelerated = calibration.runtime.device.type == "cuda"
    base = images if accelerated else images + _most_in_memory(calibration.runtime)
    prints = calibration.footprints()
    loads = loads_of(plan, work, counts, prints)
    seconds: dict[str, float] = {}
    if throughput:
        for part in work:
            seconds[part.stage] = seconds.get(part.stage, 0.0) + throughput.seconds(part)
    else:
        seconds = calibration.seconds(work)
        # The trial made real steps: what it had in memory beyond the counted tensors, such as buffers of kernels, a
        # run has as well.
        largest = max((load.bytes for load in loads.values()), default=0)
        base = max(base, _most_in_memory(calibration.runtime) - largest)
    return Price(work=work, seconds=seconds, base=base, loads=loads, disk=_disk(plan, counts, prints))


def _runtime(config: RunConfig, throughput: Throughput | None, reporter: Reporter | None) -> Runtime:
    """Return what computes the trial. With given throughputs, networks are only built, so the CPU will do."""
    machine = config.machine
    if throughput:
        return make_runtime("cpu", machine.precision, reporter)
    try:
        return make_runtime(machine.device, machine.precision, reporter)
    except OptionError as error:
        raise OptionError(f"{error}, or give the --throughput of a machine that has it") from error


def counts_of(config: RunConfig, registry: Registry) -> tuple[Counts, tuple[str, ...]]:
    """Return the counts of a run's dataset, and what the user should know about them."""
    use = config.recipe.dataset
    spec, _ = registry.dataset(use.name)
    known = known_counts(spec, options_of(use, "dataset", registry))
    if known:
        return known, ()
    dataset = real_dataset(replace(config.recipe, validation=0.0), config.machine, registry)
    return counts_in(dataset), dataset.notes


def _most_in_memory(runtime: Runtime) -> int:
    """Return the most bytes that this process has had on a CUDA device, else in the memory of the machine."""
    if runtime.device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(runtime.device))
    try:
        import resource
    except ImportError:  # not on Windows
        return _PROCESS
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


def _disk(plan: Plan, counts: Counts, prints: dict[str, Footprint]) -> dict[str, int]:
    """Return the bytes of what a run leaves behind. PNG files are at most about as large as their pixels."""
    recipe, evaluation = plan.recipe, plan.evaluation
    stored = counts.classes * recipe.ipc * counts.bytes_of_image
    disk = {"distilled images": stored, "chunks": stored}
    if plan.selects:
        earlier = sum(after < recipe.recover.iterations for after in plan.judged_after)
        disk["candidates"] = stored * (len(plan.initializers) + earlier)
    if plan.needs_teacher and "teacher" in prints:
        disk["teacher"] = prints["teacher"].parameters
    if plan.needs_pool and "pool" in prints:
        states = recipe.pool.networks * (1 + recipe.pool.checkpoints)
        disk["pool"] = states * prints["pool"].parameters
    if evaluation.protocol.labels == "soft":
        disk["soft labels"] = counts.classes * plan.images_per_class * counts.classes * 4
    return disk
