"""Recover: optimise the pixels of one chunk of classes. Chunks are independent of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.components import Component
from condense.data.dataset import RealDataset
from condense.data.feed import Feed
from condense.data.pixels import valid_range
from condense.data.siamese import apply_siamese, draw_siamese
from condense.data.views import apply_view, draw_view
from condense.errors import DataError, ModelError, NumericalError, PluginError
from condense.method import Recover
from condense.models.network import Network
from condense.observation import Observation, Roster
from condense.runtime import Runtime
from condense.training import learning_rate_share

# Called with (iteration, losses by component and "loss") whenever losses are logged.
LogLosses = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A fitted component in the loss. name: for logs and errors."""

    name: str
    component: Component
    weight: float


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some classes of the synthetic dataset.

    index: its number. labels, slots: (n,) int64. weights: (n,) float32, of one class summing to 1.
    images: (n, C, H, W) float32, where they start.
    """

    index: int
    labels: Tensor
    slots: Tensor
    weights: Tensor
    images: Tensor


def chunk_classes(classes: int, ipc: int, batch: int) -> list[range]:
    """The classes of each chunk: as many whole classes as fit into `batch` images, and at least one."""
    per_chunk = max(1, batch // ipc)
    return [range(first, min(first + per_chunk, classes)) for first in range(0, classes, per_chunk)]


class Networks:
    """The networks that components look through: the teacher, or a fresh one at every step."""

    def __init__(self, teacher: Network | None, fresh: Callable[[torch.Generator], Network]) -> None:
        self._teacher = teacher
        self._fresh = fresh

    def of_step(self, kinds: set[str], generator: torch.Generator) -> dict[str, Network]:
        """One network for each kind that is wanted at this step."""
        chosen: dict[str, Network] = {}
        if "teacher" in kinds:
            assert self._teacher is not None
            chosen["teacher"] = self._teacher
        if "random" in kinds:
            network = self._fresh(generator)
            network.model.train().requires_grad_(False)
            chosen["random"] = network
        return chosen


def recover_chunk(
    chunk: Chunk,
    terms: Sequence[Term],
    networks: Networks,
    options: Recover,
    dataset: RealDataset,
    *,
    generator: torch.Generator,
    runtime: Runtime,
    log: LogLosses,
) -> Tensor:
    """The recovered images of a chunk, (n, C, H, W) float32 on the CPU, clipped to valid pixels at every step.

    Minimises sum_i weight_i loss_i over the pixels. Depends on its arguments and on nothing else.
    Raises NumericalError, naming component, chunk and iteration, when a loss is not finite.
    """
    roster = Roster.of(*(part.to(runtime.device) for part in (chunk.labels, chunk.slots, chunk.weights)))
    pixels = runtime.images(chunk.images.clone()).requires_grad_(True)
    low, high = valid_range(dataset.mean, dataset.std, pixels)
    optimizer = _make_optimizer(options, pixels)
    real_images = _RealBatches(terms, chunk.labels, dataset, runtime)
    kinds: set[str] = {term.component.network for term in terms}
    for iteration in range(options.iterations):
        share = learning_rate_share(options.schedule, iteration, options.iterations)
        optimizer.param_groups[0]["lr"] = options.lr * share
        current = networks.of_step(kinds, generator)
        view, real_view = _views(pixels, real_images, options, generator)
        losses: dict[str, Tensor] = {}
        for kind, network in current.items():
            looking = [term for term in terms if term.component.network == kind]
            synthetic = _observe(network, view, roster, looking, runtime)
            real = None
            if real_view is not None:
                with torch.no_grad():
                    real = _observe(network, real_view, real_images.roster, looking, runtime)
            losses |= {term.name: _loss(term, synthetic, real) for term in looking}
        total = torch.stack([term.weight * losses[term.name] for term in terms]).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        with torch.no_grad():
            torch.clamp(pixels, low, high, out=pixels)
        if iteration % options.log_every == 0 or iteration == options.iterations - 1:
            _log(losses, total, chunk.index, iteration, log)
        runtime.reporter.advance(1)
    return pixels.detach().float().cpu().contiguous()


def _observe(
    network: Network, images: Tensor, roster: Roster, looking: Sequence[Term], runtime: Runtime
) -> Observation:
    """What `network` shows of a batch to the terms that look through it. Raises ModelError where it has too little."""
    wanting = [term.name for term in looking if term.component.uses_moments]
    with runtime.autocast():
        seen = network.observe(runtime.images(images), roster, moments=bool(wanting))
    if wanting and seen.moments is None:
        raise ModelError(
            f"{wanting[0]!r} reads the inputs of BatchNorm layers, and {network.name!r} has none; choose another "
            "network with --set teacher.model=NAME"
        )
    return seen


def _loss(term: Term, synthetic: Observation, real: Observation | None) -> Tensor:
    loss = term.component.loss(synthetic, real)
    if loss.dim() != 0:
        raise PluginError(
            f"the loss of {term.name!r} must be a scalar, and came with shape {tuple(loss.shape)}"
        )
    return loss


class _RealBatches:
    """Real images of the chunk's classes, `real_batch` of each class at every step."""

    def __init__(self, terms: Sequence[Term], labels: Tensor, dataset: RealDataset, runtime: Runtime) -> None:
        self.per_class = max((term.component.real_batch for term in terms), default=0)
        classes = torch.unique(labels).tolist()
        self._indices = [dataset.train.of_class(label) for label in classes]
        for label, indices in zip(classes, self._indices, strict=True):
            if len(indices) < self.per_class:
                raise DataError(
                    f"{self.per_class} real images a class are wanted at every step, and class "
                    f"{dataset.classes[label]!r} has {len(indices)}"
                )
        labels_of_real = torch.tensor(classes).repeat_interleave(self.per_class)
        self.roster = Roster.of_real(labels_of_real.to(runtime.device))
        self._feed = (
            Feed(dataset.train.images, size=dataset.size, mean=dataset.mean, std=dataset.std, runtime=runtime)
            if self.per_class
            else None
        )

    def draw(self, generator: torch.Generator) -> Tensor | None:
        """(classes * per_class, C, S, S) on the device, or None where no component wants real images."""
        if self._feed is None:
            return None
        picks = [
            indices[torch.randperm(len(indices), generator=generator)[: self.per_class]]
            for indices in self._indices
        ]
        return self._feed.centre(torch.cat(picks))


