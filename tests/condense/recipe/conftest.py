"""Toys: components with an option of every type, datasets and methods with presets, and plugins that fail."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from condense.builtin import DC, FKD
from condense.engine.catalog import NoiseOptions
from condense.models.catalog import MODELS
from condense.recipe.config import RunConfig
from condense.recipe.hooks import hookimpl
from condense.recipe.method import Method, Recover, Teacher, Use, Weighted
from condense.recipe.protocol import Protocol
from condense.recipe.registry import DISABLE_VARIABLE, KINDS, Offer, PluginStatus, Registry
from condense.recipe.resolve import configure
from condense.recipe.settings import assign
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ParametrizationSpec,
    RegularizerSpec,
)

PLAIN = {"summary": "x", "build": "builtins:dict"}


def registry_of(**offered: Sequence[Any]) -> Registry:
    """A registry that offers these by kind, with underscores for spaces, and nothing else."""
    offers: dict[str, dict[str, Offer]] = {kind: {} for kind, _ in KINDS.values()}
    for kind, specs in offered.items():
        offers[kind.replace("_", " ")] = {spec.name: Offer("toy", spec) for spec in specs}
    return Registry(offers, (), {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnobOptions:
    """One option of every type."""

    count: int = 3
    share: float = 0.5
    form: Literal["squares", "norms", "none"] = "squares"
    on: bool = False
    limit: int | None = None
    text: str = ""
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"count must be 0 or more, not {self.count}")


class Knobs:
    """A method whose components have an option of every type."""

    options = KnobOptions

    def __init__(self) -> None:
        def described(spec_type: Any, *names: str) -> list[Any]:
            return [spec_type(name=name, options=KnobOptions, **PLAIN) for name in names]

        method = Method(
            name="toy",
            summary="x",
            initializer=Use(name="noise"),
            targets={"match": Weighted(options={"count": 4})},
            regularizers={"smooth": Weighted(2.0)},
            recover=Recover(iterations=10),
        )
        self.registry = registry_of(
            method=[method],
            initializer=described(InitializerSpec, "noise", "real"),
            feature_target=described(FeatureTargetSpec, "match", "cross-entropy"),
            regularizer=described(RegularizerSpec, "smooth", "class-batchnorm"),
            parametrization=described(ParametrizationSpec, "identity", "mosaic"),
            evaluator=described(EvaluatorSpec, "students", "others"),
            dataset=described(DatasetSpec, "fashion-mini", "imagenette"),
            model=MODELS,
            protocol=[DC, FKD],
        )
        self.config = configure(self.registry, method="toy")

    def changed(self, *settings: tuple[str, Any], start: RunConfig | None = None) -> RunConfig:
        """The plain configuration, or `start`, with these settings changed."""
        config = start or self.config
        for key, value in settings:
            config = assign(config, key, value, self.registry)
        return config


@pytest.fixture(scope="session")
def knobs() -> Knobs:
    return Knobs()


TOY = Method(
    name="toy",
    summary="x",
    targets={"match": Weighted()},
    regularizers={"smooth": Weighted(2.0)},
    recover=Recover(iterations=10, lr=0.5),
    teacher=Teacher(epochs=1, lr=0.1, batch_size=11),
    protocol="dc",
    presets={
        "special": {
            "teacher.lr": 0.3,
            "teacher.batch_size": 33,
            "regularizers.smooth": 3.0,
            "protocol.batch_size": 7,
        },
        "small-colour": {"teacher.lr": 0.4, "teacher.momentum": 0.6},
    },
)
KEEPER = Method(
    name="keeper",
    summary="x",
    recover=Recover(iterations=0),
    presets={"special": {"lr": 0.1, "batch": 10}, "small-grey": {"lr": 3.0, "batch": 20}},
    for_ipc={5: {"lr": 0.5}, 20: {"lr": 2.0, "recover.network": "convnet"}},
)
ROOMY = Protocol(name="roomy", model=Use(name="convnet", options={"width": 64}))


@pytest.fixture(scope="session")
def toys() -> Registry:
    common = {"teacher.lr": 0.2, "teacher.epochs": 2, "teacher.batch_size": 22}
    by_kind = {
        "small-grey": {
            "teacher.model": "convnet",
            "teacher.model.width": 8,
            "teacher.epochs": 7,
            "teacher.batch_size": 70,
        },
        "photographs": {"teacher.epochs": 8},
    }
    return registry_of(
        method=[TOY, KEEPER],
        feature_target=[
            FeatureTargetSpec(name="match", **PLAIN),
            FeatureTargetSpec(name="cross-entropy", **PLAIN),
        ],
        regularizer=[RegularizerSpec(name="smooth", **PLAIN)],
        initializer=[InitializerSpec(name="noise", options=NoiseOptions, **PLAIN)],
        parametrization=[ParametrizationSpec(name="identity", **PLAIN)],
        evaluator=[EvaluatorSpec(name="students", **PLAIN)],
        model=MODELS,
        protocol=[DC, FKD, ROOMY],
        dataset=[
            DatasetSpec(name="plain", **PLAIN),
            DatasetSpec(name="special", settings=common, takes="PATH", like="small-colour", **PLAIN),
            DatasetSpec(name="common", settings=common, **PLAIN),
            DatasetSpec(name="colour", settings=common, like="small-colour", **PLAIN),
            DatasetSpec(
                name="grey",
                settings={"teacher.epochs": 9, "teacher.model.depth": 2},
                like="small-grey",
                settings_by_kind=by_kind,
                settings_by_protocol={"fkd": {"protocol.epochs": 12, "teacher.model.depth": 1}},
                **PLAIN,
            ),
        ],
    )


# Plugins.


def offer(hook_name: str, name: str) -> Any:
    """The plainest thing that a hook may give."""
    expected = KINDS[hook_name][1]
    if expected is Method:
        return Method(name=name, summary="nothing", recover=Recover(iterations=0))
    if expected is Protocol:
        return Protocol(name=name, summary="nothing")
    return expected(name=name, summary="nothing", build="builtins:dict")


def hook(hook_name: str, *answer: Any) -> Callable[[], Sequence[Any]]:
    """A marked implementation of a hook that answers with `answer`."""

    def implementation() -> Sequence[Any]:
        return list(answer)

    implementation.__name__ = hook_name
    return hookimpl(implementation)


class Shelf:
    """Plugins that pretend to be installed."""

    offer = staticmethod(offer)
    hook = staticmethod(hook)

    @staticmethod
    def status_of(registry: Registry, name: str) -> PluginStatus:
        """What became of a plugin."""
        [status] = [status for status in registry.plugins if status.name == name]
        return status

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.points: list[importlib.metadata.EntryPoint] = []
        self._monkeypatch = monkeypatch
        self._folder = folder
        monkeypatch.setattr(importlib.metadata, "entry_points", self._entry_points)
        monkeypatch.syspath_prepend(str(folder))

    def _entry_points(self, *, group: str) -> list[importlib.metadata.EntryPoint]:
        return [point for point in self.points if point.group == group]

    def install(self, name: str, module: str) -> None:
        self.points.append(importlib.metadata.EntryPoint(name, module, "condense"))

    def add(self, name: str, module_name: str = "", **attributes: Any) -> None:
        """Install a plugin whose module has these attributes."""
        module = ModuleType(module_name or f"shelf_{name}")
        for attribute, value in attributes.items():
            setattr(module, attribute, value)
        self._monkeypatch.setitem(sys.modules, module.__name__, module)
        self.install(name, module.__name__)

    def offering(self, plugin: str, hook_name: str, *names: str, module: str = "") -> list[Any]:
        """Install a plugin that offers the plainest things of these names; the things."""
        specs = [offer(hook_name, name) for name in names]
        self.add(plugin, module, **{hook_name: hook(hook_name, *specs)})
        return specs

    def write(self, name: str, text: str) -> str:
        """Install a plugin that is a file; the name of its module."""
        module_name = f"shelf_file_{name}"
        (self._folder / f"{module_name}.py").write_text(text)
        self._monkeypatch.delitem(sys.modules, module_name, raising=False)
        self.install(name, module_name)
        return module_name


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shelf:
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    result = Shelf(monkeypatch, tmp_path)
    # Loaded after every bad plugin below, whose names come earlier in the alphabet.
    result.offering("good", "condense_methods", "sound")
    return result
