"""The base classes that plugins subclass: FeatureTarget, Regularizer, Initializer and Evaluator.

A run uses a feature target or regularizer in these steps:

1. Measure: condense calls `observe` for every batch of one pass over the real training images, then `fit`
   once. It skips this step for a loss whose needs do not say `observes`.
   A loss whose needs say `merges` may be shown parts of the images by several processes: each returns `observed`,
   and the loss that is fitted takes them with `merge`.
2. condense saves `state`. A resumed run calls `restore` instead of step 1.
3. Recover: condense calls `loss` at every step, on one chunk of the images. Chunks are independent of each
   other. A chunk holds whole classes, unless the method cuts chunks by slots (`condense.Recover`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.unfinished import Unfinished
from condense.errors import DataError, PluginError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.plugin_code import titled
from condense.recipe.protocol import Protocol
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset

# How many images `InitialRequest` passes through the teacher at once.
_LOOK_BATCH = 256


class Loss:
    """The base class of feature targets and regularizers. The spec of a loss declares its needs (`condense.Needs`).

    In shapes: K classes, ipc images per class, B images in a batch, D features per image. Where a stored image holds
    several, images are decoded ones, and ipc counts them.
    """

    def begin(self, classes: int, generator: torch.Generator) -> None:
        """Prepare for the first `observe`. All random draws come from `generator`.

        classes: the number of classes, K.
        """

    def observe(self, real: Observation) -> None:
        """Process one batch of real images. Gradients are off, and batches come in no particular order.

        `real.indices` says which images they are. All random draws come from `real.generator`.
        """

    def observed(self) -> dict[str, Tensor]:
        """Return what `observe` has collected since `begin`, as tensors of any shape. For a loss that merges."""
        raise NotImplementedError

    def merge(self, observed: Mapping[str, Tensor]) -> None:
        """Add what another loss of the same options observed, as if this one had observed it after its own images.

        observed: as `observed` of the other gave it. Parts are merged in the order of their images.
        """
        raise NotImplementedError

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        """Compute what `loss` needs from the observed images. All random draws come from `generator`."""

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        """Return the loss of a batch of synthetic images, a scalar with gradients to `synthetic.images`.

        real: real images of the same classes; None if the loss needs none.
        """
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Return everything that `fit` computed, as tensors of any shape."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""


class FeatureTarget(Loss):
    """A loss that says what the features of the synthetic images should match."""

    def slot_weights(self) -> Tensor | None:
        """Return (K, ipc) float32, the weight of each slot; each class sums to 1. None means equal weights."""
        return None

    def slot_features(self) -> Tensor | None:
        """Return (K, ipc, D) float32, the feature that each slot should have; None if the target has none."""
        return None


class Regularizer(Loss):
    """A loss that keeps synthetic images close to real ones besides their features, e.g. in BatchNorm statistics."""


@dataclass(frozen=True, kw_only=True)
class WeightedLoss:
    """A loss that was built.

    name: its name, for logs and errors.
    loss: the loss itself.
    weight: its factor in the sum of losses.
    needs: what it needs, from its spec.
    kind: "feature target" or "regularizer". plugin: which one offers it; "" if not known. Both are for errors.
    """

    name: str
    loss: Loss
    weight: float
    needs: Needs
    kind: str = "loss"
    plugin: str = ""

    @property
    def title(self) -> str:
        """The loss as text for messages."""
        return titled(self.kind, self.name, self.plugin)


@dataclass(frozen=True, kw_only=True)
class InitialRequest:
    """A request to an initializer for the first images of one class.

    label: the class, in [0, K).
    ipc: how many images.
    dataset: the real images; `dataset.train.of_class(label)` gives the indices of this class.
    generator: the only allowed source of randomness.
    targets: the method's fitted feature targets, for an initializer whose spec says `uses_targets`.
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
        """Return (n,) int64, the indices of this class's training images, ascending. Raises DataError if n < ipc."""
        indices = self.dataset.train.of_class(self.label)
        if len(indices) < self.ipc:
            raise DataError(
                f"class {self.dataset.classes[self.label]!r} has {len(indices)} training images, fewer than the "
                f"{self.ipc} asked for"
            )
        return indices

    def observe(self, indices: Tensor) -> Observation:
        """Return the teacher's observation of training images (n,), not augmented and without statistics."""
        parts = indices.split(_LOOK_BATCH)
        seen = self._joined([self._look(self.dataset.training_images(part)) for part in parts])
        return replace(seen, indices=indices)

    def look(self, images: Tensor) -> Observation:
        """Return the teacher's observation of normalised images (n, C, S, S) of this class, without statistics."""
        return self._joined([self._look(part) for part in images.split(_LOOK_BATCH)])

    def _look(self, images: Tensor) -> Observation:
        if self.teacher is None:
            raise PluginError(
                "an initializer looked through the teacher, and this run has none; declare needs_teacher=True in its "
                "InitializerSpec"
            )
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
    """Makes the images that synthesis starts from. Its spec says whether it needs the teacher or fitted targets."""

    def images(self, request: InitialRequest) -> Tensor:
        """Return (ipc, C, H, W) float32, normalised with the dataset's mean and standard deviation.

        Raises DataError if the class has too few images.
        """
        raise NotImplementedError

    def check(self, targets: Sequence[FeatureTarget]) -> None:
        """Raise OptionError if images cannot be made beside these feature targets, which are not fitted yet.

        It is asked before anything else, so that a run that cannot work is refused before a teacher is trained.
        """

    def slot_weights(self) -> Tensor | None:
        """Return (K, ipc) float32, the weight of each slot; each class sums to 1. None means equal weights.

        It is asked after `images`. The weights of a feature target win over these.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class StudentResult:
    """The result of one student.

    student: its number, from 0.
    accuracy: on the real test images, in [0, 1].
    seconds: spent on training and testing it.
    steps: optimizer steps of its training.
    """

    student: int
    accuracy: float
    seconds: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """A request to an evaluator: train one student on `distilled` and test it on `dataset.test`.

    distilled: the dataset to train on.
    dataset: the real images.
    protocol: how the student is trained.
    student: its number. Together with `seed` it determines the initial weights and every random draw.
    build_student: returns a new student network with weights drawn from a generator.
    teacher: the teacher, or None if the protocol's labels need none during training.
    runtime: the device and precision.
    unfinished: keeps the training of the student, to go on after a kill; None if nothing does.
        `unfinished.training(model)` has `resume` before the first epoch and `keep` after each.
    """

    distilled: DistilledDataset
    dataset: RealDataset
    protocol: Protocol
    student: int
    seed: int
    build_student: Callable[[torch.Generator], Network]
    teacher: Network | None
    runtime: Runtime
    unfinished: Unfinished | None = None


class Evaluator:
    """Measures how good a distilled dataset is. Each student is evaluated independently of the others."""

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        """Return the result of one student. The test images must not influence any choice."""
        raise NotImplementedError
