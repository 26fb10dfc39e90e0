"""The stages in order: what to skip, what to resume, what a run leaves behind."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import provenance
from condense.components import Initializer, InitialRequest
from condense.config import RunConfig, config_from_dict
from condense.data.dataset import RealDataset
from condense.data.load import load_dataset
from condense.data.pixels import to_bytes
from condense.distilled import DistilledDataset
from condense.errors import DataError
from condense.evaluation import Bench
from condense.grid import image_grid
from condense.initializers import RandomReal
from condense.journal import Journal, saved_config
from condense.models.build import build_network, load_checkpoint
from condense.models.network import Network
from condense.plan import REFERENCE_LABEL, Plan, make_plan
from condense.plugins import Registry
from condense.report import write_report
from condense.result import RunResult, Score
from condense.rng import generator, isolated_global_rng
from condense.runtime import Reporter, Runtime, make_runtime, numeric_settings
from condense.specs import NoOptions
from condense.stages.measure import check_taps, measure
from condense.stages.recover import Chunk, Networks, chunk_classes, recover_chunk
from condense.stages.relabel import relabel
from condense.stages.squeeze import fresh_teacher, squeeze
from condense.store import (
    append_line,
    file_hash,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)


def run(
    config: RunConfig,
    path: Path,
    *,
    registry: Registry,
    reporter: Reporter | None = None,
    resume: bool = False,
) -> RunResult:
    """Condense a dataset and evaluate the outcome; everything it leaves behind lies under `path`.

    resume: go on with the unfinished (or finished) run in `path`, which must have had the same settings.
    Raises CondenseError with a text for users.
    """
    runtime = make_runtime(config.device, config.precision, reporter)
    with numeric_settings(runtime):
        plan = make_plan(config, registry)
        dataset = load_dataset(config, registry)
        _check_ipc(config.ipc, dataset)
        if resume:
            journal = Journal.resume(path, config, config_from_dict(saved_config(path), registry))
        else:
            journal = Journal.begin(path, config, provenance.versions(registry), provenance.host(runtime))
        return _Run(plan, dataset, registry, runtime, journal).execute()


def _check_ipc(ipc: int, dataset: RealDataset) -> None:
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
        self, plan: Plan, dataset: RealDataset, registry: Registry, runtime: Runtime, journal: Journal
    ) -> None:
        self.plan, self.config = plan, plan.config
        self.dataset, self.registry, self.runtime = dataset, registry, runtime
        self.journal, self.folder = journal, journal.folder
        self.notes = [*dataset.notes]
        for note in self.notes:
            runtime.reporter.note(note)

    def execute(self) -> RunResult:
        teacher, teacher_accuracy = self._squeeze() if self.plan.needs_teacher else (None, None)
        if self.plan.measures:
            assert teacher is not None
            self._measure(teacher)
        with self.journal.stage("recover"):
            images = self._recover(teacher)
        distilled = self._save(images, teacher)
        scores = self._evaluate(distilled, teacher)
        return self._finish(distilled, scores, teacher_accuracy)

    def _squeeze(self) -> tuple[Network, float]:
        teacher = fresh_teacher(self.config, self.dataset, self.registry, self.runtime)
        names = [term.name for term in self.plan.terms]
        check_taps(names, [term.component for term in self.plan.terms], teacher)
        facts = self.journal.facts.get("squeeze", {})
        if self.folder.teacher.exists() and "accuracy" in facts:
            load_checkpoint(teacher, self.folder.teacher)
            self.runtime.reporter.note(f"teacher taken from {self.folder.teacher}")
            return teacher.frozen(), float(facts["accuracy"])
        with self.journal.stage("squeeze") as facts:
            reached = squeeze(teacher, self.config, self.dataset, self.runtime)
            write_tensors(self.folder.teacher, teacher.model.state_dict(), {"model": teacher.name})
            facts["accuracy"] = reached
        return teacher.frozen(), reached

    def _measure(self, teacher: Network) -> None:
        if self.folder.measurements.exists():
            tensors, _ = read_tensors(self.folder.measurements)
            for term in self.plan.terms:
                own = {
                    key.removeprefix(f"{term.name}/"): t
                    for key, t in tensors.items()
                    if key.startswith(f"{term.name}/")
                }
                if term.component.measures:
                    term.component.restore(own)
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

    def _recover(self, teacher: Network | None) -> Tensor:
        """(K * ipc, C, H, W) uint8, by class and slot."""
        config, terms = self.config, self.plan.terms
        chunks = chunk_classes(len(self.dataset.classes), config.ipc, config.recover.batch)
        steps = config.recover.iterations if terms else 0
        self.runtime.reporter.start(
            "recover", f"{len(chunks)} chunks", max(1, steps) * len(chunks), "step" if steps else "chunk"
        )
        finished = [
            self._recover_chunk(index, classes, teacher, steps) for index, classes in enumerate(chunks)
        ]
        self.runtime.reporter.finish()
        return torch.cat(finished)

    def _recover_chunk(self, index: int, classes: range, teacher: Network | None, steps: int) -> Tensor:
        stored = self.folder.chunk(index)
        if stored.exists():
            self.runtime.reporter.advance(max(1, steps))
            return read_tensors(stored)[0]["images"]
        chunk = self._initial(index, classes, teacher)
        images = chunk.images
        if steps:
            draws = generator(self.config.seed, "recover", "chunk", index)
            with isolated_global_rng(draws):
                images = recover_chunk(
                    chunk,
                    self.plan.terms,
                    Networks(teacher, self._fresh_network),
                    self.config.recover,
                    self.dataset,
                    generator=draws,
                    runtime=self.runtime,
                    log=lambda iteration, losses: self._log(index, iteration, losses),
                )
        else:
            self.runtime.reporter.advance(1)
        pixels = to_bytes(images, self.dataset.mean, self.dataset.std)
        write_tensors(stored, {"images": pixels})
        return pixels

    def _initial(self, index: int, classes: range, teacher: Network | None) -> Chunk:
        ipc = self.config.ipc
        images = torch.cat([self._initial_images(self.plan.initializer, label, teacher) for label in classes])
        weights = self._slot_weights()[classes.start : classes.stop].flatten()
        return Chunk(
            index=index,
            labels=torch.tensor(list(classes)).repeat_interleave(ipc),
            slots=torch.arange(ipc).repeat(len(classes)),
            weights=weights,
            images=images,
        )

    def _initial_images(self, initializer: Initializer, label: int, teacher: Network | None) -> Tensor:
        return initializer.images(
            InitialRequest(
                label=label,
                ipc=self.config.ipc,
                dataset=self.dataset,
                generator=generator(self.config.seed, "initialize", label),
                targets=self.plan.targets,
                teacher=teacher,
                runtime=self.runtime,
            )
        )

    def _slot_weights(self) -> Tensor:
        """(K, ipc): those of the first target that has any, or equal ones."""
        for target in self.plan.targets:
            weights = target.slot_weights()
            if weights is not None:
                return weights.cpu()
        return torch.full((len(self.dataset.classes), self.config.ipc), 1 / self.config.ipc)

    def _fresh_network(self, draws: torch.Generator) -> Network:
        return build_network(self.config.teacher.model, self.dataset, self.registry, self.runtime, draws)

    def _log(self, chunk: int, iteration: int, losses: Mapping[str, float]) -> None:
        append_line(
            self.folder.metrics, {"stage": "recover", "chunk": chunk, "iteration": iteration, **losses}
        )
        self.runtime.reporter.advance(0, losses)

    def _save(self, images: Tensor, teacher: Network | None) -> DistilledDataset:
        with self.journal.stage("relabel"):
            distilled = self._dataset_of(images, self._slot_weights(), self.config.method, teacher)
            if not self.folder.distilled.exists():
                distilled.save(self.folder.distilled)
        return distilled

    def _dataset_of(
        self, images: Tensor, weights: Tensor, method: str, teacher: Network | None
    ) -> DistilledDataset:
        config, dataset = self.config, self.dataset
        classes, ipc = len(dataset.classes), config.ipc
        online = config.protocol.labels == "online" and teacher is not None
        has_file = teacher is not None and self.folder.teacher.exists()
        distilled = DistilledDataset(
            images=images,
            labels=torch.arange(classes).repeat_interleave(ipc),
            slots=torch.arange(ipc).repeat(classes),
            weights=weights.flatten(),
            classes=dataset.classes,
            mean=dataset.mean,
            std=dataset.std,
            ipc=ipc,
            label_mode="online" if online else "hard",
            name=f"{method}-{dataset.name}-{ipc}ipc",
            method=method,
            dataset=dataset.name,
            teacher_hash=file_hash(self.folder.teacher) if has_file else "",
            teacher_bytes=self.folder.teacher.stat().st_size if has_file else 0,
            recipe=config.to_dict(),
            licence=dataset.licence,
            source=dataset.source,
        )
        if config.protocol.labels == "soft" and teacher is not None:
            distilled = relabel(distilled, teacher, self.runtime)
        return distilled

    def _evaluate(self, distilled: DistilledDataset, teacher: Network | None) -> list[Score]:
        if not self.config.students:
            return []
        bench = Bench(
            config=self.config,
            dataset=self.dataset,
            evaluator=self.plan.evaluator,
            teacher=teacher if self.config.protocol.labels == "online" else None,
            registry=self.registry,
            runtime=self.runtime,
        )
        with self.journal.stage("evaluate"):
            scores = [self._score(bench, distilled, self.config.method, "method")]
        if self.plan.reference:
            with self.journal.stage("reference"):
                scores.append(self._score(bench, self._reference(teacher), REFERENCE_LABEL, "reference"))
        return scores

    def _reference(self, teacher: Network | None) -> DistilledDataset:
        """Random real images of equal ipc."""
        chooser = RandomReal(NoOptions())
        classes = range(len(self.dataset.classes))
        images = torch.cat([self._initial_images(chooser, label, teacher) for label in classes])
        weights = torch.full((len(classes), self.config.ipc), 1 / self.config.ipc)
        return self._dataset_of(
            to_bytes(images, self.dataset.mean, self.dataset.std), weights, "random", teacher
        )

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
        picture = io.BytesIO()
        image_grid(distilled).save(picture, format="PNG")
        write_bytes(self.folder.grid, picture.getvalue())
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
        write_report(self.folder.report, outcome, picture.getvalue())
        self.journal.finish(outcome)
        return result
