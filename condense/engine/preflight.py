"""Preflight: two images through every network of a job, before its first expensive stage."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import replace

import torch

from condense.data.dataset import RealDataset
from condense.engine.parts import Part, Role
from condense.errors import CondenseError, ModelError
from condense.models.build import network_for, weight_bytes
from condense.models.catalog import ModelRequest
from condense.models.observation import BatchLabels
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime, physical_memory
from condense.text import byte_size

_SETTINGS: dict[Role, str] = {
    "teacher": "teacher.model",
    "student": "student.model",
    "student that judges": "judge.model",
    "random network": "recover.network",
    "pool's network": "pool.model",
}
# The side lengths that a network which does not take the images is tried with, to say what it takes.
_SIDES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384)
_IMAGES = 2


def preflight(
    parts: Iterable[Part],
    dataset: RealDataset,
    registry: Registry,
    runtime: Runtime,
    *,
    chosen: Use | None = None,
) -> None:
    """Build each distinct network once and run two images through it, as the job will. Nothing is changed.

    chosen: the dataset as it was asked for, for advice; None if the images are distilled already.

    Raises ModelError that names the network, the side length of the images, and one that works if there is one.
    """
    done: list[Part] = []
    for part in parts:
        tried = replace(part, use=_without_weights(part.use))
        if tried not in done:
            done.append(tried)
            _check(tried, dataset, registry, runtime, chosen)


def _without_weights(use: Use) -> Use:
    """Return a network without pretrained weights, which need not be fetched to see whether images fit."""
    if not use.options.get("pretrained"):
        return use
    return replace(use, options={**use.options, "pretrained": False})


def _check(
    part: Part, dataset: RealDataset, registry: Registry, runtime: Runtime, chosen: Use | None
) -> None:
    try:
        _fly(part, dataset, dataset.size, registry, runtime)
    except (CondenseError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a network may fail on images in any way
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        works = _smallest(part, dataset, registry, runtime)
        raise ModelError(
            f"the {part.role} {part.use.name!r} cannot look at images of {dataset.size}x{dataset.size} ({reason}). "
            f"{_advice(part, reason, works, chosen, registry)}"
        ) from error


def _fly(part: Part, dataset: RealDataset, side: int, registry: Registry, runtime: Runtime) -> None:
    """Run images of a side length through a new network, as the job will. Raises whatever the network raises."""
    draws = generator(0, "preflight")
    _check_memory(part, dataset, side, registry)
    request = ModelRequest(argument="", classes=len(dataset.classes), channels=dataset.channels, size=side)
    network = network_for(part.use, request, registry, runtime, draws)
    images = torch.randn(_IMAGES, dataset.channels, side, side, generator=draws)
    placed = runtime.images(images.to(runtime.device))
    # Students and random networks are trained first, a teacher is read; a mode that fails later is rare.
    network.model.train(part.role != "teacher")
    with torch.no_grad(), isolated_global_rng(draws), runtime.autocast():
        if part.features:
            labels = torch.zeros(_IMAGES, dtype=torch.int64, device=runtime.device)
            logits = network.observe(placed, BatchLabels.of_real(labels)).logits
        else:
            logits = network.logits(placed)
    came, wanted = tuple(logits.shape), (_IMAGES, len(dataset.classes))
    if came != wanted:
        raise ModelError(
            f"the {part.role} {part.use.name!r} turns {_IMAGES} images into {came}, and logits {wanted} are needed; "
            f"choose another network with --set {_SETTINGS[part.role]}=NAME"
        )


def _check_memory(part: Part, dataset: RealDataset, side: int, registry: Registry) -> None:
    """Raise ModelError for a network whose weights and gradients alone do not fit into the memory of this computer."""
    request = ModelRequest(argument="", classes=len(dataset.classes), channels=dataset.channels, size=side)
    needed, memory = 2 * weight_bytes(part.use, request, registry), physical_memory()
    if memory and needed > memory:
        raise ModelError(
            f"the {part.role} {part.use.name!r} needs {byte_size(needed)} for its weights and their gradients, and "
            f"this computer has {byte_size(memory)}; choose another network with --set {_SETTINGS[part.role]}=NAME"
        )


def _smallest(part: Part, dataset: RealDataset, registry: Registry, runtime: Runtime) -> int | None:
    """Return the first of the usual side lengths above that of the images which the network takes, or None."""
    for side in _SIDES:
        if side > dataset.size:
            try:
                _fly(part, dataset, side, registry, runtime)
            except Exception:
                continue
            return side
    return None


def _advice(part: Part, reason: str, works: int | None, chosen: Use | None, registry: Registry) -> str:
    """Return what can be done about a network that does not take the images.

    works: a side length that it takes, if any.
    chosen: as in `preflight`.
    """
    setting = _SETTINGS[part.role]
    other = f"hoose another network with --set {setting}=NAME"
    if "patch_size" in part.use.options and "patch" in reason:
        other += f", or other patches with --set {setting}.patch_size=N"
    if works is None:
        return f"C{other}"
    if chosen is None:
        return f"It takes {works}x{works}; c{other}"
    options = registry.dataset(chosen.name)[0].options
    if any(field.name == "size" for field in dataclasses.fields(options)):
        return f"It takes {works}x{works}: --set dataset.size={works}; or c{other}"
    return f"It takes {works}x{works}, which {chosen.name!r} does not have; c{other}"
