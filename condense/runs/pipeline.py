"""The stages in order: what to skip, what to resume, what a run leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.load import load_dataset
from condense.engine.evaluate import Bench, Score
from condense.engine.measure import check_taps, measure
from condense.engine.plan import REFERENCE_LABEL, Plan, make_plan
from condense.engine.squeeze import fresh_teacher, squeeze
from condense.engine.synthesis import Synthesis
from condense.errors import DataError
from condense.models.build import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import RunConfig, config_from_dict
from condense.recipe.registry import Registry
from condense.runs import provenance
from condense.runs.journal import Journal, MetricsReporter, saved_config
from condense.runs.report import write_report
from condense.runs.result import RunResult
from condense.runs.teachers import Teachers
from condense.runtime import Reporter, Runtime, make_runtime, numeric_settings
from condense.storage import artifact
from condense.storage.distilled import DistilledDataset
from condense.storage.files import read_json, read_tensors, same_file, write_json, write_tensors
from condense.storage.grid import save_grid


def run(
    config: RunConfig,
    path: Path,
    *,
    registry: Registry,
    reporter: Reporter | None = None,
    resume: bool = False,
    teachers: Teachers | None = None,
    dataset: RealDataset | None = None,
) -> RunResult:
    """Condense a dataset and evaluate the outcome; everything it leaves behind lies under `path`.

    resume: go on with the unfinished (or finished) run in `path`, which must have had the same settings.
    teachers: where trained teachers are kept for other runs; None keeps this run's to itself. dataset: the
    configuration's, where it is loaded already.
    Raises CondenseError with a text for users.
    """
    runtime = make_runtime(config.device, config.precision, reporter)
    with numeric_settings(runtime):
        plan = make_plan(config, registry)
        dataset = load_dataset(config, registry) if dataset is None else dataset
        check_ipc(config.ipc, dataset)
        teacher = _fresh_teacher(plan, dataset, registry, runtime)
        if resume:
            journal = Journal.resume(path, config, config_from_dict(saved_config(path), registry))
        else:
            journal = Journal.begin(path, config, provenance.versions(registry), provenance.host(runtime))
        runtime = replace(runtime, reporter=MetricsReporter(runtime.reporter, journal.folder.metrics))
        return _Run(plan, dataset, registry, runtime, journal, teachers).execute(teacher)


def _fresh_teacher(plan: Plan, dataset: RealDataset, registry: Registry, runtime: Runtime) -> Network | None:
    """The teacher before training, if the run needs one; what cannot work is refused before anything is written."""
    if not plan.needs_teacher:
        return None
    teacher = fresh_teacher(plan.config, dataset, registry, runtime)
    check_taps([term.name for term in plan.terms], [term.component for term in plan.terms], teacher)
    return teacher


def check_ipc(ipc: int, dataset: RealDataset) -> None:
    """Raise DataError where a class has fewer real images than are asked for."""
    counts = dataset.class_counts()
    fewest = min(range(len(counts)), key=counts.__getitem__)
    if ipc > counts[fewest]:
        raise DataError(
            f"{ipc} images per class were asked for, and the smallest class of {dataset.name!r}, "
            f"{dataset.classes[fewest]!r}, has only {counts[fewest]}; use --ipc {counts[fewest]} or less"
        )


class _Run:
    """One run under way: what its stages share."""

    def __init__(
        self,
        plan: Plan,
        dataset: RealDataset,
        registry: Registry,
        runtime: Runtime,
        journal: Journal,
        teachers: Teachers | None,
    ) -> None:
        self.plan, self.config = plan, plan.config
        self.dataset, self.registry, self.runtime = dataset, registry, runtime
        self.journal, self.folder, self.teachers = journal, journal.folder, teachers
        self.notes = [*dataset.notes, *plan.notes]
        for note in self.notes:
            runtime.reporter.note(note)

    def execute(self, teacher: Network | None) -> RunResult:
        teacher_accuracy = self._squeeze(teacher) if teacher else None
        if self.plan.measures:
            assert teacher is not None
            self._measure(teacher)
        synthesis = Synthesis(
            plan=self.plan,
            dataset=self.dataset,
            teacher=teacher,
            folder=self.folder,
            registry=self.registry,
            runtime=self.runtime,
        )
        with self.journal.stage("recover"):
            distilled = synthesis.distilled()
            if not self.folder.distilled.exists():
                artifact.save(distilled, self.folder.distilled)
        scores = self._evaluate(distilled, synthesis)
        return self._finish(distilled, scores, teacher_accuracy)

    def _squeeze(self, teacher: Network) -> float:
        """Train or load the teacher in place; its accuracy."""
        facts = self.journal.facts.get("squeeze", {})
        if self.folder.teacher.exists() and "accuracy" in facts:
            load_checkpoint(teacher, self.folder.teacher)
            self.runtime.reporter.note(f"teacher taken from {self.folder.teacher}")
            teacher.frozen()
            return float(facts["accuracy"])
        with self.journal.stage("squeeze") as facts:
            if self.teachers:
                taught = self.teachers.teach(teacher, self.config, self.dataset, self.runtime)
                reached = taught.accuracy
                same_file(taught.file, self.folder.teacher)
            else:
                reached = squeeze(teacher, self.config, self.dataset, self.runtime)
                write_tensors(self.folder.teacher, teacher.model.state_dict(), {"model": teacher.name})
            facts["accuracy"] = reached
        teacher.frozen()
        return reached

    def _measure(self, teacher: Network) -> None:
        if self.folder.measurements.exists():
            tensors, _ = read_tensors(self.folder.measurements)
            for term in self.plan.terms:
                if term.component.measures:
                    term.component.restore(_below(tensors, term.name))
            self.runtime.reporter.note(f"measurements taken from {self.folder.measurements}")
            return
        with self.journal.stage("measure"):
            measure(
                [term.component for term in self.plan.terms],
                teacher,
                self.dataset,
                self.runtime,
                batch_size=self.config.teacher.measure_batch,
                seed=self.config.seed,
                ipc=self.config.ipc,
            )
            state = {
                f"{term.name}/{key}": tensor
                for term in self.plan.terms
                for key, tensor in term.component.state().items()
            }
            write_tensors(self.folder.measurements, state)

    def _evaluate(self, distilled: DistilledDataset, synthesis: Synthesis) -> list[Score]:
        if not self.config.students:
            return []
        bench = Bench(
            config=self.config,
            dataset=self.dataset,
            evaluator=self.plan.evaluator,
            teacher=synthesis.teacher if self.config.protocol.labels == "online" else None,
            registry=self.registry,
            runtime=self.runtime,
        )
        with self.journal.stage("evaluate"):
            scores = [self._score(bench, distilled, self.config.method, "method")]
        if self.plan.reference:
            with self.journal.stage("reference"):
                scores.append(self._score(bench, synthesis.reference(), REFERENCE_LABEL, "reference"))
        return scores

    def _score(self, bench: Bench, distilled: DistilledDataset, label: str, file: str) -> Score:
        def recall(student: int) -> dict[str, Any] | None:
            stored = self.folder.student(file, student)
            return read_json(stored) if stored.exists() else None

        return bench.score(
            distilled,
            label,
            recall=recall,
            keep=lambda student, found: write_json(self.folder.student(file, student), found),
        )

    def _finish(
        self, distilled: DistilledDataset, scores: Sequence[Score], teacher_accuracy: float | None
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
        )
        outcome = result.to_dict()
        write_report(self.folder.report, outcome, self.folder.grid.read_bytes())
        self.journal.finish(outcome)
        return result


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under "name/", without that prefix."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
