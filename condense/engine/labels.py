"""The label modes of distilled datasets: what each needs, how students learn from it, and what is stored for it.

hard: the label is the class of the image.
soft: the label is the teacher's logits of the image, saved with it.
online: the teacher labels every augmented view during training, so the teacher is stored beside the images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from condense.errors import ModelError
from condense.recipe.protocol import LabelMode

if TYPE_CHECKING:
    from torch import Tensor

    from condense.data.feed import Batch
    from condense.engine.components import EvaluationRequest
    from condense.engine.together import StackLoss
    from condense.engine.training import BatchLoss
    from condense.models.network import Network
    from condense.runtime import Runtime
    from condense.storage.distilled import DistilledDataset


@dataclass(frozen=True, kw_only=True)
class LabelledBy:
    """The teacher that labels come from.

    network: the teacher.
    hash: the SHA-256 of its file; "" for a teacher without a file.
    bytes: the size of its file.
    """

    network: Network
    hash: str = ""
    bytes: int = 0


class Labels(ABC):
    """One label mode.

    name: its name.
    made_by_teacher: whether the teacher makes the labels before any training.
    answers: whether the teacher labels the views during training.
    text: what the relabel stage does, for people.
    """

    name: LabelMode
    made_by_teacher: bool = False
    answers: bool = False
    text: str

    def need_teacher(self, students: int) -> bool:
        """Return whether a run that trains this many students needs a teacher for its labels."""
        return self.made_by_teacher or (self.answers and students > 0)

    def during_training(self, teacher: LabelledBy | None) -> Network | None:
        """Return the network that students ask during training; None if these labels need none then."""
        return teacher.network if teacher and self.answers else None

    @abstractmethod
    def attach(
        self, distilled: DistilledDataset, teacher: LabelledBy | None, runtime: Runtime
    ) -> DistilledDataset:
        """Return the images with labels of this mode. Raises ModelError if that takes a teacher and there is none."""

    @abstractmethod
    def loss(self, request: EvaluationRequest) -> BatchLoss:
        """Return the loss that a student minimises. Raises ModelError if that takes a teacher and there is none."""

    def losses(self, requests: Sequence[EvaluationRequest]) -> StackLoss:
        """Return the losses that students of one protocol minimise who are trained at once. Raises as `loss` does."""
        from condense.engine.together import each_by_itself

        return each_by_itself([self.loss(request) for request in requests])


class Hard(Labels):
    """Cross-entropy with the class of each image."""

    name = "hard"
    text = "nothing to do: labels are hard"

    def attach(
        self, distilled: DistilledDataset, teacher: LabelledBy | None, runtime: Runtime
    ) -> DistilledDataset:
        return replace(distilled, label_mode=self.name, soft_labels=None, teacher_bytes=0)

    def loss(self, request: EvaluationRequest) -> BatchLoss:
        from condense.engine.training import hard_loss

        return hard_loss(_loss_weights(request))


class Soft(Labels):
    """Distillation from the logits that were saved with each image."""

    name = "soft"
    made_by_teacher = True
    text = "the teacher's logits of every image"

    def attach(
        self, distilled: DistilledDataset, teacher: LabelledBy | None, runtime: Runtime
    ) -> DistilledDataset:
        if distilled.soft_labels is not None:
            return distilled
        if teacher is None:
            raise ModelError(
                "the protocol wants soft labels and this distilled dataset has none; use --set protocol.labels=hard, "
                "or make them with --teacher"
            )
        from condense.engine.relabel import relabel

        logits = relabel(distilled, teacher.network, runtime)
        return replace(
            distilled, label_mode=self.name, soft_labels=logits, teacher_hash=teacher.hash, teacher_bytes=0
        )

    def loss(self, request: EvaluationRequest) -> BatchLoss:
        import torch

        from condense.data.cutmix import mix_labels
        from condense.engine.training import distillation_loss

        logits, temperature = request.distilled.soft_labels, request.protocol.temperature
        if logits is None:
            raise ModelError("a student with soft labels was given a distilled dataset without any")
        probabilities = torch.softmax(logits / temperature, dim=1).to(request.runtime.device)

        def teach(batch: Batch) -> Tensor:
            chosen = probabilities[batch.indices.to(probabilities.device)]
            return chosen if batch.mix is None else mix_labels(chosen, batch.mix)

        return distillation_loss(teach, temperature, _loss_weights(request))


class Online(Labels):
    """Distillation from the teacher's logits of every augmented view."""

    name = "online"
    answers = True
    text = "nothing to do: labels are online"

    def attach(
        self, distilled: DistilledDataset, teacher: LabelledBy | None, runtime: Runtime
    ) -> DistilledDataset:
        if teacher is None:
            return replace(distilled, label_mode=self.name, soft_labels=None)
        return replace(
            distilled,
            label_mode=self.name,
            soft_labels=None,
            teacher_hash=teacher.hash,
            teacher_bytes=teacher.bytes,
        )

    def loss(self, request: EvaluationRequest) -> BatchLoss:
        from condense.engine.training import distillation_loss

        answers = _answers(request)
        return distillation_loss(
            lambda batch: answers(batch.images), request.protocol.temperature, _loss_weights(request)
        )

    def losses(self, requests: Sequence[EvaluationRequest]) -> StackLoss:
        """Return the losses of a stack. A teacher that all students have is asked once for the batches of all."""
        import torch

        from condense.engine.training import divergence

        first = requests[0]
        if any(request.teacher is not first.teacher for request in requests):
            return super().losses(requests)
        answers, temperature = _answers(first), first.protocol.temperature
        weights = [_loss_weights(request) for request in requests]

        def losses(batches: Sequence[Batch], logits: Tensor) -> list[Tensor]:
            taught = answers(torch.cat([batch.images for batch in batches])).view(logits.shape)
            return [
                divergence(batch, own, answer, temperature, factors)
                for batch, own, answer, factors in zip(batches, logits, taught, weights, strict=True)
            ]

        return losses


LABELS: Mapping[LabelMode, Labels] = {"hard": Hard(), "soft": Soft(), "online": Online()}


def _answers(request: EvaluationRequest) -> Callable[[Tensor], Tensor]:
    """Return what gives the teacher's probabilities (B, K) of images (B, C, S, S). Raises ModelError without one."""
    import torch

    from condense.models.compiled import compiled

    network, temperature = request.teacher, request.protocol.temperature
    runtime = request.runtime.for_steps(request.protocol.epochs)
    if network is None:
        raise ModelError(
            "the protocol's labels are online: the teacher answers during training, and there is none; name its "
            "weights with --teacher FILE, or use --set protocol.labels=hard"
        )
    teacher = compiled(network, runtime)

    def answers(images: Tensor) -> Tensor:
        with torch.no_grad(), runtime.autocast():
            logits = teacher.logits(images)
        return torch.softmax(logits / temperature, dim=1)

    return answers


def _loss_weights(request: EvaluationRequest) -> Tensor | None:
    """Return (n,) factors for the loss of each image, or None for equal factors."""
    if not request.protocol.weighted:
        return None
    distilled = request.distilled
    return (distilled.weights * distilled.images_per_class).to(request.runtime.device)
