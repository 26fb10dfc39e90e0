"""Plugins that are written by a test and installed in a folder of its own, for this process and for others."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from condense.recipe.registry import DISABLE_VARIABLE, Registry, load_registry

# A plugin that keeps the contract: NAME offers a method, its target, its regularizer and its initializer.
PLUGIN = '''
from dataclasses import dataclass
from condense import FeatureTargetSpec, InitializerSpec, Method, Needs, Recover, RegularizerSpec
from condense import ImagesAlone, ThroughTeacher, Use, Weighted, hookimpl


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """scale: of the loss. shift: what is added to the means."""

    scale: float = 0.5
    shift: float = 0.25

    def __post_init__(self):
        if self.scale <= 0:
            raise ValueError("scale must be above 0")


@hookimpl
def condense_feature_targets():
    needs = Needs(through=ThroughTeacher(observes=True))
    return [FeatureTargetSpec(name="t-NAME", summary="x", options=TargetOptions, needs=needs, build="PARTS:Target")]


@hookimpl
def condense_regularizers():
    needs = Needs(through=ImagesAlone())
    return [RegularizerSpec(name="r-NAME", summary="x", needs=needs, build="PARTS:Smooth")]


@hookimpl
def condense_initializers():
    return [InitializerSpec(name="i-NAME", summary="x", build="PARTS:Start")]


@hookimpl
def condense_methods():
    return [
        Method(
            name="m-NAME",
            summary="x",
            initializer=Use(name="i-NAME"),
            targets={"t-NAME": Weighted()},
            regularizers={"r-NAME": Weighted(0.1)},
            recover=Recover(iterations=50, lr=0.05),
            presets={"small-grey": {"targets.t-NAME.scale": 0.7}},
        )
    ]
'''

PARTS = """
import torch
import torch.nn.functional as F
from condense import FeatureTarget, Initializer, Regularizer

memory = {}


class Target(FeatureTarget):
    def __init__(self, options):
        self.options = options
        self.shift = torch.tensor(0.0)

    def begin(self, classes, generator):
        self.sums, self.counts = torch.zeros(classes, 1), torch.zeros(classes, 1)

    def observe(self, real):
        mine = F.one_hot(real.batch.labels, len(self.counts)).float()
        self.sums = self.sums + mine.T @ real.features
        self.counts = self.counts + mine.sum(dim=0)[:, None]

    def fit(self, ipc, generator):
        self.means = self.sums / self.counts
        self.shift = torch.tensor(self.options.shift)

    def loss(self, synthetic, real):
        means = synthetic.batch.membership @ synthetic.features
        wanted = self.means[synthetic.batch.classes] + self.shift
        return self.options.scale * (means - wanted).square().sum()

    def state(self):
        return {"means": self.means, "shift": self.shift}

    def restore(self, state):
        self.means, self.shift = state["means"], state["shift"]


class Smooth(Regularizer):
    def __init__(self, options):
        self.options = options

    def loss(self, synthetic, real):
        return synthetic.images.diff(dim=3).square().mean()


class Start(Initializer):
    def __init__(self, options):
        self.options = options

    def images(self, request):
        shape = (request.ipc, request.dataset.channels, request.dataset.size, request.dataset.size)
        return torch.rand(shape, generator=request.generator)
"""
_NUMBERS = itertools.count()
# Writes and installs the plugin with texts changed (old, new, old, new, ...); its name, and what is offered then.
Written = Callable[..., tuple[str, Registry]]


@pytest.fixture
def write_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Written]:
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def write(*changes: str) -> tuple[str, Registry]:
        pairs = list(zip(changes[::2], changes[1::2], strict=True))
        name = f"plant{next(_NUMBERS)}"
        modules.extend((f"{name}_plugin", f"{name}_parts"))
        for module, text in ((f"{name}_plugin", PLUGIN), (f"{name}_parts", PARTS)):
            for old, new in pairs:
                text = text.replace(old, new)
            text = text.replace("NAME", name).replace("PARTS", f"{name}_parts")
            (tmp_path / f"{module}.py").write_text(text)
        assert all((PLUGIN + PARTS).count(old) == 1 for old, _ in pairs), changes
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[condense]\n{name} = {name}_plugin\n")
        importlib.invalidate_caches()
        return name, load_registry()

    yield write
    for module in modules:
        sys.modules.pop(module, None)
