"""What losses measured: whether it depends on batches, and whether a saved state holds all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.build import build_losses, restored_losses, state_of
from condense.engine.components import FeatureTarget, WeightedLoss
from condense.engine.measure import measure
from condense.engine.plan import Plan
from condense.engine.squeeze import fresh_teacher
from condense.errors import CondenseError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.plugin_code import plugin_code
from condense.recipe.registry import Registry
from condense.rng import generator
from condense.runtime import Runtime

# Real images in a batch, beside one batch of all images. No multiple of it is the number of images.
_FEW = 5
# The difference of measurements, as a fraction of their largest value, that rounding explains.
_ROUNDING = 1e-3
_EXACT = 1e-6


class UnsteadyError(CondenseError):
    """A loss that gives another result each time, so that nothing can be compared with it."""


class Measured:
    """The losses of a recipe that observe real images, fitted to the made-up ones through a new network.

    Raises CondenseError if a loss cannot be built or fitted.
    """

    def __init__(self, plan: Plan, registry: Registry, dataset: RealDataset, runtime: Runtime) -> None:
        observing = tuple(loss for loss in plan.losses if loss.needs.observes)
        self.plan = replace(plan, losses=observing)
        self.dataset, self.runtime = dataset, runtime
        self.teacher = fresh_teacher(plan.recipe, dataset, registry, runtime).frozen()
        self.losses = self._fitted(len(dataset.train))
        self.state = state_of(self.losses)

    def depends_on_batches(self) -> str:
        """Return what differs between one batch and several, a sentence, or ""."""
        whole, parts = self.state, state_of(self._fitted(_FEW))
        for key in sorted({*whole, *parts}):
            if key not in whole or key not in parts:
                return f"{key} is in the state of one batch and not in that of several, or the reverse"
            gap = _gap(whole[key], parts[key])
            if gap > _ROUNDING:
                if _gap(whole[key], state_of(self._fitted(len(self.dataset.train)))[key]) > _ROUNDING:
                    raise UnsteadyError(f"{key} is another at every fit, as the check `repeats` finds")
                return (
                    f"{key} differs by {gap:.2g} of its size between one batch of {len(self.dataset.train)} real "
                    f"images and batches of {_FEW}; add up sums and counts, and divide them in fit"
                )
        return ""

    def lost_by_saving(self) -> str:
        """Return what a restored loss gives otherwise than the fitted one, or why it gives nothing; a sentence, or "".

        Raises CondenseError if the fitted one gives nothing either.
        """
        given, again = ([self._answers(fitted) for fitted in self.losses] for _ in range(2))
        if self._lost(given, again):
            raise UnsteadyError("a loss gives another value at every call, as the check `repeats` finds")
        try:
            restored = restored_losses(self.plan, self.state)
            return self._lost(given, [self._answers(again) for again in restored])
        except CondenseError as error:
            return str(error)

    def _lost(
        self, given: Sequence[Mapping[str, Tensor | None]], restored: Sequence[Mapping[str, Tensor | None]]
    ) -> str:
        for fitted, answers, again in zip(self.losses, given, restored, strict=True):
            for what, before in answers.items():
                after = again[what]
                if (before is None) != (after is None):
                    return f"{fitted.title}: {what} is there only {'before' if after is None else 'after'} saving"
                if before is not None and after is not None and _gap(before, after) > _EXACT:
                    return (
                        f"{fitted.title}: {what} is {_shown(before)} as it was fitted, and {_shown(after)} restored "
                        "from its state; whatever it reads must come from the options or from state()"
                    )
        return ""

    def _fitted(self, batch_size: int) -> tuple[WeightedLoss, ...]:
        losses = build_losses(self.plan)
        recipe = self.plan.recipe
        measure(
            losses,
            self.teacher,
            self.dataset,
            self.runtime,
            batch_size=batch_size,
            seed=recipe.seed,
            ipc=self.plan.images_per_class,
        )
        return losses

    def _answers(self, weighted: WeightedLoss) -> Mapping[str, Tensor | None]:
        """Return all that recover asks of a loss, by what it is."""
        found: dict[str, Tensor | None] = {}
        for number, (member, labels) in enumerate(self._shown(weighted)):
            draws = generator(self.plan.recipe.seed, "testing", "synthetic", number)
            seen = self._synthetic(member, labels, weighted, draws)
            real = self._real(member, labels, weighted) if weighted.needs.real_per_class else None
            with plugin_code(weighted.title, "loss", draws):
                value = weighted.loss.loss(seen, real)
            found["its loss" if not number else f"its loss {number}"] = value.detach()
        if isinstance(weighted.loss, FeatureTarget):
            with plugin_code(weighted.title, "slot_weights"):
                found["slot_weights"] = weighted.loss.slot_weights()
            with plugin_code(weighted.title, "slot_features"):
                found["slot_features"] = weighted.loss.slot_features()
        return found

    def _shown(self, weighted: WeightedLoss) -> Iterator[tuple[Network, Tensor]]:
        """Yield each network with the labels of a batch: all classes, or one after the other if the loss wants that."""
        classes, count = len(self.dataset.classes), self.plan.images_per_class
        labels = torch.arange(classes).repeat_interleave(count)
        batches = labels.split(count) if weighted.needs.at_once == "one class" else (labels,)
        for member in self.teacher.members:
            for batch in batches:
                yield member, batch

    def _synthetic(
        self, member: Network, labels: Tensor, weighted: WeightedLoss, draws: torch.Generator
    ) -> Observation:
        dataset, count = self.dataset, self.plan.images_per_class
        images = torch.randn(len(labels), dataset.channels, dataset.size, dataset.size, generator=draws)
        slots = torch.arange(count).repeat(len(labels) // count)
        batch = BatchLabels.of(labels, slots, torch.full((len(labels),), 1 / count))
        seen = member.observe(images.requires_grad_(True), batch, weighted.needs.statistics)
        return replace(seen, generator=draws)

    def _real(self, member: Network, labels: Tensor, weighted: WeightedLoss) -> Observation:
        train, count = self.dataset.train, weighted.needs.real_per_class
        indices = torch.cat([train.of_class(label)[:count] for label in torch.unique(labels).tolist()])
        images = self.dataset.training_images(indices)
        with torch.no_grad():
            return member.observe(
                images, BatchLabels.of_real(train.labels[indices]), weighted.needs.statistics
            )


def _gap(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two tensors as a fraction of the largest value; infinity for other shapes."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if not one.numel():
        return 0.0
    first, second = one.detach().double(), other.detach().double()
    scale = max(float(first.abs().max()), 1e-12)
    return float((first - second).abs().max()) / scale


def _shown(tensor: Tensor) -> str:
    return f"{float(tensor):.4g}" if tensor.numel() == 1 else f"a tensor {tuple(tensor.shape)}"
