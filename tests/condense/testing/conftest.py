"""Plugins that are written by a test and installed in a folder of its own, for this process and for others."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

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
# A plugin that keeps the contract, with one of everything that is looked at by itself.
OFFERS = """
from condense import DatasetSpec, ExecutorSpec, ModelSpec, ParametrizationSpec, Protocol, Use, hookimpl


@hookimpl
def condense_datasets():
    facts = {"classes": 3, "images": (24, 9), "side": 8}
    return [DatasetSpec(name="d-NAME", summary="x", like="small-colour", build="PARTS:load", **facts)]


@hookimpl
def condense_protocols():
    return [Protocol(name="p-NAME", summary="x", lr=0.01, epochs=40, model=Use(name="n-NAME"))]


@hookimpl
def condense_models():
    return [ModelSpec(name="n-NAME", summary="x", build="PARTS:network")]


@hookimpl
def condense_parametrizations():
    held = {"images_per_stored": 2, "minimum_side": 2}
    return [ParametrizationSpec(name="h-NAME", summary="x", build="PARTS:Halves", **held)]


@hookimpl
def condense_executors():
    return [ExecutorSpec(name="e-NAME", summary="x", build="PARTS:Forked")]
"""

OFFERED_PARTS = """
import contextlib, itertools, os, signal, time
import torch
import torch.nn.functional as F
from condense import Crew, DataError, Executor, Failed, Finished, MemoryImages, Parametrization, RealDataset, Split

built = itertools.count()


def load(options, request):
    file = request.data_dir / "d-images.pt"
    if not file.exists():
        raise DataError(f"{file} is not there; put it there")
    pixels, labels = torch.load(file)
    parts = [Split(MemoryImages(pixels[place]), labels[place]) for place in (slice(24), slice(24, None))]
    facts = {"classes": ("a", "b", "c"), "size": 8, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return RealDataset(name=request.name, train=parts[0], test=parts[1], **facts)


class Net(torch.nn.Module):
    def __init__(self, request):
        super().__init__()
        self.first = torch.nn.Conv2d(request.channels, 4, 3, padding=1)
        self.last = torch.nn.Linear(16, request.classes)
        self.seen = 0

    def forward(self, images):
        return self.last(F.adaptive_avg_pool2d(self.first(images).relu(), 2).flatten(1))


def network(options, request):
    return Net(request)


class Halves(Parametrization):
    def __init__(self, options):
        self.options = options

    def encode(self, images):
        if images.shape[2] < 2 or images.shape[2] % 2:
            raise DataError(f"{images.shape[2]} pixels have no halves")
        small = (images[:, :, ::2] + images[:, :, 1::2]) / 2
        return torch.cat([small[::2], small[1::2]], dim=2)

    def decode(self, stored):
        halves = torch.stack(stored.chunk(2, dim=2), dim=1).flatten(0, 1)
        return halves.repeat_interleave(2, dim=2)

    def unfolding(self):
        return (
            "def unfold(images):\\n"
            "    halves = torch.stack(images.chunk(2, dim=2), dim=1).flatten(0, 1)\\n"
            "    return halves.repeat_interleave(2, dim=2)\\n"
        )


class Told:
    def __init__(self, piece, tell):
        self.piece, self.tell = piece, tell

    def start(self, *arguments):
        self.tell(self.piece, ("start", arguments))

    def advance(self, count, values=None):
        self.tell(self.piece, ("advance", (count, values)))

    def finish(self, summary=""):
        self.tell(self.piece, ("finish", (summary,)))

    def note(self, text):
        self.tell(self.piece, ("note", (text,)))


class OneByOne(Crew):
    size = 1

    def __init__(self, site, tell):
        self.site, self.tell, self.piece = site, tell, None

    def idle(self):
        return int(self.piece is None)

    def give(self, piece):
        self.piece = piece

    def wait(self):
        piece, self.piece = self.piece, None
        return [self.done(piece)]

    def done(self, piece):
        began = time.perf_counter()
        try:
            facts = self.site.do(piece, Told(piece, self.tell))
        except Exception as error:
            return Failed(piece=piece, error=error, seconds=time.perf_counter() - began)
        return Finished(piece=piece, facts=facts, seconds=time.perf_counter() - began)


class Forked(Executor):
    def __init__(self, options):
        self.options = options

    @contextlib.contextmanager
    def crew(self, order, own, tell):
        yield OneByOne(own, tell)
"""
_NUMBERS = itertools.count()
# Writes and installs the plugin with texts changed (old, new, old, new, ...); its name, and what is offered then.
Written = Callable[..., tuple[str, Registry]]
# The same for any plugin: the texts of its two modules, and what is changed.
Installed = Callable[[str, str, Sequence[str]], tuple[str, Registry]]


@pytest.fixture
def write_plugin(installed: Installed) -> Written:
    return lambda *changes: installed(PLUGIN, PARTS, changes)


@pytest.fixture
def write_offers(installed: Installed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Written:
    """The plugin of what is looked at by itself; the images of its dataset are there."""
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (33, 3, 8, 8), generator=draws).to(torch.uint8)
    torch.save((pixels, torch.arange(33) % 3), tmp_path / "d-images.pt")
    monkeypatch.setenv("CONDENSE_DATA_DIR", str(tmp_path))
    return lambda *changes: installed(OFFERS, OFFERED_PARTS, changes)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Installed]:
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    modules: list[str] = []

    def write(plugin: str, parts: str, changes: Sequence[str]) -> tuple[str, Registry]:
        pairs = list(zip(changes[::2], changes[1::2], strict=True))
        assert all((plugin + parts).count(old) == 1 for old, _ in pairs), changes
        name = f"plant{next(_NUMBERS)}"
        modules.extend((f"{name}_plugin", f"{name}_parts"))
        for module, text in ((f"{name}_plugin", plugin), (f"{name}_parts", parts)):
            for old, new in pairs:
                text = text.replace(old, new)
            text = text.replace("NAME", name).replace("PARTS", f"{name}_parts")
            (tmp_path / f"{module}.py").write_text(text)
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[condense]\n{name} = {name}_plugin\n")
        importlib.invalidate_caches()
        return name, load_registry()

    yield write
    for module in modules:
        sys.modules.pop(module, None)
