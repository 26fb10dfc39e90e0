"""Trained teachers, stored under the hash of what determines them, so that runs can share them."""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from condense.data.dataset import RealDataset
from condense.engine.squeeze import squeeze
from condense.engine.teacher_check import Recorded
from condense.engine.unfinished import Unfinished, discard
from condense.errors import StorageError
from condense.models.checkpoints import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import Machine, Recipe, by_content, decisive, digest
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.sources import models_of, plugin_marks
from condense.runtime import Runtime
from condense.storage.checksums import Checksums, DamagedError
from condense.storage.files import json_bytes, read_json
from condense.storage.run_folder import RunFolder, unfinished_file
from condense.storage.tensors import tensors_to_bytes
from condense.version import DISTRIBUTION

T = TypeVar("T")

# The packages that compute or that provide networks.
_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm")


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A teacher that is ready.

    file: its weights.
    accuracy: on the test images, in [0, 1].
    seconds: spent on training or loading it, and on testing it.
    processes: how many trained it together.
    """

    file: Path
    accuracy: float
    seconds: float
    processes: int = 1


@dataclass(frozen=True)
class Teachers:
    """A folder of teachers: <hash>.safetensors as a run writes it, and <hash>.json with accuracy and seconds.

    registry: what plugins offer, some of the networks among it.
    """

    path: Path
    registry: Registry

    def file(self, recipe: Recipe, dataset: RealDataset, runtime: Runtime) -> Path:
        """Return the path of the weights of this configuration's teacher, whether the file exists or not."""
        return self.path / f"{teacher_hash(recipe, dataset, runtime, self.registry)}.safetensors"

    def has(self, file: Path, runtime: Runtime) -> bool:
        """Return whether the teacher in `file`, and what is told of it, are there and undamaged."""
        checksums = Checksums(self.path)
        return all(checksums.usable(one, runtime.reporter.note) for one in (file, file.with_suffix(".json")))

    def teach(self, network: Network, recipe: Recipe, dataset: RealDataset, runtime: Runtime) -> Taught:
        """Fill `network` with the stored weights. If there are none, train or load it and store its weights.

        Raises what `squeeze` raises.
        """
        file = self.file(recipe, dataset, runtime)
        about = file.with_suffix(".json")
        unfinished = unfinished_file(self.path, file.stem)
        if self.has(file, runtime):
            load_checkpoint(network, file)
            runtime.reporter.note(f"teacher taken from {file}")
        else:
            began = time.perf_counter()
            kept = Unfinished(unfinished, runtime)
            reached = squeeze(network, recipe, dataset, runtime, recorded_of(recipe), kept)
            known = facts_of(reached, kept.spent + time.perf_counter() - began, dataset)
            checksums = Checksums(self.path)
            checksums.write(about, json_bytes(known))
            checksums.write(file, weights_of(network))
        discard(unfinished)
        network.frozen()
        return taught(file)


def taught(file: Path) -> Taught:
    """Return what a folder of teachers tells of the one with these weights. Raises StorageError for anything else."""
    about = file.with_suffix(".json")
    told = read_facts(about, Kept)
    if told is None:
        raise StorageError(
            f"{about} does not tell of a teacher; delete it and the file beside it, and run again"
        )
    return Taught(file=file, accuracy=told.accuracy, seconds=told.seconds, processes=told.processes)


def weights_of(teacher: Network) -> bytes:
    """Return the content of the file of a teacher's weights. Nothing else is in it that its bytes could depend on."""
    return tensors_to_bytes(teacher.model.state_dict(), {"model": teacher.name})


def facts_of(accuracy: float, seconds: float, dataset: RealDataset, processes: int = 1) -> dict[str, Any]:
    """Return what is written beside the weights of a teacher that learned a dataset; the others are as in `Taught`."""
    return {
        "accuracy": accuracy,
        "seconds": seconds,
        "classes": dataset.classes,
        "mean": dataset.mean,
        "std": dataset.std,
        "processes": processes,
    }


