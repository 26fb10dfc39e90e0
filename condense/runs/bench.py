"""The bench of a worker for one run: it does the pieces of the run, each from the files that the others left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from condense.engine.build import build_losses, state_of
from condense.engine.components import Evaluator
from condense.engine.measure import Shard, fit_merged, look, measure, observed_by
from condense.engine.measured import check_state, measured_bytes, read_measured, read_state
from condense.engine.plan import make_plan
from condense.engine.pool import States
from condense.engine.select import Selector, candidate_text
from condense.engine.squeeze import fresh_teacher, squeeze
from condense.engine.synthesis import Synthesis
from condense.engine.unfinished import Unfinished
from condense.executors.pieces import Piece
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import RunConfig
from condense.runs import pools
from condense.runs.build import Parts, build_parts
from condense.runs.graph import METHOD, REFERENCE, graph_of, students_together, title_of, unfinished_of
from condense.runs.lessons import Lessons
from condense.runs.metrics import MetricsReporter
from condense.runs.site import Bench, RunSite
from condense.runs.students import WantedStudent, train_wanted
from condense.runs.teachers import Teachers, check_same_teacher, recorded_of, weights_of
from condense.storage import artifact
from condense.storage.files import file_hash, json_bytes, read_json
from condense.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """A run, as an order has it.

    path: the run directory. teachers: the folder of teachers that runs share, or None.
    """

    config: RunConfig
    path: Path
    teachers: Path | None = None

    def bench(self, site: RunSite) -> Bench:
        """Return the bench of a worker for this run."""
        return RunBench(self, site)


class RunBench:
    """Does the pieces of one run. What several pieces need is built once, when the first needs it."""

    def __init__(self, job: RunJob, site: RunSite) -> None:
        self._job, self._site = job, site
        self._runtime = site.runtime
        self.recipe, self.folder = job.config.recipe, RunFolder(job.path)
        self.plan = make_plan(job.config, site.registry)
        self._graph = graph_of(self.plan, site.dataset, self.folder)
        self.evaluation = job.config.evaluation
        self._lessons = Lessons(self, site)

    def do(self, piece: Piece) -> Mapping[str, Any]:
        """Do a piece, write its outputs and return what it found as plain data."""
        self.folder.check_there()
        name = piece.name.replace("/", "-")
        metrics = self.folder.metrics_of(piece.kind, piece.index, name)
        if piece.kind == "chunk":
            metrics.unlink(missing_ok=True)  # a recovery that goes on writes its lines again
        told = self._site.told
        self._site.told = MetricsReporter(told, self.folder, metrics)
        does: Mapping[str, Callable[[Piece], Mapping[str, Any]]] = {
            "teacher": self._teach,
            "pool": self._train_network,
            "shard": self._look,
            "fit": self._fit,
            "start": self._start,
            "chunk": self._recover,
            "images": self._assemble,
            "student": self._student,
        }
        return does[piece.kind](piece)

    @cached_property
    def parts(self) -> Parts:
        """What the run is built from."""
        return build_parts(self.plan, self._site.registry)

    @property
    def evaluator(self) -> Evaluator:
        """What trains and tests the students of the run."""
        return self.parts.evaluator

    @cached_property
    def teacher(self) -> Network | None:
        """The teacher of the run, as it lies in the run directory; None for a run that needs none."""
        if not self.plan.needs_teacher:
            return None
        network = self._fresh_teacher(to_be_filled=True)
        load_checkpoint(network, self.folder.teacher)
        return network.frozen()

    @cached_property
    def synthesis(self) -> Synthesis:
        """What makes images."""
        state: Mapping[str, Tensor] = {}
        if self.plan.measures:
            classes = len(self._site.dataset.classes)
            state = read_state(self.folder.measurements, self.plan, classes)
        states: States | None = None
        if self.plan.needs_pool:
            site = self._site
            states = pools.read_states(self.recipe, site.dataset, site.registry, self._runtime, self.folder)
        return Synthesis(
            plan=self.plan,
            losses=self.parts.losses,
            initializer=self.parts.initializer,
            dataset=self._site.dataset,
            teacher=self.teacher,
            folder=self.folder,
            registry=self._site.registry,
            runtime=self._runtime,
            state=state,
            states=states,
            coder=self.parts.coder,
        )

    @cached_property
    def selector(self) -> Selector:
        """What judges candidates."""
        starts = {self.recipe.initializer.name: self.parts.initializer, **self.parts.starts}
        return Selector(self.synthesis, starts)

    @cached_property
    def begun(self) -> Synthesis:
        """What recovers chunks; in a run that chooses its start, from the best one."""
        return self.selector.begun() if self.plan.selects else self.synthesis

    def _fresh_teacher(self, *, to_be_filled: bool) -> Network:
        site = self._site
        return fresh_teacher(
            self.recipe, site.dataset, site.registry, self._runtime, to_be_filled=to_be_filled
        )

    def _teach(self, _: Piece) -> Mapping[str, Any]:
        """Train or load the teacher, and return its accuracy."""
        site, checksums = self._site, self.folder.checksums
        if self._job.teachers:
            shared = Teachers(self._job.teachers, site.registry)
            there = shared.has(shared.file(self.recipe, site.dataset, self._runtime), self._runtime)
            teacher = self._fresh_teacher(to_be_filled=there)
            taught = shared.teach(teacher, self.recipe, site.dataset, self._runtime)
            check_same_teacher(self.folder, file_hash(taught.file))
            checksums.link(taught.file, self.folder.teacher)
            return {"accuracy": taught.accuracy}
        teacher, known = self._fresh_teacher(to_be_filled=False), recorded_of(self.recipe)
        unfinished = Unfinished(self.folder.unfinished("teacher"), self._runtime)
        reached = squeeze(teacher, self.recipe, site.dataset, self._runtime, known, unfinished)
        weights = weights_of(teacher)
        check_same_teacher(self.folder, hashlib.sha256(weights).hexdigest())
        checksums.write(self.folder.teacher, weights)
        unfinished.remove()
        return {"accuracy": reached}

    def _train_network(self, piece: Piece) -> Mapping[str, Any]:
        site, recipe = self._site, self.recipe
        detail = f"network {piece.index} ({recipe.pool_network.name})"
        site.told.start("pool", detail, recipe.pool.epochs, "epoch")
        pools.train_network(
            piece.index,
            self.recipe,
            site.dataset,
            site.registry,
            self._runtime,
            folder=self.folder,
            shared=self._job.teachers,
        )
        return {}

    def _look(self, piece: Piece) -> Mapping[str, Any]:
        """Show the losses that observe a shard of the real images, and write what they observed."""
        losses, recipe = build_losses(self.plan), self.recipe
        assert self.teacher is not None
        look(
            losses,
            self.teacher,
            self._site.dataset,
            self._runtime,
            Shard(number=piece.index, count=self._graph.shards),
            batch_size=recipe.teacher.measure_batch,
            seed=recipe.seed,
            views=recipe.recover.measured_views,
            augment=recipe.recover.augment,
        )
        self.folder.checksums.write(self.folder.shard(piece.index), measured_bytes(observed_by(losses)))
        return {}

    def _fit(self, _: Piece) -> Mapping[str, Any]:
        """Fit the losses to all real images, or to what was observed in their shards, and write what they measured."""
        losses, recipe, site = build_losses(self.plan), self.recipe, self._site
        shards, ipc, classes = self._graph.shards, self.plan.images_per_class, len(site.dataset.classes)
        if shards > 1:
            names = [loss.name for loss in losses if loss.needs.observes]
            observed = [read_measured(self.folder.shard(number), names) for number in range(shards)]
            fit_merged(losses, observed, classes=classes, seed=recipe.seed, ipc=ipc, runtime=self._runtime)
        else:
            assert self.teacher is not None
            measure(
                losses,
                self.teacher,
                site.dataset,
                self._runtime,
                batch_size=recipe.teacher.measure_batch,
                seed=recipe.seed,
                ipc=ipc,
                views=recipe.recover.measured_views,
                augment=recipe.recover.augment,
            )
        state = state_of(losses)
        check_state(state, self.plan, classes)
        self.folder.checksums.write(self.folder.measurements, measured_bytes(state))
        return {}

    def _start(self, piece: Piece) -> Mapping[str, Any]:
        self.selector.make_start(piece.name)
        return {}

    def _recover(self, piece: Piece) -> Mapping[str, Any]:
        [name] = unfinished_of(piece)
        self.begun.recover(piece.index, Unfinished(self.folder.path / name, self._runtime))
        return {}

    def _assemble(self, _: Piece) -> Mapping[str, Any]:
        """Put the images together, label and save them, and return what was chosen if students choose."""
        facts: dict[str, Any] = {}
        if self.plan.selects:
            distilled, choice = self.selector.choose()
            facts["choice"] = choice.to_dict()
        else:
            distilled = self.synthesis.distilled()
        if not artifact.holds(self.folder.distilled, distilled, self._runtime.reporter.note):
            artifact.save(distilled, self.folder.distilled, overwrite=True)
        self._lessons.forget()
        return facts

    def _student(self, piece: Piece) -> Mapping[str, Any]:
        """Train and test the students of a piece that have no result yet. Write and return how all of them did."""
        if piece.stage == "select":
            return {"students": [self._judge(piece)]}
        trainer, distilled = self._lessons.of(piece.name)
        numbers = students_together(trainer.evaluation)[piece.index]
        wanted = [
            WantedStudent(
                folder=self.folder,
                file=self.folder.path / name,
                number=number,
                trainer=trainer,
                distilled=distilled,
            )
            for number, name in zip(numbers, piece.outputs, strict=True)
        ]
        for one in wanted:
            self._take_over(piece.name, one.file)
        title = title_of(piece.name, self.recipe.method)
        return {"students": train_wanted(wanted, title, self._site)}

    def _take_over(self, name: str, file: Path) -> None:
        """Take the result of a student of the same number who learned from the very same images, if it is there."""
        usable = self.folder.checksums.usable  # the driver has told of what is damaged
        others = {METHOD: REFERENCE, REFERENCE: METHOD}
        other = file.with_name(file.name.replace(name, others[name], 1))
        if usable(file, lambda _: None) or not (usable(other, lambda _: None) and self._lessons.same()):
            return
        self._write(file, read_json(other))
        self._runtime.reporter.note(
            "the images are the random real ones of the reference, so that each student of both is trained once"
        )

    def _judge(self, piece: Piece) -> Mapping[str, Any]:
        file = self.folder.path / piece.outputs[0]
        detail = f"student {piece.index} on {candidate_text(piece.name)}"
        self._site.told.start(piece.stage, detail, self.selector.protocol.epochs, "epoch")
        unfinished = self._unfinished(f"candidate-{file.stem}")
        found: dict[str, Any] = msgspec.to_builtins(self.selector.judge(piece.name, piece.index, unfinished))
        self._write(file, found)
        return found

    def _unfinished(self, name: str) -> Unfinished:
        return Unfinished(self.folder.unfinished(name), self._runtime)

    def _write(self, file: Path, found: Mapping[str, Any]) -> None:
        self.folder.checksums.write(file, json_bytes(found))
