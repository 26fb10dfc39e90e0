"""The checks of what is looked at by itself: datasets, protocols, networks, parametrizations and executors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from condense.recipe.method import Method
from condense.recipe.plugin_code import titled
from condense.recipe.registry import Registry
from condense.recipe.specs import DatasetSpec, ExecutorSpec, ModelSpec, ParametrizationSpec
from condense.testing.datasets import TriedDataset
from condense.testing.executors import TriedExecutor
from condense.testing.findings import Answer, Finding
from condense.testing.networks import TriedNetwork
from condense.testing.parametrizations import TriedParametrization
from condense.testing.protocols import TriedProtocol
from condense.testing.subjects import recipe_of, with_offers


@dataclass(frozen=True, kw_only=True)
class Offered:
    """Something that is looked at by itself. kind, name: as the registry has them; kind is a key of `CHECKS_OF`."""

    kind: str
    name: str

    @property
    def title(self) -> str:
        """What is looked at, for people: "dataset 'pets'"."""
        return titled(self.kind, self.name, "")


def _dataset(name: str, registry: Registry, folder: Path) -> Mapping[str, Callable[[], Answer]]:
    spec: DatasetSpec = registry.find("dataset", name)
    tried = TriedDataset(spec, folder)
    return {"images": tried.images, "reload": tried.reload, "absent": tried.absent}


def _protocol(name: str, registry: Registry, folder: Path) -> Mapping[str, Callable[[], Answer]]:
    method = recipe_of("protocol", name)
    tried = TriedProtocol(method.name, with_offers(registry, [method]), folder)
    return {"students": tried.students}


def _network(name: str, registry: Registry, folder: Path) -> Mapping[str, Callable[[], Answer]]:
    spec: ModelSpec = registry.find("model", name)
    tried = TriedNetwork(spec, registry)
    return {"shapes": tried.shapes, "weights": tried.weights, "memory": tried.memory}


def _parametrization(name: str, registry: Registry, folder: Path) -> Mapping[str, Callable[[], Answer]]:
    spec: ParametrizationSpec = registry.find("parametrization", name)
    tried = TriedParametrization(spec, registry)
    return {"stored": tried.stored, "apart": tried.apart, "unfolding": tried.unfolding}


def _executor(name: str, registry: Registry, folder: Path) -> Mapping[str, Callable[[], Answer]]:
    spec: ExecutorSpec = registry.find("executor", name)
    method: Method = recipe_of("executor", name)
    tried = TriedExecutor(spec, method.name, with_offers(registry, [method]), folder)
    return {"pieces": tried.pieces, "failure": tried.failure, "workers": tried.workers}


# For each kind: its checks, and what answers them, given a name, what is offered, and a folder for files.
_ANSWERS: Mapping[str, Callable[[str, Registry, Path], Mapping[str, Callable[[], Answer]]]] = {
    "dataset": _dataset,
    "protocol": _protocol,
    "model": _network,
    "parametrization": _parametrization,
    "executor": _executor,
}
CHECKS_OF: Mapping[str, Sequence[str]] = {
    "dataset": ("images", "reload", "absent"),
    "protocol": ("students",),
    "model": ("shapes", "weights", "memory"),
    "parametrization": ("stored", "apart", "unfolding"),
    "executor": ("pieces", "failure", "workers"),
}
KIND_OF: Mapping[str, str] = {check: kind for kind, checks in CHECKS_OF.items() for check in checks}


def offered_by(plugins: Sequence[str], registry: Registry) -> list[Offered]:
    """Return what some plugins offer that is looked at by itself."""
    return [
        Offered(kind=kind, name=offer.spec.name)
        for kind in CHECKS_OF
        for offer in registry.offers(kind)
        if offer.plugin in plugins
    ]


def findings_of_offers(
    offers: Sequence[Offered], wanted: Sequence[str], registry: Registry, folder: Path
) -> Iterator[Finding]:
    """Yield what each of the wanted checks finds of what it is for. folder: for files."""
    tried = {offer: _ANSWERS[offer.kind](offer.name, registry, folder) for offer in offers}
    for check in wanted:
        for offer, answers in tried.items():
            if check in answers:
                state, text = answers[check]()
                yield Finding(check=check, subject=offer.title, state=state, text=text)
