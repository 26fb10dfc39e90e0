"""Evaluate: train a student from scratch on a distilled dataset and test it on real images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import torch
from torch import Tensor

from condense.data.cutmix import mix_labels
from condense.data.dataset import MemoryImages, RealDataset
from condense.data.feed import Batch, Feed
from condense.engine.components import EvaluationRequest, Evaluator, Measurement
from condense.engine.training import Loss, accuracy, distillation_loss, hard_loss, train
from condense.errors import ModelError
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry
from condense.recipe.specs import NoOptions
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset
from condense.text import counted


class StudentEvaluator(Evaluator):
    """Trains one student by the protocol and reports its accuracy after the last epoch."""

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def evaluate(self, request: EvaluationRequest) -> Measurement:
        """Accuracy of one student on the real test images.

        Students of one number start from the same weights whatever dataset they learn from, so that methods
        can be compared pair by pair. Raises ModelError where the protocol needs a teacher and none is there.
        """
        began = time.perf_counter()
        runtime, distilled, protocol = request.runtime, request.distilled, request.protocol
        student = request.build_student(generator(request.seed, "evaluate", request.student, "weights"))
        draws = generator(request.seed, "evaluate", request.student, "training")
        feed = Feed(
            MemoryImages(distilled.images),
            size=request.dataset.size,
            mean=distilled.mean,
            std=distilled.std,
            runtime=runtime,
        )
        with isolated_global_rng(draws):
            steps = train(
                student,
                feed,
                _loss(request),
                protocol,
                generator=draws,
                runtime=runtime,
                what=f"student {request.student}",
            )
        # Normalised as what the student learned from: the same images from another place may have another mean.
        tested = replace(request.dataset, mean=distilled.mean, std=distilled.std)
        reached = accuracy(student, tested.test, tested, runtime)
        return Measurement(
            student=request.student, accuracy=reached, seconds=time.perf_counter() - began, steps=steps
        )


def _loss(request: EvaluationRequest) -> Loss:
    protocol, distilled, device = request.protocol, request.distilled, request.runtime.device
    weights = (distilled.weights * distilled.ipc).to(device) if protocol.weighted else None
    if protocol.labels == "hard":
        return hard_loss(distilled.labels.to(device), len(distilled.classes), weights)
    teach = _saved_labels(request) if protocol.labels == "soft" else _online_teacher(request)
    return distillation_loss(teach, protocol.temperature, weights)


def _saved_labels(request: EvaluationRequest) -> Callable[[Batch], Tensor]:
    logits = request.distilled.soft_labels
    if logits is None:
        raise ModelError(
            "the protocol wants soft labels and this distilled dataset has none; use --set protocol.labels=hard, "
            "or make them with --teacher"
        )
    probabilities = torch.softmax(logits / request.protocol.temperature, dim=1).to(request.runtime.device)

    def teach(batch: Batch) -> Tensor:
        chosen = probabilities[batch.indices.to(probabilities.device)]
        return chosen if batch.mix is None else mix_labels(chosen, batch.mix)

    return teach


def _online_teacher(request: EvaluationRequest) -> Callable[[Batch], Tensor]:
    teacher = request.teacher
    if teacher is None:
        raise ModelError(
            "the protocol's labels are online: the teacher answers during training, and there is none; name its "
            "weights with --teacher FILE, or use --set protocol.labels=hard"
        )

    def teach(batch: Batch) -> Tensor:
        with torch.no_grad(), request.runtime.autocast():
            logits = teacher.logits(batch.images)
        return torch.softmax(logits / request.protocol.temperature, dim=1)

    return teach


# Finds what is stored of student number n, or None; and stores what was found.
Recall = Callable[[int], "dict[str, Any] | None"]
Keep = Callable[[int, "dict[str, Any]"], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything a student needs beside the dataset it learns from."""

    config: RunConfig
    dataset: RealDataset
    evaluator: Evaluator
    teacher: Network | None
    registry: Registry
    runtime: Runtime

    def build_student(self, generator: torch.Generator) -> Network:
        """A fresh student network."""
        return build_network(self.config.student_model, self.dataset, self.registry, self.runtime, generator)

    def score(
        self,
        distilled: DistilledDataset,
        label: str,
        *,
        recall: Recall | None = None,
        keep: Keep | None = None,
    ) -> Score:
        """Train and test every student on `distilled`. Students that `recall` knows are not trained again."""
        protocol, count = self.config.protocol, self.config.students
        reporter = self.runtime.reporter
        measurements: list[Measurement] = []
        reporter.start(
            "evaluate", f"{counted(count, 'student')} on {label}", count * protocol.epochs, "epoch"
        )
        for student in range(count):
            known = recall(student) if recall else None
            if known is not None:
                measurements.append(msgspec.convert(known, Measurement))
                reporter.advance(protocol.epochs)
                continue
            found = self.evaluator.evaluate(
                EvaluationRequest(
                    distilled=distilled,
                    dataset=self.dataset,
                    protocol=protocol,
                    student=student,
                    seed=self.config.seed,
                    build_student=self.build_student,
                    teacher=self.teacher,
                    runtime=self.runtime,
                )
            )
            if keep:
                keep(student, msgspec.to_builtins(found))
            measurements.append(found)
        score = Score(label=label, measurements=tuple(measurements))
        spread = f" ± {score.std:.1%}" if score.std is not None else ""
        reporter.finish(f"accuracy {score.mean:.1%}{spread}")
        return score


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well students did that learned from one small dataset. label: a method, or "random real images"."""

    label: str
    measurements: tuple[Measurement, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over students, in [0, 1]."""
        return statistics.fmean(found.accuracy for found in self.measurements)

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the accuracy over students (n - 1); None for a single student."""
        if len(self.measurements) < 2:
            return None
        return statistics.stdev(found.accuracy for found in self.measurements)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; accuracies as fractions."""
        return {
            "label": self.label,
            "accuracy_mean": self.mean,
            "accuracy_std": self.std,
            "accuracies": [found.accuracy for found in self.measurements],
            "students": len(self.measurements),
            "steps": self.measurements[0].steps,
            "seconds": sum(found.seconds for found in self.measurements),
        }
