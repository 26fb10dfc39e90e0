"""The files of what losses observed and of what they measured: checked when they are written and when they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from condense.engine.build import restored_losses
from condense.engine.components import FeatureTarget, WeightedLoss
from condense.engine.plan import Plan
from condense.errors import PluginError, StorageError
from condense.recipe.config import digest
from condense.recipe.plugin_code import plugin_code
from condense.rng import generator
from condense.storage.tensors import read_tensors, tensors_to_bytes

# What the metadata calls the digest of names, shapes and types. Files of earlier versions have none.
_LAYOUT = "layout"


def measured_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return what losses observed or measured, by "name of the loss/key", as a safetensors file in memory."""
    return tensors_to_bytes(tensors, {_LAYOUT: _layout(tensors)})


def read_measured(path: Path, losses: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors of a file that `measured_bytes` gave.

    losses: the names of the losses that observe.

    Raises StorageError if the file cannot be read, has other names, shapes or types of numbers than it was written
    with, or has a tensor of another loss.
    """
    tensors, metadata = read_tensors(path)
    foreign = [name for name in tensors if name.partition("/")[0] not in losses]
    if foreign:
        raise _unfit(path, f"{foreign[0]!r} belongs to none of the losses that observe ({', '.join(losses)})")
    if metadata.get(_LAYOUT, _layout(tensors)) != _layout(tensors):
        raise _unfit(path, "names, shapes or types of its tensors are not those that it was written with")
    return tensors


def read_state(path: Path, plan: Plan, classes: int) -> dict[str, Tensor]:
    """Return what the losses of a plan measured, from the file that holds it.

    classes: the number of classes, K.

    Raises StorageError as `read_measured` does, and if a loss cannot be restored from it. `check_state` has seen that
    one can, before the file was written.
    """
    tensors = read_measured(path, [loss.name for loss in plan.losses if loss.needs.observes])
    try:
        check_state(tensors, plan, classes)
    except PluginError as error:
        raise _unfit(path, str(error)) from error
    return tensors


def check_state(state: Mapping[str, Tensor], plan: Plan, classes: int) -> None:
    """Raise PluginError if a loss of a plan cannot be restored from what it measured, or has slots of another shape.

    state: as `condense.engine.build.state_of` gives it. classes: the number of classes, K.
    """
    wanted = (classes, plan.images_per_class)
    for weighted in restored_losses(plan, state):
        loss = weighted.loss
        if not weighted.needs.observes or not isinstance(loss, FeatureTarget):
            continue
        draws = generator(plan.recipe.seed, "plugin", weighted.name, "slots")
        with plugin_code(weighted.title, "slot_weights", draws):
            weights = loss.slot_weights()
        with plugin_code(weighted.title, "slot_features", draws):
            features = loss.slot_features()
        _check_slots(weighted, "slot_weights", weights, wanted, 2)
        _check_slots(weighted, "slot_features", features, wanted, 3)


def _check_slots(
    weighted: WeightedLoss, hook: str, found: object, wanted: tuple[int, int], dimensions: int
) -> None:
    if found is None:
        return
    shape = f"({', '.join(map(str, wanted))}{', D' if dimensions == 3 else ''})"
    if not isinstance(found, Tensor):
        raise PluginError(
            f"{weighted.title} must return a float tensor {shape} from {hook}, not {found!r:.200}"
        )
    fits = found.dim() == dimensions and tuple(found.shape[:2]) == wanted and found.is_floating_point()
    if not fits or not bool(torch.isfinite(found).all()):
        raise PluginError(
            f"{weighted.title} must return finite floats {shape} from {hook}, and returned {tuple(found.shape)} "
            f"{found.dtype}"
        )


def _layout(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and types of numbers."""
    return digest({name: [str(value.dtype), *value.shape] for name, value in tensors.items()})


def _unfit(path: Path, why: str) -> StorageError:
    return StorageError(f"{path} is not what this run measured: {why}; delete it and go on with --resume")