def check_same_teacher(folder: RunFolder, sha256: str) -> None:
    """Raise DamagedError if a teacher that replaces a damaged one is another, and a run has used that one already.

    sha256: of the file of the new teacher.
    """
    before = folder.checksums.recorded(folder.teacher)
    chunks = folder.chunk(0).parent.exists() or folder.has_unfinished("chunk-")
    used = folder.measurements.exists() or chunks
    if used and before not in (None, sha256):
        raise DamagedError(
            f"{folder.teacher} is damaged or gone, and the teacher that was trained again has other weights, so the "
            "images of this run do not belong to it; start the run again under another --name"
        )


def recorded_of(recipe: Recipe) -> Recorded | None:
    """Return what lies beside the checkpoint of a recipe about it, or None."""
    return recorded(Path(recipe.teacher.checkpoint)) if recipe.teacher.checkpoint else None


def recorded(weights: Path) -> Recorded | None:
    """Return what lies beside a teacher's weights about it, or in the run directory that they lie in; or None."""
    kept = read_facts(weights.with_suffix(".json"), Kept)
    if kept is not None:
        return Recorded(accuracy=kept.accuracy, classes=kept.classes, mean=kept.mean, std=kept.std)
    folder = RunFolder(weights.parent)
    if weights.name != folder.teacher.name:
        return None
    run, made = read_facts(folder.run_json, _Run), read_facts(folder.distilled / "distilled.json", _Made)
    if run is None:
        return None
    known = Recorded(accuracy=run.stages.squeeze.accuracy)
    if made is None:
        return known
    return replace(known, classes=tuple(entry.name for entry in made.classes), mean=made.mean, std=made.std)


class Kept(msgspec.Struct):
    """The facts beside a teacher in a folder of teachers. Both numbers tell them from the file of something else."""

    accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)]
    seconds: float
    classes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    processes: int = 1


class _Squeezed(msgspec.Struct):
    accuracy: float


class _Stages(msgspec.Struct):
    squeeze: _Squeezed


class _Run(msgspec.Struct):
    """The part of run.json that tells of the teacher."""

    stages: _Stages


class _Class(msgspec.Struct):
    name: str


class _Made(msgspec.Struct):
    """The part of distilled.json that tells of the real images."""

    classes: list[_Class]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_facts(file: Path, kind: type[T]) -> T | None:
    """Return the facts in a JSON file, or None: a file beside foreign weights may be missing or hold anything."""
    try:
        found = msgspec.convert(read_json(file), kind) if file.is_file() else None
    except (StorageError, msgspec.ValidationError):
        return None
    return found


def teacher_hash(recipe: Recipe, dataset: RealDataset, runtime: Runtime, registry: Registry) -> str:
    """Return 16 hexadecimal digits that depend on everything that determines a teacher's weights.

    That is: its settings and seed, the content of its checkpoint, the images, the kind of device, the
    precision, the versions of `_PACKAGES` and the source of a plugin whose network it is.
    """
    settings = replace(by_content(recipe.teacher), seed=recipe.teacher_seed, measure_batch=1)
    made_of = {
        "teacher": decisive(replace(recipe, teacher=settings))["teacher"],
        **made_with(recipe.teacher.model, recipe, dataset, runtime, registry),
    }
    return digest(made_of)[:16]


def made_with(
    network: Use, recipe: Recipe, dataset: RealDataset, runtime: Runtime, registry: Registry
) -> dict[str, Any]:
    """Return what decides the weights of a trained network beside its settings: images, machine, versions, plugins."""
    plugins = plugin_marks(models_of(network), registry)
    return {
        "dataset": msgspec.to_builtins(recipe.dataset),
        "validation": recipe.validation,
        "images": [
            dataset.train.hash,
            dataset.test.hash,
            dataset.size,
            dataset.mean,
            dataset.std,
        ],
        "machine": Machine(
            device=str(runtime.device), precision=runtime.precision, jpeg_decoder=runtime.jpeg_decoder
        ).hash,
        "versions": [importlib.metadata.version(package) for package in _PACKAGES],
        **({"plugins": plugins} if plugins else {}),
    }
