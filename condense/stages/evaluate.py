"""Evaluate: train a student from scratch on a distilled dataset and test it on real images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from condense.components import EvaluationRequest, Evaluator, Measurement
from condense.data.dataset import MemoryImages
from condense.data.feed import Batch, Feed
from condense.data.mixing import mix_labels
from condense.errors import ModelError
from condense.rng import generator, isolated_global_rng
from condense.specs import NoOptions
from condense.training import Loss, accuracy, distillation_loss, hard_loss, train


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