def _views(
    pixels: Tensor, real_images: _RealBatches, options: Recover, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """An augmented view of the synthetic images, and of the real ones where they are wanted.

    Crops, flips and jitter are drawn per synthetic image. The siamese augmentation is one draw for both batches.
    """
    size = pixels.shape[-1]
    view = apply_view(pixels, draw_view(options.augment, len(pixels), size, size, generator))
    real = real_images.draw(generator)
    if options.augment.siamese:
        draw = draw_siamese(options.augment, len(pixels), size, generator, shared=True)
        view = apply_siamese(view, draw)
        real = apply_siamese(real, draw) if real is not None else None
    return view, real


def _make_optimizer(options: Recover, pixels: Tensor) -> torch.optim.Optimizer:
    if options.optimizer == "sgd":
        return torch.optim.SGD([pixels], lr=options.lr, momentum=options.momentum)
    return torch.optim.Adam([pixels], lr=options.lr, betas=options.betas, fused=True)


def _log(losses: Mapping[str, Tensor], total: Tensor, chunk: int, iteration: int, log: LogLosses) -> None:
    values = {"loss": float(total.detach()), **{name: float(loss.detach()) for name, loss in losses.items()}}
    for name, value in reversed(values.items()):
        if not torch.isfinite(torch.tensor(value)):
            raise NumericalError(
                f"{name!r} became {value} in recover, chunk {chunk}, iteration {iteration}; lower the learning rate "
                "(--set lr=...) or the weight of that component, or use --precision fp32"
            )
    log(iteration, values)
