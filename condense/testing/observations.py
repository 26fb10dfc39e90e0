"""Observations for the unit tests of a loss, without a run: a batch of real images, or of synthetic ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from condense.errors import DataError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Statistic

# The features of an image where no network gives them.
_FEATURES = 5


def real_observation(
    labels: Sequence[int] | Tensor,
    *,
    images: Tensor | None = None,
    features: Tensor | None = None,
    logits: Tensor | None = None,
    network: Network | None = None,
    statistics: Collection[Statistic] = (),
    classes: int = 0,
    channels: int = 1,
    size: int = 8,
    seed: int = 0,
) -> Observation:
    """Return a batch of real images as a loss sees it in `observe`, or beside the synthetic ones in `loss`.

    labels: (B,), the class of each image.
    images: (B, C, H, W), normalised; by default noise of `channels` channels and side length `size`.
    network: what looks at the images; it fills features, logits, the `statistics` that are asked for and, if its
        weights take gradients, `parameters`. Without a network there is noise in place of features and logits.
    features: (B, D), logits: (B, K), in place of those. classes: K; by default one more than the highest label.
    seed: of the noise, and of `generator`. `indices` are 0 to B - 1.

    Raises DataError if the parts do not fit together.
    """
    chosen = torch.as_tensor(labels, dtype=torch.int64)
    draws = torch.Generator().manual_seed(seed)
    given = images if images is not None else torch.randn(len(chosen), channels, size, size, generator=draws)
    looks = network is not None and any(weight.requires_grad for weight in network.model.parameters())
    with torch.set_grad_enabled(looks):
        seen = _seen(BatchLabels.of_real(chosen), given, network, statistics, classes, draws)
    return replace(_with(seen, features, logits), generator=draws, indices=torch.arange(len(chosen)))


def synthetic_observation(
    labels: Sequence[int] | Tensor,
    *,
    slots: Sequence[int] | Tensor | None = None,
    weights: Sequence[float] | Tensor | None = None,
    images: Tensor | None = None,
    features: Tensor | None = None,
    logits: Tensor | None = None,
    network: Network | None = None,
    statistics: Collection[Statistic] = (),
    classes: int = 0,
    channels: int = 1,
    size: int = 8,
    seed: int = 0,
) -> Observation:
    """Return a batch of synthetic images as `loss` sees it; everything else is as in `real_observation`.

    slots: (B,), the place of each image in its class; by default counted from 0. weights: (B,), the weight of each
    image in its class; by default equal ones that sum to 1 over each class.

    Images take gradients, and so do features and logits. With a network they depend on the images; without one they
    are leaves, so that `torch.autograd.grad(loss, seen.features)` works and a gradient to the images does not.
    """
    chosen = torch.as_tensor(labels, dtype=torch.int64)
    draws = torch.Generator().manual_seed(seed)
    given = images if images is not None else torch.randn(len(chosen), channels, size, size, generator=draws)
    batch = BatchLabels.of(chosen, _slots(chosen, slots), _weights(chosen, weights))
    seen = _with(_seen(batch, _leaf(given), network, statistics, classes, draws), features, logits)
    return replace(seen, features=_leaf(seen.features), logits=_leaf(seen.logits), generator=draws)


def _leaf(tensor: Tensor) -> Tensor:
    """Return a tensor that takes gradients: itself, or a copy."""
    return tensor if tensor.requires_grad else tensor.clone().requires_grad_(True)


def _seen(
    batch: BatchLabels,
    images: Tensor,
    network: Network | None,
    statistics: Collection[Statistic],
    classes: int,
    draws: torch.Generator,
) -> Observation:
    count = len(batch.labels)
    if len(images) != count:
        raise DataError(f"{count} labels, and {len(images)} images")
    if network is not None:
        return network.observe(images, batch, statistics)
    if statistics:
        raise DataError(
            f"the statistics {', '.join(statistics)} are those of a network; give one, network=..."
        )
    wide = classes or int(batch.labels.max()) + 1
    return Observation(
        images=images,
        batch=batch,
        features=torch.randn(count, _FEATURES, generator=draws),
        logits=torch.randn(count, wide, generator=draws),
    )


def _with(seen: Observation, features: Tensor | None, logits: Tensor | None) -> Observation:
    """Return an observation with other features and logits, where there are any."""
    for name, tensor in (("features", features), ("logits", logits)):
        if tensor is not None:
            if tensor.dim() != 2 or len(tensor) != len(seen.batch.labels):
                raise DataError(
                    f"{name} must have a row for each of {len(seen.batch.labels)} images, and are {tuple(tensor.shape)}"
                )
            seen = replace(seen, features=tensor) if name == "features" else replace(seen, logits=tensor)
    return seen


def _slots(labels: Tensor, slots: Sequence[int] | Tensor | None) -> Tensor:
    if slots is not None:
        return torch.as_tensor(slots, dtype=torch.int64)
    earlier = (labels[None, :] == labels[:, None]).tril(diagonal=-1)
    return earlier.sum(dim=1)


def _weights(labels: Tensor, weights: Sequence[float] | Tensor | None) -> Tensor:
    if weights is not None:
        return torch.as_tensor(weights, dtype=torch.float32)
    return 1 / (labels[None, :] == labels[:, None]).sum(dim=1).float()
