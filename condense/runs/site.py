"""The site of a worker: plugins, real images and teachers, built once; and the order by which it is built."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from condense.data.dataset import RealDataset
from condense.engine.labels import LabelledBy
from condense.engine.real import real_dataset
from condense.engine.squeeze import fresh_teacher
from condense.executors.executor import not_shared
from condense.executors.pieces import Piece
from condense.executors.placement import Placement
from condense.models.checkpoints import load_checkpoint
from condense.recipe.config import Machine, Recipe
from condense.recipe.registry import Chosen, Registry, load_registry
from condense.runs.machine import runtime_of
from condense.runtime import Reporter, Runtime, SilentReporter, process_settings
from condense.storage.files import file_hash

_KEPT = 2  # benches that a site keeps; each holds the images of its run


class Bench(Protocol):
    """Where a worker does the pieces of one job."""

    def do(self, piece: Piece) -> Mapping[str, Any]:
        """Do a piece, write its outputs and return what it found as plain data."""


class Job(Protocol):
    """What pieces belong to, such as a run: settings and paths."""

    def bench(self, site: RunSite) -> Bench:
        """Return the bench of a worker for this job."""


@dataclass(frozen=True, kw_only=True)
class RunOrder:
    """What a worker needs to do pieces of runs on one dataset. It can be pickled.

    recipe: of the dataset. machine: that computes, with a definite kind of device and precision.
    jobs: by `Piece.job`.
    folder: the folder in which the driver was started, to which paths are relative.
    plugins: which plugins a worker loads. probe: as in `Order`.
    """

    recipe: Recipe
    machine: Machine
    jobs: Mapping[str, Job]
    folder: str
    plugins: Chosen
    probe: str = ""

    @property
    def kind(self) -> str:
        """The device, as the settings name it."""
        return self.machine.device

    def registry(self) -> Registry:
        """Return what the plugins of a worker offer."""
        return load_registry(self.plugins.disabled, files=self.plugins.files)

    @contextmanager
    def site(self, placement: Placement) -> Iterator[RunSite]:
        """Build a site for another process inside the block. Raises StorageError if storage is not shared."""
        where = f"the worker on {platform.node()}"
        if not Path(self.folder).is_dir():
            raise not_shared(self.folder, where)
        os.chdir(self.folder)
        if self.probe and not Path(self.probe).exists():
            raise not_shared(self.probe, where)
        placement.set_threads()
        machine = replace(self.machine, device=placement.device, loaders=0)
        runtime = runtime_of(machine)
        with ExitStack() as stack:
            stack.enter_context(process_settings(runtime))
            registry = self.registry()
            yield RunSite(
                jobs=self.jobs,
                registry=registry,
                machine_runtime=runtime,
                dataset=real_dataset(self.recipe, machine, registry, runtime),
            )


@dataclass(kw_only=True)
class RunSite:
    """Where a worker does pieces of runs.

    machine_runtime: the device; its reporter is not used, because each piece has its own.
    """

    jobs: Mapping[str, Job]
    registry: Registry
    machine_runtime: Runtime
    dataset: RealDataset
    told: Reporter = field(default_factory=SilentReporter)
    _benches: dict[str, Bench] = field(default_factory=dict)
    _labelling: dict[Path, LabelledBy] = field(default_factory=dict)

    @cached_property
    def runtime(self) -> Runtime:
        """The runtime of all pieces; what it reports goes to the reporter of the piece in progress."""
        return replace(self.machine_runtime, reporter=_Told(self))

    def do(self, piece: Piece, reporter: Reporter) -> Mapping[str, Any]:
        """Do a piece, write its outputs and return what it found as plain data."""
        self.told = reporter
        try:
            return self._bench(piece.job).do(piece)
        finally:
            self.told = SilentReporter()

    def labelled_by(self, recipe: Recipe, file: Path) -> LabelledBy:
        """Return the teacher of a recipe with the weights in a file. Each is loaded once."""
        if file not in self._labelling:
            network = fresh_teacher(recipe, self.dataset, self.registry, self.runtime, to_be_filled=True)
            load_checkpoint(network, file)
            self._labelling[file] = LabelledBy(
                network=network.frozen(), hash=file_hash(file), bytes=file.stat().st_size
            )
        return self._labelling[file]

    def _bench(self, job: str) -> Bench:
        """Return the bench of a job; of those of other jobs, the one used last is kept."""
        bench = self._benches.pop(job, None) or self.jobs[job].bench(self)
        self._benches[job] = bench
        while len(self._benches) > _KEPT:
            del self._benches[next(iter(self._benches))]
        return bench


class _Told:
    """A Reporter that passes everything on to the reporter of the piece that its site does now."""

    def __init__(self, site: RunSite) -> None:
        self._site = site

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        """Report that a piece of work begins."""
        self._site.told.start(stage, detail, total, unit)

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        """Report that `count` units are done."""
        self._site.told.advance(count, values)

    def finish(self, summary: str = "") -> None:
        """Report that the piece of work is done."""
        self._site.told.finish(summary)

    def note(self, text: str) -> None:
        """Report something that the user should know."""
        self._site.told.note(text)
