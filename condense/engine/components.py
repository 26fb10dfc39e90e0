"""What plugins subclass: a feature target, a regularizer, an initializer, an evaluator.

The life of a feature target or regularizer in a run:

1. measure stage: `observe` is called for every batch of one pass over the real training images, then `fit` once.
   A loss whose needs do not say `observes` skips this.
2. `state` is saved; a resumed run calls `restore` instead of 1.
3. recover stage: `loss` is called at every step, on one chunk of the images. Chunks are independent of each other.
   They hold whole classes, unless the method cuts them by slots (`condense.Recover`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.errors import DataError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.protocol import Protocol
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset

# Images that `InitialRequest` shows the teacher at once.
_LOOK_BATCH = 256


class Loss:
    """What feature targets and regularizers share; the needs of a loss are declared with its spec (`condense.Needs`).

    K classes, ipc images per class, B images in a batch.
    """

    def begin(self, classes: int) -> None:
        """Prepare for the first `observe`. classes: K."""

    def observe(self, real: Observation) -> None:
        """Take in one batch of real images, without gradients. Batches come in no particular order."""

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        """Turn what was observed into what `loss` needs. Draw from `generator` and from nothing else."""

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        """Return the loss of a batch of synthetic images, a scalar with gradients to `synthetic.images`.

        real: real images of the same classes, if the loss needs any; else None.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Return everything that `fit` made, as tensors of any shape."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` returned."""


class FeatureTarget(Loss):
    """What the features of the synthetic images should match."""

    def slot_weights(self) -> Tensor | None:
        """Return (K, ipc) float32, the weight of each slot in its class, rows summing to 1; None for equal weights."""
        return None

    def slot_features(self) -> Tensor | None:
        """Return (K, ipc, D) float32, the feature that each slot should have; None if the target has none."""
        return None


class Regularizer(Loss):
    """What keeps synthetic images close to real ones beside their features, e.g. BatchNorm statistics."""


@dataclass(frozen=True, kw_only=True)
class WeightedLoss:
    """A loss that was built, with its name (for logs and errors), its weight in the sum and its needs."""

    name: str
    loss: Loss
    weight: float
    needs: Needs


@dataclass(frozen=True, kw_only=True)
class InitialRequest:
    """What an initializer is asked for: the first images of one class.

    label: the class, in [0, K).
    ipc: how many images.
    dataset: the real images; `dataset.train.of_class(label)` gives the indices of this class.
    generator: draw from this and from nothing else.
    targets: the feature targets of the method, fitted, for an initializer whose spec says `uses_targets`.
    teacher: the teacher, or None in a run without one.
    runtime: the device and precision.
    """

    label: int
    ipc: int
    dataset: RealDataset
    generator: torch.Generator
    targets: Sequence[FeatureTarget]
    teacher: Network | None
    runtime: Runtime

    def real(self) -> Tensor:
        """Return (n,) int64, the indices of this class's training images, ascending. Raises DataError for n < ipc."""
        indices = self.dataset.train.of_class(self.label)
        if len(indices) < self.ipc:
            raise DataError(
                f"class {self.dataset.classes[self.label]!r} has {len(indices)} training images, fewer than the "
                f"{self.ipc} asked for"
            )
        return indices

    def observe(self, indices: Tensor) -> Observation:
        """Return what the teacher sees of these training images (n,), not augmented and without statistics."""
        parts = indices.split(_LOOK_BATCH)
        return self._joined([self._look(self.dataset.training_images(part)) for part in parts])

    def look(self, images: Tensor) -> Observation:
        """Return what the teacher sees of normalised images (n, C, S, S) of this class, without statistics."""
        return self._joined([self._look(part) for part in images.split(_LOOK_BATCH)])

    def _look(self, images: Tensor) -> Observation:
        assert self.teacher is not None, "the host gives a teacher to initializers with needs_teacher"
        labels = torch.full((len(images),), self.label, device=self.runtime.device)
        with torch.no_grad(), self.runtime.autocast():
            return self.teacher.observe(self.runtime.images(images), BatchLabels.of_real(labels))

    def _joined(self, parts: Sequence[Observation]) -> Observation:
        return Observation(
            images=torch.cat([part.images for part in parts]),
            batch=BatchLabels.of_real(torch.cat([part.batch.labels for part in parts])),
            features=torch.cat([part.features for part in parts]),
            logits=torch.cat([part.logits for part in parts]),
        )


class Initializer:
    """The images that synthesis starts from. Its spec says whether it needs the teacher or the fitted targets."""

    def images(self, request: InitialRequest) -> Tensor:
        """Return (ipc, C, H, W) float32, normalised with the dataset's mean and standard deviation.

        Raises DataError if the class has too few images.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class StudentResult:
    """What an evaluator found for one student.

    student: its number, from 0. accuracy: on the real test images, in [0, 1]. seconds: to train and test it.
    steps: of its training.
    """

    student: int
    accuracy: float
    seconds: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What an evaluator is asked for: train one student on `distilled` and test it on `dataset.test`.

    student: its number; with `seed` it fixes the student's initial weights and every draw.
    build_student: makes a new student network with weights drawn from a generator.
    teacher: the teacher, or None if the protocol's labels need none during training.
    """

    distilled: DistilledDataset
    dataset: RealDataset
    protocol: Protocol
    student: int
    seed: int
    build_student: Callable[[torch.Generator], Network]
    teacher: Network | None
    runtime: Runtime


class Evaluator:
    """A way to measure how good a distilled dataset is. Students are independent pieces of work."""

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        """Measure one student. Nothing may be chosen by the test images."""
        raise NotImplementedError
