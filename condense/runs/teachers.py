"""Trained teachers, stored under the hash of what determines them, so that runs can share them."""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from condense.data.dataset import RealDataset
from condense.engine.squeeze import squeeze
from condense.models.build import load_checkpoint
from condense.models.network import Network
from condense.recipe.config import Machine, Recipe, by_content, digest
from condense.runtime import Runtime
from condense.storage.files import read_json, write_json
from condense.storage.tensors import write_tensors
from condense.version import DISTRIBUTION

# The packages that compute or that provide networks.
_PACKAGES = (DISTRIBUTION, "torch", "torchvision", "timm")


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A teacher that is ready.

    file: its weights.
    accuracy: on the test images, in [0, 1].
    seconds: spent on training or loading it, and on testing it.
    """

    file: Path
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Teachers:
    """A folder of teachers: <hash>.safetensors as a run writes it, and <hash>.json with accuracy and seconds."""

    path: Path

    def file(self, recipe: Recipe, dataset: RealDataset, runtime: Runtime) -> Path:
        """Return the path of the weights of this configuration's teacher, whether the file exists or not."""
        return self.path / f"{teacher_hash(recipe, dataset, runtime)}.safetensors"

    def teach(self, network: Network, recipe: Recipe, dataset: RealDataset, runtime: Runtime) -> Taught:
        """Fill `network` with the stored weights. If there are none, train or load it and store its weights.

        Raises what `squeeze` raises.
        """
        file = self.file(recipe, dataset, runtime)
        about = file.with_suffix(".json")
        if file.exists() and about.exists():
            load_checkpoint(network, file)
            runtime.reporter.note(f"teacher taken from {file}")
        else:
            began = time.perf_counter()
            reached = squeeze(network, recipe, dataset, runtime)
            # The seconds are not stored in the file of weights: its bytes must not depend on them.
            write_json(about, {"accuracy": reached, "seconds": time.perf_counter() - began})
            write_tensors(file, network.model.state_dict(), {"model": network.name})
        network.frozen()
        return Taught(file=file, **read_json(about))


def teacher_hash(recipe: Recipe, dataset: RealDataset, runtime: Runtime) -> str:
    """Return 16 hexadecimal digits that depend on everything that determines a teacher's weights.

    That is: its settings and seed, the content of its checkpoint, the images, the kind of device, the
    precision and the versions of `_PACKAGES`.
    """
    settings = replace(by_content(recipe.teacher), seed=recipe.teacher_seed, measure_batch=1)
    made_of = {
        "teacher": msgspec.to_builtins(settings),
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
    }
    return digest(made_of)[:16]
