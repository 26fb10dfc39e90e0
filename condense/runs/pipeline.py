"""Run the stages in order: skip what is not needed, resume what is done, and save the result."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from condense.data.ahead import too_few
from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder, coder_of
from condense.engine.build import build_component, build_losses, state_of
from condense.engine.components import Evaluator, FeatureTarget, Initializer, WeightedLoss
from condense.engine.evaluate import Score, StudentTrainer
from condense.engine.initial import build_initializer
from condense.engine.labels import LABELS
from condense.engine.measure import check_teacher, measure
from condense.engine.parts import parts_of
from condense.engine.plan import REFERENCE_LABEL, Plan, make_plan
from condense.engine.pool import States
from condense.engine.preflight import preflight
from condense.engine.real import real_dataset
from condense.engine.select import Choice, Selector
from condense.engine.squeeze import fresh_teacher, squeeze
from condense.engine.synthesis import Synthesis
from condense.engine.unfinished import Unfinished, discard
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import RunConfig, dataset_label
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.sources import files_of_run, sources_of_run
from condense.runs import pools, provenance
from condense.runs.ahead import check_teacher_is_needed
from condense.runs.journal import Journal, MetricsReporter, earlier_config
from condense.runs.machine import runtime_of
from condense.runs.report import write_report
from condense.runs.result import RunResult
from condense.runs.teachers import Teachers, check_same_teacher, recorded_of
from condense.runtime import Reporter, Runtime, numeric_settings
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.files import file_hash, json_bytes, read_json
from condense.storage.grid import save_grid
from condense.storage.locks import held
from condense.storage.run_folder import RunFolder
from condense.storage.tensors import read_tensors, tensors_to_bytes


def run(
    config: RunConfig,
    path: Path,
    *,
    registry: Registry,
    reporter: Reporter | None = None,
    resume: bool = False,
    teachers: Teachers | None = None,
    dataset: RealDataset | None = None,
    locked: bool = False,
    given: Collection[str] | None = None,
) -> RunResult:
    """Condense a dataset and evaluate the result. Everything that the run saves lies under `path`.

    resume: continue the run in `path`, which must have the same recipe.
    teachers: the folder of trained teachers that runs share; None keeps the teacher to this run.
    dataset: the real dataset of the recipe, if it is already loaded.
    locked: whether the caller has locked the folder `path` already.
    given: keys of the user's settings for this run; None in a comparison, where a row may leave its teacher unread.

    Raises CondenseError with a message for users.
    """
    recipe = config.recipe
    machine = config.machine
    runtime = runtime_of(machine, reporter)
    with ExitStack() as locks, numeric_settings(runtime):
        if resume:
            RunFolder.open(path)
            locks.enter_context(nullcontext() if locked else held(path))
        plan = make_plan(config, registry)
        if given is not None:
            check_teacher_is_needed(plan, given)
        parts = build_parts(plan, registry)
        dataset = real_dataset(recipe, machine, registry, runtime) if dataset is None else dataset
        check_images(recipe.ipc, dataset, parts.coder)
        # Refuse what cannot work before anything is written.
        preflight(parts_of(plan), dataset, registry, runtime, chosen=recipe.dataset)
        teacher = fresh_teacher(recipe, dataset, registry, runtime) if plan.needs_teacher else None
        if teacher:
            check_teacher({loss.name: loss.needs for loss in parts.losses}, teacher)
        host = provenance.host(runtime, config)
        sources = sources_of_run(config, registry), files_of_run(config, registry)
        if resume:
            earlier = earlier_config(path, registry)
            journal = Journal.resume(path, config, earlier, host, *sources)
        else:
            RunFolder.check_free(path)
            locks.enter_context(nullcontext() if locked else held(path))
            journal = Journal.begin(path, config, provenance.versions(registry), host, *sources)
        runtime = replace(runtime, reporter=MetricsReporter(runtime.reporter, journal.folder.metrics))
        with journal.stopping():
            return _Run(config, plan, parts, dataset, registry, runtime, journal, teachers).execute(teacher)


def check_images(ipc: int, dataset: RealDataset, coder: Coder) -> None:
    """Raise DataError if a class has fewer real images than are made of it, or if images cannot be stored in this form.

    ipc: stored images per class.
    """
    counts, held = dataset.class_counts(), coder.images_per_stored
    fewest = min(range(len(counts)), key=counts.__getitem__)
    if ipc * held > counts[fewest]:
        raise too_few(ipc, dataset_label(dataset.name), dataset.classes[fewest], counts[fewest], held)
    coder.check(dataset.channels, dataset.size)


def build_parts(plan: Plan, registry: Registry) -> Parts:
    """Return what a run is built from. Raises CondenseError for a plugin's mistake, or parts that do not fit together.

    An initializer that needs what no target gives is refused here, before a teacher is trained.
    """
    seed = plan.recipe.seed
    parts = Parts(
        losses=build_losses(plan),
        initializer=build_initializer(plan.recipe.initializer, registry, seed),
        starts={spec.name: build_initializer(Use(name=spec.name), registry, seed) for spec in plan.starts},
        evaluator=build_component(plan.evaluation.evaluator, "evaluator", Evaluator, registry),
        coder=coder_of(plan.recipe.parametrization, registry),
    )
    targets = [loss.loss for loss in parts.losses if isinstance(loss.loss, FeatureTarget)]
    for initializer in (parts.initializer, *parts.starts.values()):
        initializer.check(targets)
    return parts


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is built from. It is built first, so that a plugin's mistake shows before any work."""

    losses: tuple[WeightedLoss, ...]
    initializer: Initializer
    starts: Mapping[str, Initializer]
    evaluator: Evaluator
    coder: Coder


