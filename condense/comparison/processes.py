"""Additional processes that work on a comparison.

They need no messages: a lock marks a piece in progress, and finished work lies below --out. Small networks
keep few cores busy, so two processes with one thread each do more than one process with two threads
(docs/results.md).
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from condense.comparison.cells import Workshop
from condense.comparison.design import Design, Place
from condense.comparison.lifeline import end_with_parent
from condense.comparison.progress import Progress
from condense.comparison.workspace import Workspace
from condense.engine.real import real_dataset
from condense.errors import OptionError
from condense.recipe.registry import Chosen, Registry, load_registry
from condense.runs.machine import runtime_of
from condense.runs.teachers import Taught
from condense.runtime import Reporter, SilentReporter, numeric_settings


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a helping process needs.

    taught: the teachers, by `Row.teacher`.
    plugins: which plugins it loads.
    threads: how many of torch's threads it gets.
    refused: as in `Workshop`.
    """

    design: Design
    out: Path
    taught: Mapping[str, Taught]
    plugins: Chosen
    threads: int
    refused: Mapping[Place, str] = field(default_factory=dict)


def check_jobs(jobs: int, registry: Registry, workers: int | None = None) -> None:
    """Raise OptionError if `jobs` processes cannot work on one comparison.

    workers: the processes that decode images, as they were asked for.
    """
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    if jobs == 1:
        return
    if registry.chosen is None:
        raise OptionError(
            "jobs must be 1 with a registry of your own: other processes have the installed plugins alone"
        )
    if workers:
        raise OptionError(
            f"workers must be 0 with {jobs} jobs, not {workers}: they share the cores, and each decodes with threads"
        )


@contextmanager
def helpers(
    count: int,
    design: Design,
    out: Path,
    taught: Mapping[str, Taught],
    registry: Registry,
    reporter: Reporter,
    refused: Mapping[Place, str] | None = None,
) -> Iterator[list[SpawnProcess]]:
    """While the block runs, let `count` more processes compute what is left of the comparison, piece by piece.

    torch's threads are divided among all processes. A note names a helper that died; this process did its
    work.
    """
    if not count:
        yield []
        return
    assert registry.chosen is not None, "see check_jobs"
    threads = torch.get_num_threads()
    share = max(1, threads // (count + 1))
    order = Order(
        design=design,
        out=out,
        taught=taught,
        refused=refused or {},
        plugins=registry.chosen,
        threads=share,
    )
    # A forked process would hang in OpenMP or CUDA.
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_help, args=(order,), daemon=True) for _ in range(count)]
    with _interrupts_ignored():
        for process in processes:
            process.start()
    torch.set_num_threads(share)
    try:
        yield processes
        for process in processes:
            if process.exitcode:
                reporter.note(
                    f"a helping process ended with status {process.exitcode}; its work was done here"
                )
    finally:
        for process in processes:
            process.terminate()
            process.join()
        torch.set_num_threads(threads)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Start children with SIGINT ignored; the parent terminates them. Only the main thread can change that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _help(order: Order) -> None:
    """Compute pieces that no other process works on, until nothing is left. The process ends with its parent."""
    end_with_parent()
    torch.set_num_threads(order.threads)
    recipe, machine = order.design.recipe, order.design.machine
    registry = load_registry(order.plugins.disabled, files=order.plugins.files)
    runtime = runtime_of(replace(machine, workers=0))
    chosen = replace(machine, device=str(runtime.device), precision=runtime.precision)
    with numeric_settings(runtime):
        shop = Workshop(
            design=order.design,
            space=Workspace(order.out, registry, chosen),
            registry=registry,
            runtime=runtime,
            progress=Progress(SilentReporter()),
            dataset=real_dataset(recipe, machine, registry, runtime),
            taught=order.taught,
            folder=order.out / order.design.name,
            refused=order.refused,
        )
        for place in order.design.places():
            if shop.is_free(place) and not shop.is_done(place):
                shop.work(place)
