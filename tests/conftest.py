"""Tiny datasets, networks for them and a registry that knows one of them; what several test modules begin with."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
import torch

from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, InitialRequest
from condense.models.network import Network
from condense.recipe.registry import KINDS, Offer, Registry, load_registry
from condense.recipe.specs import DatasetSpec
from condense.runtime import Runtime, SilentReporter, make_runtime
from condense.testing import made_up_dataset, made_up_network

# On tensors this small a second thread costs more than it gains, above all where the cores are busy.
torch.set_num_threads(1)

# Whatever a shell starts in the background ignores Ctrl-C, and so would the processes of tests that send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# CI looks at the same examples every time; elsewhere hypothesis looks for new ones.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip thorough tests, unless they are asked for."""
    if not os.environ.get("CONDENSE_THOROUGH"):
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="thorough; CONDENSE_THOROUGH=1 runs it"))


# One teacher for every method, as the datasets of condense have it.
SETTINGS = {
    "teacher.model": "convnet",
    "teacher.model.width": 8,
    "teacher.model.depth": 2,
    "teacher.epochs": 1,
    "teacher.lr": 0.05,
    "teacher.batch_size": 8,
}


tiny_dataset = functools.partial(made_up_dataset, name="tiny")


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
    return made_up_network


@pytest.fixture(scope="session")
def make_registry() -> Callable[..., Registry]:
    return registry_with


class StopHere(KeyboardInterrupt):
    """What ends an attempt. An error would be the failure of a row of a comparison, and the others would go on."""


class Impatient(SilentReporter):
    """Raises `Stopped` in the epoch after `epochs` more epochs of training that it is told about. Keeps the notes."""

    Stopped = StopHere

    def __init__(self, epochs: int = 1) -> None:
        self.left = epochs
        self.notes: list[str] = []

    def advance(self, count: int, values: Mapping[str, float] | None = None) -> None:
        if not (count and values):  # epochs of an earlier attempt, or a line of the log
            return
        if not self.left:
            raise StopHere
        self.left -= 1

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session")
def impatient() -> type[Impatient]:
    return Impatient


@pytest.fixture(scope="module")
def tools() -> Iterator[Callable[[str], ModuleType]]:
    """Returns a script of the folder tools by its name. Scripts import each other, as when they are run."""
    folder = Path(__file__).parents[1] / "tools"
    sys.path.insert(0, str(folder))
    yield importlib.import_module
    sys.path.remove(str(folder))
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


def request_for(
    dataset: RealDataset,
    teacher: Network | None = None,
    ipc: int = 1,
    label: int = 0,
    *,
    targets: Sequence[FeatureTarget] = (),
    seed: int = 0,
    runtime: Runtime | None = None,
) -> InitialRequest:
    """What an initializer is asked; the runtime is by default the CPU in float32."""
    return InitialRequest(
        label=label,
        ipc=ipc,
        dataset=dataset,
        generator=torch.Generator().manual_seed(seed),
        targets=targets,
        teacher=teacher,
        runtime=runtime or make_runtime("cpu", "fp32"),
    )


@pytest.fixture(scope="session")
def make_request() -> Callable[..., InitialRequest]:
    return request_for
