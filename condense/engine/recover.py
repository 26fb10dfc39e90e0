"""Recover: optimise the pixels of one chunk of images. Chunks are independent of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import Feed
from condense.data.pixels import valid_range
from condense.data.siamese import apply_siamese, draw_siamese
from condense.data.views import apply_view, draw_view
from condense.engine.components import Term
from condense.engine.recover_networks import Networks
from condense.engine.training import learning_rate_share
from condense.errors import ModelError, NumericalError, PluginError
from condense.models.network import Network
from condense.models.observation import Observation, Roster
from condense.recipe.method import Recover
from condense.recipe.training import Augment
from condense.runtime import Runtime

# Called with (iteration, losses by component and "loss") whenever losses are logged.
LogLosses = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some images of the synthetic dataset: whole classes, or a slot of many.

    index: its number. labels, slots: (n,) int64. weights: (n,) float32, of one class summing to 1.
    images: (n, C, H, W) float32, where they start.
    """

    index: int
    labels: Tensor
    slots: Tensor
    weights: Tensor
    images: Tensor


def cut_chunks(classes: int, ipc: int, options: Recover) -> list[Tensor]:
    """The images of each chunk: (n,) int64, class * ipc + slot, as `options.batch` and `options.chunk` say."""
    batch = options.batch or classes * ipc
    everything = torch.arange(classes * ipc).view(classes, ipc)
    if options.chunk == "slots":
        return list(everything.T.flatten().split(batch))
    return [part.flatten() for part in everything.split(max(1, batch // ipc))]


def crop_scale(options: Recover, iteration: int) -> tuple[float, float] | None:
    """The shares of the area that crops have at this step, under the curriculum of `options`.

    With b the least share of `augment.crop_scale`, a = `crop_start` and t the share done of the curriculum's steps, the
    least share is, while t < 1, a (step), b + (a - b) (1 - t) (linear) or b + (a - b) (1 + cos(pi t)) / 2 (cosine),
    and b from then on: as CDA (Yin & Shen, TMLR 2024, arXiv 2311.18838) and its published code have it, where a is
    1, `crop_schedule` is --easy2hard-mode and `crop_share` is --milestone.
    """
    if options.augment.crop_scale is None or options.crop_schedule == "none":
        return options.augment.crop_scale
    low, high = options.augment.crop_scale
    done = min(1.0, iteration / (options.crop_share * options.iterations))
    left = {"step": float(done < 1), "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    least = low + (min(options.crop_start, high) - low) * left[options.crop_schedule]
    return min(least, high), high  # rounding must not lift it above


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
    pixels = runtime.images(chunk.images.clone()).requires_grad_(True)
    low, high = valid_range(dataset.mean, dataset.std, pixels)
    optimizer = _make_optimizer(options, pixels)
    labels = chunk.labels.to(runtime.device)
    components = [term.component for term in terms]
    parts = _parts(chunk, terms, dataset, runtime)
    for iteration in range(options.iterations):
        share = learning_rate_share(options.schedule, iteration, options.iterations)
        optimizer.param_groups[0]["lr"] = options.lr * share
        current = networks.of_step(components, iteration, options, generator)
        augment = replace(options.augment, crop_scale=crop_scale(options, iteration))
        optimizer.zero_grad(set_to_none=True)
        found: list[dict[str, Tensor]] = []
        for part in parts:
            losses = _losses(part, pixels, augment, current, terms, generator, runtime)
            _backward(losses, terms, pixels)
            found.append({name: loss.detach() for name, loss in losses.items()})
        optimizer.step()
        with torch.no_grad():
            torch.clamp(pixels, low, high, out=pixels)
        networks.learn(iteration, pixels, labels, options, generator=generator, runtime=runtime)
        if iteration % options.log_every == 0 or iteration == options.iterations - 1:
            _log(found, terms, chunk.index, iteration, log)
        runtime.reporter.advance(1)
    return pixels.detach().float().cpu().contiguous()


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What components see at once: all of a chunk, or one class of it. of: (n,) where in the chunk; None for all."""

    of: Tensor | None
    roster: Roster
    real: _RealBatches


def _parts(chunk: Chunk, terms: Sequence[Term], dataset: RealDataset, runtime: Runtime) -> list[_Part]:
    wanted: list[Tensor | None] = [None]
    if any(term.component.by_class for term in terms):
        wanted = [torch.nonzero(chunk.labels == label)[:, 0] for label in torch.unique(chunk.labels)]
    parts = []
    for of in wanted:
        listed = (chunk.labels, chunk.slots, chunk.weights)
        labels, slots, weights = listed if of is None else (values[of] for values in listed)
        parts.append(
            _Part(
                of=None if of is None else of.to(runtime.device),
                roster=Roster.of(
                    labels.to(runtime.device), slots.to(runtime.device), weights.to(runtime.device)
                ),
                real=_RealBatches(terms, labels, dataset, runtime),
            )
        )
    return parts


def _losses(
    part: _Part,
    pixels: Tensor,
    augment: Augment,
    networks: Mapping[str, Network],
    terms: Sequence[Term],
    generator: torch.Generator,
    runtime: Runtime,
) -> dict[str, Tensor]:
    """The loss of every term on one view of a part, by name."""
    chosen = pixels if part.of is None else pixels[part.of]
    view, real_view = _views(chosen, part.real, augment, generator)
    losses: dict[str, Tensor] = {}
    for kind, network in networks.items():
        looking = [term for term in terms if term.component.network == kind]
        synthetic = _observe(network, view, part.roster, looking, runtime)
        real = None
        if real_view is not None:
            with torch.set_grad_enabled(any(term.component.weight_gradients for term in looking)):
                real = _observe(network, real_view, part.real.roster, looking, runtime)
        losses |= {term.name: _loss(term, synthetic, real) for term in looking}
    return losses


def _backward(losses: Mapping[str, Tensor], terms: Sequence[Term], pixels: Tensor) -> None:
    """Add the gradient of the weighted sum of losses to that of the pixels, and to nothing else."""
    total = torch.stack([term.weight * losses[term.name] for term in terms]).sum()
    total.backward(inputs=[pixels])


def _observe(
    network: Network, images: Tensor, roster: Roster, looking: Sequence[Term], runtime: Runtime
) -> Observation:
    """What `network` shows of a batch to the terms that look through it. Raises ModelError where it has too little."""
    norms = [term.name for term in looking if term.component.uses_moments]
    convolutions = [term.name for term in looking if term.component.uses_convolutions]
    exact = any(term.component.full_precision for term in looking)
    with (replace(runtime, bf16=False) if exact else runtime).autocast():
        seen = network.observe(
            runtime.images(images), roster, moments=bool(norms), convolutions=bool(convolutions)
        )
    if norms and seen.moments is None:
        raise ModelError(
            f"{norms[0]!r} reads the inputs of BatchNorm layers, and {network.name!r} has none; choose another "
            "network with --set teacher.model=NAME"
        )
    if convolutions and seen.convolutions is None:
        raise ModelError(
            f"{convolutions[0]!r} reads the inputs of convolutions, and {network.name!r} has none; choose another "
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
    """Real images of the chunk's classes at every step: `real_batch` of each class, or all of a smaller one."""

    def __init__(self, terms: Sequence[Term], labels: Tensor, dataset: RealDataset, runtime: Runtime) -> None:
        self.per_class = max((term.component.real_batch for term in terms), default=0)
        classes = torch.unique(labels)
        self._indices = [dataset.train.of_class(label) for label in classes.tolist()]
        taken = torch.tensor([min(self.per_class, len(indices)) for indices in self._indices])
        labels_of_real = classes.repeat_interleave(taken)
        self.roster = Roster.of_real(labels_of_real.to(runtime.device))
        self._feed = (
            Feed(dataset.train.images, size=dataset.size, mean=dataset.mean, std=dataset.std, runtime=runtime)
            if self.per_class
            else None
        )

    def draw(self, generator: torch.Generator) -> Tensor | None:
        """(n, C, S, S) on the device, class after class; None where no component wants real images."""
        if self._feed is None:
            return None
        picks = [
            indices[torch.randperm(len(indices), generator=generator)[: self.per_class]]
            for indices in self._indices
        ]
        return self._feed.centre(torch.cat(picks))


def _views(
    pixels: Tensor, real_images: _RealBatches, augment: Augment, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """An augmented view of the synthetic images, and of the real ones where they are wanted.

    Crops, flips and jitter are drawn per synthetic image. The siamese augmentation is one draw for both batches.
    """
    size = pixels.shape[-1]
    view = apply_view(pixels, draw_view(augment, len(pixels), size, size, generator))
    real = real_images.draw(generator)
    if augment.siamese:
        draw = draw_siamese(augment, len(pixels), size, generator, shared=True)
        view = apply_siamese(view, draw)
        real = apply_siamese(real, draw) if real is not None else None
    return view, real


def _make_optimizer(options: Recover, pixels: Tensor) -> torch.optim.Optimizer:
    if options.optimizer == "sgd":
        return torch.optim.SGD([pixels], lr=options.lr, momentum=options.momentum)
    return torch.optim.Adam([pixels], lr=options.lr, betas=options.betas, fused=True)


def _log(
    found: Sequence[Mapping[str, Tensor]], terms: Sequence[Term], chunk: int, iteration: int, log: LogLosses
) -> None:
    """Hand on each loss, summed over the parts in `found`. Raises NumericalError where one is not finite."""
    values = {name: float(torch.stack([part[name] for part in found]).sum()) for name in found[0]}
    for name, value in values.items():
        if not math.isfinite(value):
            raise NumericalError(
                f"{name!r} became {value} in recover, chunk {chunk}, iteration {iteration}; lower the learning rate "
                "(--set lr=...) or the weight of that component, or use --precision fp32"
            )
    log(iteration, {"loss": sum(term.weight * values[term.name] for term in terms), **values})
