"""Tiny datasets, networks for them and a registry that knows one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.models.catalog import ConvNetOptions, ModelRequest
from condense.models.convnet import ConvNet
from condense.models.network import Network
from condense.recipe.registry import KINDS, Offer, Registry, load_registry
from condense.recipe.specs import DatasetSpec

# On tensors this small a second thread costs more than it gains, above all where the cores are busy.
torch.set_num_threads(1)

# CI looks at the same examples every time; elsewhere hypothesis looks for new ones.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

# One teacher for every method, as the datasets of condense have it.
SETTINGS = {
    "teacher.model": "convnet",
    "teacher.model.width": 8,
    "teacher.model.depth": 2,
    "teacher.epochs": 1,
    "teacher.lr": 0.05,
    "teacher.batch_size": 8,
}


def tiny_dataset(
    counts: Sequence[int] = (6, 7, 8),
    *,
    tests: int = 4,
    size: int = 8,
    channels: int = 1,
    seed: int = 0,
    name: str = "tiny",
    shuffled: bool = True,
) -> RealDataset:
    """Noise about another brightness for each class: `counts` training and `tests` test images, in any order."""
    draws = torch.Generator().manual_seed(seed)

    def split(per_class: Sequence[int]) -> Split:
        labels = torch.arange(len(per_class)).repeat_interleave(torch.tensor(per_class))
        if shuffled:
            labels = labels[torch.randperm(len(labels), generator=draws)]
        noise = torch.randint(0, 60, (len(labels), channels, size, size), generator=draws)
        brightness = (labels * 190) // max(1, len(per_class) - 1)
        return Split(MemoryImages((noise + brightness[:, None, None, None]).to(torch.uint8)), labels)

    return RealDataset(
        name=name,
        classes=tuple(f"class {label}" for label in range(len(counts))),
        train=split(counts),
        test=split([tests] * len(counts)),
        size=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        licence="MIT",
    )


def tiny_network(dataset: RealDataset, *, norm: Any = "batch", width: int = 8, seed: int = 0) -> Network:
    """A ConvNet of depth 2 for the dataset, its running statistics not those of a fresh one."""
    request = ModelRequest(
        argument="", classes=len(dataset.classes), channels=dataset.channels, size=dataset.size
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ConvNet(ConvNetOptions(width=width, depth=2, norm=norm), request)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 2)
    return Network(model, "convnet").frozen()


def registry_with(*datasets: RealDataset, **offers: Sequence[Any]) -> Registry:
    """What is installed, these datasets under their names, and more offers by hook name, "methods=[...]"."""
    base = load_registry()
    found = {kind: {offer.spec.name: offer for offer in base.offers(kind)} for kind, _ in KINDS.values()}
    specs = [
        DatasetSpec(
            name=dataset.name,
            summary="a few tiny images",
            build=lambda options, request, dataset=dataset: dataset,
            settings=SETTINGS,
        )
        for dataset in datasets
    ]
    for hook, more in {"datasets": specs, **offers}.items():
        kind = KINDS[f"condense_{hook}"][0]
        found[kind].update({spec.name: Offer("test", spec) for spec in more})
    return Registry(found, base.plugins, {})


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for indexes, also of the processes that tests start, so that the user's stays as it is."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("CONDENSE_CACHE_DIR")
    os.environ["CONDENSE_CACHE_DIR"] = str(folder)
    yield folder
    if before is None:
        del os.environ["CONDENSE_CACHE_DIR"]
    else:
        os.environ["CONDENSE_CACHE_DIR"] = before


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., RealDataset]:
    return tiny_dataset


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Network]:
    return tiny_network


@pytest.fixture(scope="session")
def make_registry() -> Callable[..., Registry]:
    return registry_with
