"""The seconds of a step, found by making a few."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from condense.runtime import Runtime

SECONDS = 2.0  # for the timed repetitions of one kind of step
_STEPS = 200  # repetitions at most


def seconds_of_step(
    steps: Callable[[int], None], runtime: Runtime, *, least: int = 1, most: int = _STEPS
) -> float:
    """Return the seconds of one step: after a step to warm up, as many as fit into a short time, `most` at most.

    steps: makes a number of steps, at least `least`.
    """

    def spent(count: int) -> float:
        began = time.perf_counter()
        steps(count)
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        return (time.perf_counter() - began) / count

    slowest = spent(least)
    # The first step of a shape compiles kernels, which says nothing of the others.
    first = spent(least) if slowest < 10 * SECONDS else slowest
    count = min(most, _STEPS, int(SECONDS / max(first, 1e-9)))
    return spent(count) if count > least else first
