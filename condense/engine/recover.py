"""Recover: optimise the pixels of one chunk of images. Chunks are independent of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder
from condense.data.parametrizations.standard import AS_THEY_ARE
from condense.data.pixels import valid_range
from condense.engine.chunks import Chunk, Part, parts_of_chunk, views_of_step
from condense.engine.components import WeightedLoss
from condense.engine.first_step import check_finite, check_gradients, check_unchanged, scalar, versions
from condense.engine.kept_recovery import KeptRecovery, LogLosses
from condense.engine.recover_networks import Networks
from condense.engine.training import learning_rate_fraction, make_optimizer
from condense.errors import ModelError
from condense.models.attention import attention
from condense.models.compiled import step_compiled
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.method import Recover
from condense.recipe.needs import NetworkKind
from condense.recipe.plugin_code import plugin_code
from condense.recipe.training import Augment
from condense.runtime import Runtime


def crop_scale(options: Recover, iteration: int) -> tuple[float, float] | None:
    """Return the minimum and maximum area fraction of crops at this step, under the curriculum of `options`.

    Let b be the minimum of `augment.crop_scale`, a be `crop_start` (at most the maximum of
    `augment.crop_scale`), and t be the completed fraction of the curriculum's steps. While t < 1, the minimum is

        step    a
        linear  b + (a - b) (1 - t)
        cosine  b + (a - b) (1 + cos(pi t)) / 2

    and b from then on. Source: CDA (Yin & Shen, TMLR 2024, arXiv 2311.18838) and its published code, where a
    is 1, `crop_schedule` is --easy2hard-mode and `crop_share` is --milestone.
    """
    if options.augment.crop_scale is None or options.crop_schedule == "none":
        return options.augment.crop_scale
    low, high = options.augment.crop_scale
    done = min(1.0, iteration / (options.crop_share * options.iterations))
    left = {"step": float(done < 1), "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    least = low + (min(options.crop_start, high) - low) * left[options.crop_schedule]
    return min(least, high), high  # rounding must not raise the minimum above the maximum


def recover_chunk(
    chunk: Chunk,
    losses: Sequence[WeightedLoss],
    networks: Networks,
    options: Recover,
    dataset: RealDataset,
    *,
    generator: torch.Generator,
    runtime: Runtime,
    log: LogLosses,
    coder: Coder = AS_THEY_ARE,
    after_step: Callable[[int, Tensor], None] | None = None,
    checks: bool = True,
    kept: KeptRecovery | None = None,
) -> Tensor:
    """Return the recovered images of a chunk as they are stored, (m, C, H, W) float32 on the CPU.

    Minimises sum_i weight_i loss_i over the stored pixels, which are clipped to valid ones at every step. Losses see
    the images that `coder` decodes from them. The result depends on the arguments alone.

    after_step: called with the number of finished iterations and the stored pixels, (m, C, H, W) on the device.
    checks: whether the first step looks at each loss for itself, as `condense.engine.first_step` does.
    kept: keeps the recovery between two steps, which goes on where it was kept.

    Raises NumericalError, which names the loss, the chunk and the iteration, if a loss is not finite, and PluginError
    for a plugin's mistake.
    """
    pixels = runtime.images(chunk.images.clone()).requires_grad_(True)
    low, high = valid_range(dataset.mean, dataset.std, pixels)
    optimizer = make_optimizer(
        options.optimizer, [pixels], lr=options.lr, momentum=options.momentum, betas=options.betas
    )
    compiling = runtime.for_steps(options.iterations)
    labels = chunk.labels.to(runtime.device)
    parts = parts_of_chunk(chunk, losses, dataset, runtime, coder)
    done = kept.resume(pixels, optimizer, networks, options, generator, images=len(labels)) if kept else 0
    if done:
        runtime.reporter.advance(done)
    for iteration in range(done, options.iterations):
        fraction = learning_rate_fraction(options.schedule, iteration, options.iterations)
        optimizer.param_groups[0]["lr"] = options.lr * fraction
        current = networks.of_step([loss.needs for loss in losses], iteration, options, generator)
        if unrolling := [loss for loss in losses if loss.needs.unrolled]:
            shown, exact = coder.decode(pixels), _exact(runtime, unrolling)
            current["random"] = networks.unrolled(iteration, shown, labels, options, generator, exact)
        augment = replace(options.augment, crop_scale=crop_scale(options, iteration))
        fast = step_compiled(current, compiling)
        optimizer.zero_grad(set_to_none=True)
        found: list[dict[str, Tensor]] = []
        for part in parts:
            shown = coder.decode(pixels if part.stored is None else pixels[part.stored])
            first = checks and iteration == 0
            # Compiled passes take gradients once, and the checks take them again and again.
            seeing = current if first else fast
            values = _values(part, shown, augment, seeing, losses, generator, runtime, watched=first)
            if first:
                check_gradients(values, losses, pixels, chunk.index)
            _backward(values, losses, pixels)
            found.append({name: value.detach() for name, value in values.items()})
        optimizer.step()
        with torch.no_grad():
            torch.clamp(pixels, low, high, out=pixels)
            learned = coder.decode(pixels) if options.inner.epochs else pixels
        networks.learn(iteration, learned, labels, options, generator=generator, runtime=runtime)
        if iteration % options.log_every == 0 or iteration == options.iterations - 1:
            _log(found, losses, chunk.index, iteration, log)
        if after_step:
            after_step(iteration + 1, pixels.detach())
        if kept:
            kept.keep(iteration + 1, pixels, optimizer, networks, options, generator)
        runtime.reporter.advance(1)
    return pixels.detach().float().cpu().contiguous()


def _values(
    part: Part,
    images: Tensor,
    augment: Augment,
    networks: Mapping[str, Network],
    losses: Sequence[WeightedLoss],
    generator: torch.Generator,
    runtime: Runtime,
    *,
    watched: bool,
) -> dict[str, Tensor]:
    """Return the value of each loss on one view of the images (n, C, H, W) of a part, by name.

    watched: whether a loss that changes in place what it sees is refused.
    """
    view, real_view = views_of_step(images, part.real, augment, generator)
    view = runtime.images(view)
    real_view = None if real_view is None else runtime.images(real_view)
    values: dict[str, Tensor] = {}
    for kind in dict.fromkeys(loss.needs.network for loss in losses):
        looking = [loss for loss in losses if loss.needs.network == kind]
        network = networks.get(kind)
        synthetic = replace(_observe(network, view, part.batch, looking, runtime), generator=generator)
        real = None
        if real_view is not None and any(loss.needs.real_per_class for loss in looking):
            with torch.set_grad_enabled(any(loss.needs.of_weights for loss in looking)):
                seen = _observe(network, real_view, part.real.batch, looking, runtime)
                real = replace(seen, indices=part.real.drawn)
        for loss in looking:
            shown = real if loss.needs.real_per_class else None
            before = versions(synthetic=synthetic, real=shown) if watched else []
            values[loss.name] = _value(loss, synthetic, shown)
            check_unchanged(before, loss.title, "loss")
    return values


def _backward(values: Mapping[str, Tensor], losses: Sequence[WeightedLoss], pixels: Tensor) -> None:
    """Add the gradient of the weighted sum of losses to the pixels' gradient, and to no other tensor's."""
    total = torch.stack([loss.weight * values[loss.name] for loss in losses]).sum()
    with plugin_code(" or ".join(loss.title for loss in losses), "the gradient of its loss"):
        total.backward(inputs=[pixels])


def _observe(
    network: Network | None,
    images: Tensor,
    batch: BatchLabels,
    looking: Sequence[WeightedLoss],
    runtime: Runtime,
) -> Observation:
    """Return `network`'s observation of a batch for the losses that look through it.

    Without a network, return the images alone. Raises ModelError if the network lacks the layers that a loss reads.
    """
    if network is None:
        nothing = images.new_empty((len(images), 0))
        return Observation(images=images, batch=batch, features=nothing, logits=nothing)
    for loss in looking:
        for statistic in loss.needs.statistics:
            if not network.layers_of(statistic):
                raise ModelError(
                    f"{loss.name!r} reads the inputs of {_LAYERS[statistic]}, and {network.name!r} has none; choose "
                    f"another network with --set {_SETTING[loss.needs.network]}=NAME"
                )
    statistics = {statistic for loss in looking for statistic in loss.needs.statistics}
    twice = any(loss.needs.weight_gradients for loss in looking)
    with _exact(runtime, looking).autocast(), attention(twice=twice):
        return network.observe(images, batch, statistics)


def _exact(runtime: Runtime, looking: Sequence[WeightedLoss]) -> Runtime:
    """Return the runtime for losses: without bfloat16 if one of them needs float32."""
    return replace(runtime, bf16=False) if any(loss.needs.float32 for loss in looking) else runtime


_LAYERS = {"batchnorm": "BatchNorm layers", "convolutions": "convolutions"}
# For each kind of network, the setting that chooses it.
_SETTING: dict[NetworkKind, str] = {
    "teacher": "teacher.model",
    "random": "recover.network",
    "pool": "pool.model",
    "trained": "pool.model",
}


def _value(weighted: WeightedLoss, synthetic: Observation, real: Observation | None) -> Tensor:
    with plugin_code(weighted.title, "loss"):
        value: object = weighted.loss.loss(synthetic, real)
    return scalar(value, weighted.title)


def _log(
    found: Sequence[Mapping[str, Tensor]],
    losses: Sequence[WeightedLoss],
    chunk: int,
    iteration: int,
    log: LogLosses,
) -> None:
    """Log each loss, summed over the parts in `found`. Raises NumericalError if one is not finite."""
    values = {name: float(torch.stack([part[name] for part in found]).sum()) for name in found[0]}
    for name, value in values.items():
        check_finite(name, value, chunk, iteration)
    log(iteration, {"loss": sum(loss.weight * values[loss.name] for loss in losses), **values})
