"""What plugins subclass: a feature target, a regularizer, an initializer, an evaluator.

The life of a target or regularizer in a run:

1. measure stage: `observe` is called for every batch of one pass over the real training images, then `fit` once;
2. `state` is saved; a resumed run calls `restore` instead of 1;
3. recover stage: `loss` is called at every step, on a chunk of the images. Chunks are independent of each other.
   They hold whole classes, unless the method cuts them by slots (`condense.recipe.method.Recover`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.errors import DataError
from condense.models.network import Network
from condense.models.observation import Observation, Roster
from condense.runtime import Runtime

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from condense.data.dataset import RealDataset
    from condense.models.network import Network
    from condense.models.observation import Observation
    from condense.recipe.protocol import Protocol
    from condense.runtime import Runtime
    from condense.storage.distilled import DistilledDataset


# Images that `InitialRequest` shows the teacher at once.
_LOOK_BATCH = 256


class Component:
    """What feature targets and regularizers share.

    network: which network shows the batches: the trained "teacher", or "random", a fresh one at every step.
    uses_moments: whether `observe` and `loss` read `Observation.moments` (tapping them costs time).
    uses_convolutions: the same of `Observation.convolutions` and `Observation.patches`.
    by_member: whether a teacher of several networks can be shown one network at a time: `observe` is then called for
        each of them with every batch, and `loss` at every step for the next of them; `Observation.member` says which.
        A component that looks through the teacher without it refuses such a teacher.
    measures: whether `observe` wants to see the real images; False skips the measure stage.
    whole_classes: whether `loss` needs all images of a class at once; such a component refuses recover.chunk=slots.
    by_class: whether `loss` wants to see one class at a time; the losses of the classes are added.
    weight_gradients: whether `loss` takes gradients to `Observation.parameters`, the weights of its random network;
        real images are then seen with gradients, too. Not to be had together with `uses_moments` or
        `uses_convolutions`.
    full_precision: whether the network shows it its batches of recover in float32 also where the run has bfloat16.
    real_batch: real images per class that `loss` wants at every step; a class with fewer gives all; 0 for none.
    """

    network: ClassVar[Literal["teacher", "random"]] = "teacher"
    uses_moments: ClassVar[bool] = False
    uses_convolutions: ClassVar[bool] = False
    by_member: ClassVar[bool] = False
    measures: ClassVar[bool] = True
    whole_classes: ClassVar[bool] = False
    by_class: ClassVar[bool] = False
    weight_gradients: ClassVar[bool] = False
    full_precision: ClassVar[bool] = False
    real_batch: int = 0

    def begin(self, classes: int) -> None:
        """Called once before the first `observe`, with the number of classes."""

    def observe(self, real: Observation) -> None:
        """Take in one batch of real images (no gradients). Batches come in no particular order."""

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        """Turn what was observed into what `loss` needs, for `ipc` images per class."""

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        """The loss of a batch of synthetic images, a scalar with gradients to `synthetic.images`."""
        raise NotImplementedError

    def state(self) -> dict[str, Tensor]:
        """Everything that `fit` made, as tensors."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""


class FeatureTarget(Component):
    """What the features of the synthetic images should match."""

    def slot_weights(self) -> Tensor | None:
        """(K, ipc) float32: the weight of each slot in its class, rows summing to 1; None for equal weights."""
        return None

    def slot_features(self) -> Tensor | None:
        """(K, ipc, D) float32: the feature that each slot should have; None where there is no such thing."""
        return None


class Regularizer(Component):
    """What holds synthetic images close to real ones beside their features, e.g. BatchNorm statistics."""


@dataclass(frozen=True, kw_only=True)
class InitialRequest:
    """What an initializer is asked for: the first images of one class.

    label: the class. ipc: how many images. dataset: the real images; `dataset.train.of_class(label)` gives
    the indices of this class. mean/std are the dataset's. generator: draw from this and nothing else.
    targets: the feature targets of the method, fitted. teacher: None where the run has none.
    """

    label: int
    ipc: int
    dataset: RealDataset
    generator: torch.Generator
    targets: Sequence[FeatureTarget]
    teacher: Network | None
    runtime: Runtime

    def real(self) -> Tensor:
        """(n,) int64: the indices of this class's training images, ascending. Raises DataError for fewer than ipc."""
        indices = self.dataset.train.of_class(self.label)
        if len(indices) < self.ipc:
            raise DataError(
                f"class {self.dataset.classes[self.label]!r} has {len(indices)} training images, fewer than the "
                f"{self.ipc} asked for"
            )
        return indices

    def observe(self, indices: Tensor) -> Observation:
        """What the teacher sees of these training images (n,), not augmented; without moments."""
        parts = indices.split(_LOOK_BATCH)
        return self._joined([self._look(self.dataset.training_images(part)) for part in parts])

    def look(self, images: Tensor) -> Observation:
        """What the teacher sees of images (n, C, S, S), normalised, taken for images of this class; without moments."""
        return self._joined([self._look(part) for part in images.split(_LOOK_BATCH)])

    def _look(self, images: Tensor) -> Observation:
        import torch

        assert self.teacher is not None, "the host gives a teacher to initializers with needs_teacher"
        labels = torch.full((len(images),), self.label, device=self.runtime.device)
        with torch.no_grad(), self.runtime.autocast():
            return self.teacher.observe(self.runtime.images(images), Roster.of_real(labels), moments=False)

    def _joined(self, parts: Sequence[Observation]) -> Observation:
        import torch

        from condense.models.observation import Observation

        return Observation(
            images=torch.cat([part.images for part in parts]),
            roster=Roster.of_real(torch.cat([part.roster.labels for part in parts])),
            features=torch.cat([part.features for part in parts]),
            logits=torch.cat([part.logits for part in parts]),
        )


class Initializer:
    """Where the synthetic images start.

    needs_teacher: whether it looks through the teacher. uses_targets: whether it reads the fitted feature targets; they
    are then built and fitted also where nothing is recovered.
    """

    needs_teacher: ClassVar[bool] = False
    uses_targets: ClassVar[bool] = False

    def images(self, request: InitialRequest) -> Tensor:
        """(ipc, C, H, W) float32, normalised with the dataset's mean and standard deviation.

        Raises DataError where the class has too few images for what is asked.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What an evaluator found for one student.

    accuracy: in [0, 1], on the real test images. seconds: to train and test it. steps: of its training.
    """

    student: int
    accuracy: float
    seconds: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """What an evaluator is asked for: train one student on `distilled` and test it on `dataset.test`.

    student: its number; with `seed` it fixes its initial weights and every draw. build_student: a fresh student
    network with weights drawn from a generator. teacher: None unless the protocol's labels are "online".
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

    def evaluate(self, request: EvaluationRequest) -> Measurement:
        """Measure one student. Never chooses anything by what the test images say."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Term:
    """A fitted component in the loss. name: for logs and errors."""

    name: str
    component: Component
    weight: float
