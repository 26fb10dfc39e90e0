"""Processes that take pieces of a comparison off the one that makes it.

They need no word from it: a piece that somebody works on is locked, and what is finished lies below --out. Small
networks keep few cores busy, so that two processes of one thread do more than one process of two (docs/results.md).
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from condense.comparison.cells import Workshop
from condense.comparison.design import Design
from condense.comparison.progress import Progress
from condense.comparison.workspace import Shelf
from condense.data.load import load_dataset
from condense.errors import OptionError
from condense.recipe.registry import Registry, load_registry
from condense.runs.teachers import Taught
from condense.runtime import Reporter, SilentReporter, make_runtime, numeric_settings
from condense.storage import locks


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a helper is told. without: the plugins that are disabled. threads: of its own, for torch."""

    design: Design
    out: Path
    taught: Taught
    without: tuple[str, ...]
    threads: int


def check_jobs(jobs: int, registry: Registry) -> None:
    """Raise OptionError where `jobs` processes cannot work on one comparison."""
    if jobs < 1:
        raise OptionError(f"jobs must be at least 1, not {jobs}")
    if jobs == 1:
        return
    if not locks.POSSIBLE:
        raise OptionError(
            "jobs must be 1 here: this system has no locks that keep processes off each other's work"
        )
    if registry.disabled is None:
        raise OptionError(
            "jobs must be 1 with a registry of your own: other processes have the installed plugins alone"
        )


@contextmanager
def helpers(
    count: int, design: Design, out: Path, taught: Taught, registry: Registry, reporter: Reporter
) -> Iterator[list[SpawnProcess]]:
    """While the block runs, `count` further processes do what is left of the comparison, piece by piece.

    torch's threads are shared out among all. A helper that died is told of by a note: its work was done here.
    """
    if not count:
        yield []
        return
    assert registry.disabled is not None, "see check_jobs"
    threads = torch.get_num_threads()
    share = max(1, threads // (count + 1))
    order = Order(design=design, out=out, taught=taught, without=registry.disabled, threads=share)
    # A process that was forked would hang in OpenMP or CUDA.
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
    """Processes started in the block never hear of Ctrl-C: whoever they help ends them. Only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _help(order: Order) -> None:
    """Do what nobody works on, until nothing is left or nobody is there to be helped."""
    helped = multiprocessing.parent_process()
    torch.set_num_threads(order.threads)
    shared = order.design.shared
    registry = load_registry(order.without)
    runtime = make_runtime(shared.device, shared.precision)
    with numeric_settings(runtime):
        shop = Workshop(
            design=order.design,
            shelf=Shelf(order.out, registry, runtime),
            registry=registry,
            runtime=runtime,
            progress=Progress(SilentReporter()),
            dataset=load_dataset(shared, registry),
            taught=order.taught,
            folder=order.out / order.design.name,
        )
        for place in order.design.places():
            if helped is not None and not helped.is_alive():
                return
            if shop.is_free(place) and not shop.is_done(place):
                shop.work(place)
