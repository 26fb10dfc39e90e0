"""Who does the pieces of a run or a comparison if nobody says it."""

from __future__ import annotations

import torch

from condense.engine.plan import Plan
from condense.engine.work import Counts, chunk_sizes, passes, work_of
from condense.executors.catalog import ProcessesOptions
from condense.executors.executor import Executor
from condense.executors.local import Local
from condense.executors.placement import usual_count
from condense.executors.processes import Processes
from condense.recipe.registry import Registry
from condense.recipe.specs import NoOptions
from condense.runtime import Runtime, available_cores, physical_memory

# Pixels that pass backward through networks: fewer take about a minute, and starting processes takes ten seconds.
_WORTH = 50 * 10**6
# The part of the memory of a computer that copies of the real images may take.
_PART = 4


def divided_backward(plan: Plan, counts: Counts) -> int:
    """Return how many times images pass backward through networks in the pieces of a run that can be done side by side.

    These are its students, those that judge its images, and its chunks if there are several.
    """
    recipe = plan.recipe
    chunks = chunk_sizes(counts.classes, recipe.ipc, recipe.recover, plan.images_per_stored)
    stages = ("select", "evaluate", *["recover"] * (len(chunks) > 1))
    work = work_of(plan, counts)
    return sum(passes(work, stage)[1] for stage in stages)


def usual_executor(backward: int, counts: Counts, runtime: Runtime, registry: Registry) -> Executor:
    """Return who does the work: several processes where a CPU has much to do side by side, otherwise this process.

    backward: how many times images pass backward through networks in pieces that are independent of each other.
    counts: of the dataset. Each process has a copy of its images; if they stay in files, decoding them needs the cores.
    registry: other processes have the installed plugins alone.

    Two processes with one thread each train students in 0.7 of the time of one with two threads (docs/performance.md).
    """
    kind, cores = runtime.device.type, min(available_cores(), torch.get_num_threads())
    count = usual_count(kind, cards=0, cores=cores) if kind == "cpu" else 1
    copies = (count + 1) * (counts.train + counts.test) * counts.bytes_of_image
    divided = (
        count > 1
        and registry.chosen is not None
        and counts.in_memory
        and copies * _PART <= physical_memory()
        and backward * counts.side**2 >= _WORTH
    )
    return Processes(ProcessesOptions(workers=count)) if divided else Local(NoOptions())