class _Run:
    """A run in progress: what its stages share."""

    def __init__(
        self,
        config: RunConfig,
        plan: Plan,
        parts: Parts,
        dataset: RealDataset,
        registry: Registry,
        runtime: Runtime,
        journal: Journal,
        teachers: Teachers | None,
    ) -> None:
        self.config, self.plan, self.parts = config, plan, parts
        self.recipe, self.evaluation = config.recipe, config.evaluation
        self.dataset, self.registry, self.runtime = dataset, registry, runtime
        self.journal, self.folder, self.teachers = journal, journal.folder, teachers
        self.notes = [*dataset.notes, *plan.notes]
        for note in self.notes:
            runtime.reporter.note(note)

    def execute(self, teacher: Network | None) -> RunResult:
        """Execute every stage that is not done and return the result."""
        teacher_accuracy = self._squeeze(teacher) if teacher else None
        states = self._pool() if self.plan.needs_pool else None
        state: Mapping[str, Tensor] = {}
        if self.plan.measures:
            assert teacher is not None
            state = self._measure(teacher)
        synthesis = Synthesis(
            plan=self.plan,
            losses=self.parts.losses,
            initializer=self.parts.initializer,
            dataset=self.dataset,
            teacher=teacher,
            folder=self.folder,
            registry=self.registry,
            runtime=self.runtime,
            state=state,
            states=states,
            coder=self.parts.coder,
        )
        if self.plan.selects:
            distilled, choice = self._select(synthesis)
        else:
            with self.journal.stage("recover"):
                distilled, choice = synthesis.distilled(), None
                self._save(distilled)
        scores = self._evaluate(distilled, synthesis)
        return self._finish(distilled, scores, teacher_accuracy, choice)

    def _select(self, synthesis: Synthesis) -> tuple[DistilledDataset, Choice]:
        """Recover from the best start, and return and save the images of the best candidate."""
        selector = Selector(
            synthesis, {self.recipe.initializer.name: self.parts.initializer, **self.parts.starts}
        )
        with self.journal.stage("select"):
            begun = selector.begin()
        if self.recipe.recover.iterations:
            with self.journal.stage("recover"):
                states = begun.recovered()
        else:
            states = {}
        with self.journal.stage("select") as facts:
            distilled, choice = selector.choose(begun, states)
            facts["choice"] = choice.to_dict()
            self._save(distilled)
        self.runtime.reporter.note(choice.text())
        return distilled, choice

    def _save(self, distilled: DistilledDataset) -> None:
        if not artifact.holds(self.folder.distilled, distilled, self.runtime.reporter.note):
            artifact.save(distilled, self.folder.distilled, overwrite=True)

    def _squeeze(self, teacher: Network) -> float:
        """Train or load the teacher in place and return its accuracy."""
        facts, unfinished = self.journal.facts.get("squeeze", {}), self.folder.unfinished("teacher")
        if "accuracy" in facts and self._usable(self.folder.teacher):
            load_checkpoint(teacher, self.folder.teacher)
            discard(unfinished)
            self.runtime.reporter.note(f"teacher taken from {self.folder.teacher}")
            teacher.frozen()
            return float(facts["accuracy"])
        with self.journal.stage("squeeze") as facts:
            if self.teachers:
                taught = self.teachers.teach(teacher, self.recipe, self.dataset, self.runtime)
                reached = taught.accuracy
                check_same_teacher(self.folder, file_hash(taught.file))
                self.folder.checksums.link(taught.file, self.folder.teacher)
            else:
                known = recorded_of(self.recipe)
                kept = Unfinished(unfinished, self.runtime)
                reached = squeeze(teacher, self.recipe, self.dataset, self.runtime, known, kept)
                weights = tensors_to_bytes(teacher.model.state_dict(), {"model": teacher.name})
                check_same_teacher(self.folder, hashlib.sha256(weights).hexdigest())
                self.folder.checksums.write(self.folder.teacher, weights)
            facts["accuracy"] = reached
        discard(unfinished)
        teacher.frozen()
        return reached

    def _usable(self, piece: Path) -> bool:
        """Return whether a piece of an earlier attempt is there and undamaged."""
        return self.folder.checksums.usable(piece, self.runtime.reporter.note)

    def _pool(self) -> States:
        """Return the states of the pool's networks. Those that are kept nowhere are trained."""
        with self.journal.stage("pool"):
            return pools.ready(
                self.recipe,
                self.dataset,
                self.registry,
                self.runtime,
                folder=self.folder,
                shared=self.teachers.path if self.teachers else None,
            )

    def _measure(self, teacher: Network) -> Mapping[str, Tensor]:
        """Return what the losses measured, as it lies in the run directory, whoever measured it."""
        if self._usable(self.folder.measurements):
            self.runtime.reporter.note(f"measurements taken from {self.folder.measurements}")
            return read_tensors(self.folder.measurements)[0]
        with self.journal.stage("measure"):
            measure(
                self.parts.losses,
                teacher,
                self.dataset,
                self.runtime,
                batch_size=self.recipe.teacher.measure_batch,
                seed=self.recipe.seed,
                ipc=self.plan.images_per_class,
                views=self.recipe.recover.measured_views,
                augment=self.recipe.recover.augment,
            )
            state = tensors_to_bytes(state_of(self.parts.losses))
            self.folder.checksums.write(self.folder.measurements, state)
        return read_tensors(self.folder.measurements)[0]

    def _evaluate(self, distilled: DistilledDataset, synthesis: Synthesis) -> list[Score]:
        if not self.evaluation.students:
            return []
        answers = LABELS[self.evaluation.protocol.labels].answers
        trainer = StudentTrainer(
            recipe=self.recipe,
            evaluation=self.evaluation,
            evaluator=self.parts.evaluator,
            dataset=self.dataset,
            teacher=synthesis.teacher if answers else None,
            registry=self.registry,
            runtime=self.runtime,
        )
        with self.journal.stage("evaluate"):
            scores = [self._score(trainer, distilled, self.recipe.method, "method")]
        if self.plan.reference:
            with self.journal.stage("reference"):
                scores.append(self._score(trainer, synthesis.reference(), REFERENCE_LABEL, "reference"))
        return scores

    def _score(self, trainer: StudentTrainer, distilled: DistilledDataset, label: str, images: str) -> Score:
        kept = f"{images}-{provenance.students_label(self.evaluation, self.runtime)}"

        def recall(student: int) -> dict[str, Any] | None:
            stored = self.folder.student(kept, student)
            return read_json(stored) if self._usable(stored) else None

        return trainer.score(
            distilled,
            label,
            recall=recall,
            keep=lambda student, found: self.folder.checksums.write(
                self.folder.student(kept, student), json_bytes(found)
            ),
            unfinished=lambda student: self.folder.unfinished(f"{kept}-{student}"),
        )

    def _finish(
        self,
        distilled: DistilledDataset,
        scores: Sequence[Score],
        teacher_accuracy: float | None,
        choice: Choice | None,
    ) -> RunResult:
        save_grid(distilled, self.folder.grid)
        result = RunResult(
            path=self.folder.path,
            config=self.config,
            distilled=distilled,
            scores=scores,
            teacher_accuracy=teacher_accuracy,
            seconds=self.journal.seconds,
            notes=self.notes,
            versions=provenance.versions(self.registry),
            choice=choice,
        )
        outcome = result.to_dict()
        write_report(self.folder.report, outcome, self.folder.grid.read_bytes())
        self.journal.finish(outcome)
        return result
