"""What is checked at the first step of each chunk: that losses give gradients, and leave what they see as it is.

Initializers and evaluators must leave what they see as it is, too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from condense.data.dataset import MemoryImages, RealDataset
from condense.engine.components import WeightedLoss
from condense.errors import InputChangedError, NumericalError, PluginError
from condense.models.observation import Observation
from condense.recipe.plugin_code import plugin_code
from condense.storage.distilled import DistilledDataset

# The version of each tensor of some observations; a change in place raises the version.
Versions = list[tuple[str, Tensor, int]]


def versions(**seen: Observation | None) -> Versions:
    """Return the tensors of observations by name ("synthetic.images"), with their versions."""
    return [
        (name, tensor, tensor._version)
        for place, observation in seen.items()
        if observation is not None
        for name, tensor in _tensors(place, observation)
        if not tensor.is_inference()  # has no version, and cannot be changed in place outside of inference mode
    ]


def distilled_versions(distilled: DistilledDataset) -> Versions:
    """Return the tensors of a distilled dataset by name ("distilled.images"), with their versions."""
    return [(name, tensor, tensor._version) for name, tensor in _tensors("distilled", distilled)]


def dataset_versions(dataset: RealDataset) -> Versions:
    """Return the labels of a dataset and its images in memory by name ("dataset.train.images"), with their versions."""
    found: Versions = []
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        found.append((f"dataset.{part}.labels", split.labels, split.labels._version))
        if isinstance(split.images, MemoryImages):
            pixels = split.images.pixels
            found.append((f"dataset.{part}.images", pixels, pixels._version))
    return found


def _tensors(name: str, value: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            yield from _tensors(f"{name}[{index}]", part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _tensors(f"{name}.{field.name}", getattr(value, field.name))


def check_unchanged(before: Versions, title: str, hook: str) -> None:
    """Raise InputChangedError, which names the tensor, if one was changed in place.

    title, hook: who may have done so.
    """
    for name, tensor, version in before:
        if tensor._version != version:
            raise InputChangedError(
                f"{title} changed {name} in place in {hook}, which other components and later steps see as well; work "
                "on a copy, such as x.clone()"
            )


def scalar(value: object, title: str) -> Tensor:
    """Return what a loss returned. Raises PluginError, which names its title, for anything but a real scalar."""
    if not isinstance(value, Tensor):
        came = f"{value!r:.200}"
    elif value.dim() != 0:
        came = f"shape {tuple(value.shape)}"
    elif not value.is_floating_point():
        came = f"one of {value.dtype}"
    else:
        return value
    raise PluginError(f"{title} must return a scalar tensor from loss, and returned {came}")


def check_gradients(
    values: Mapping[str, Tensor], losses: Sequence[WeightedLoss], pixels: Tensor, chunk: int
) -> None:
    """Check the gradient to the pixels of each loss for itself. The graph of the losses stays as it is.

    values: each loss, a scalar, by name. pixels: what is optimised.

    Raises PluginError for a loss without a gradient, and NumericalError for a loss or a gradient that is not finite.
    """
    for loss in losses:
        value = values[loss.name]
        found = float(value.detach())
        check_finite(loss.name, found, chunk, iteration=0)
        gradient = None
        if value.requires_grad:
            with plugin_code(loss.title, "the gradient of its loss"):
                (gradient,) = torch.autograd.grad(
                    loss.weight * value, [pixels], retain_graph=True, allow_unused=True
                )
        if gradient is None:
            raise PluginError(
                f"{loss.title} returned a loss without a gradient to the pixels; compute it from synthetic.images, "
                "features or logits, without detach(), numpy() and no_grad()"
            )
        if not bool(torch.isfinite(gradient).all()):
            raise NumericalError(
                f"the gradient of {loss.name!r} is not finite at the first step of recover, chunk {chunk}, though its "
                f"loss is {found:.4g}. A square root or a norm at 0 has none (condense.safe_norm has); else "
                "lower its weight, or use --precision fp32"
            )


def check_finite(name: str, value: float, chunk: int, iteration: int) -> None:
    """Raise NumericalError, which names the loss, the chunk and the iteration, if a loss is not finite."""
    if not math.isfinite(value):
        raise NumericalError(
            f"{name!r} became {value} in recover, chunk {chunk}, iteration {iteration}; lower the learning rate "
            "(--set lr=...) or the weight of that component, or use --precision fp32"
        )
