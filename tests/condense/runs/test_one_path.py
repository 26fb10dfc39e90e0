"""A first run and a resumed one take one path: what a loss does not save has no effect, and what it lacks is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Parametrization
from condense.engine.components import (
    EvaluationRequest,
    Evaluator,
    FeatureTarget,
    Initializer,
    InitialRequest,
    StudentResult,
)
from condense.errors import PluginError, StorageError
from condense.models.observation import Observation
from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.needs import Needs, ThroughTeacher
from condense.recipe.registry import Registry
from condense.recipe.specs import EvaluatorSpec, FeatureTargetSpec, InitializerSpec, ParametrizationSpec
from condense.storage.files import read_json, write_json


class Means(FeatureTarget):
    """The distance to the mean feature of all real images, kept as it should be."""

    def __init__(self, options: Any) -> None:
        self.total, self.count, self.mean = torch.zeros(()), 0, torch.zeros(())

    def observe(self, real: Observation) -> None:
        self.total, self.count = self.total + real.features.sum(dim=0), self.count + len(real.features)

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        self.mean = self.total / self.count

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return F.mse_loss(synthetic.features, self.mean.expand_as(synthetic.features), reduction="sum")

    def state(self) -> Any:
        return {"mean": self.mean}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.mean = state["mean"]


class Forgetful(Means):
    """Saves nothing under the name that it restores."""

    def state(self) -> Any:
        return {"means": self.mean}


class Silent(Means):
    """Restores nothing: without `fit` its mean is 0."""

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass


class Rounded(Means):
    """Saves two digits of what it fitted."""

    def state(self) -> Any:
        return {"mean": self.mean.round(decimals=1)}


class Growing(Means):
    """Counts its calls, and changes in place what it restored."""

    calls = 0

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.calls += 1
        self.mean.add_(1)
        return super().loss(synthetic, real) * self.calls


class Gambling(Means):
    """Adds draws of global generators to what it saw."""

    def observe(self, real: Observation) -> None:
        super().observe(real)
        self.total = self.total + torch.rand(()) + random.random()

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        super().fit(ipc, generator)
        self.mean = self.mean + float(np.random.rand())


class Listing(Means):
    def state(self) -> Any:
        return {"mean": self.mean.tolist()}


class Bare(Means):
    def state(self) -> Any:
        return [self.mean]


class Stopping(Means):
    def observe(self, real: Observation) -> None:
        raise ZeroDivisionError("nothing to divide")


class Doubling(Means):
    def observe(self, real: Observation) -> None:
        super().observe(real)
        real.features.mul_(2)


DRAWN: list[tuple[str, float, float, float]] = []


def gamble(where: str) -> None:
    """Write down a draw of every global generator."""
    DRAWN.append((where, random.random(), float(np.random.rand()), float(torch.rand(()))))


class Reckless(Means):
    """Draws from the global generators wherever it is called."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        gamble("build")

    def begin(self, classes: int, generator: torch.Generator) -> None:
        gamble("begin")

    def observe(self, real: Observation) -> None:
        super().observe(real)
        gamble("observe")

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        super().fit(ipc, generator)
        gamble("fit")

    def state(self) -> Any:
        gamble("state")
        return super().state()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        super().restore(state)
        gamble("restore")

    def slot_weights(self) -> Tensor | None:
        gamble("slot_weights")
        return None

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        gamble("loss")
        return super().loss(synthetic, real)


class RecklessStart(Initializer):
    def __init__(self, options: Any) -> None:
        gamble("build of the initializer")

    def check(self, targets: Sequence[FeatureTarget]) -> None:
        gamble("check")

    def images(self, request: InitialRequest) -> Tensor:
        gamble("images")
        return request.dataset.training_images(request.real()[: request.ipc])

    def slot_weights(self) -> Tensor | None:
        gamble("slot_weights of the initializer")
        return None


class RecklessJudge(Evaluator):
    def __init__(self, options: Any) -> None:
        gamble("build of the evaluator")

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        gamble("evaluate")
        return StudentResult(student=request.student, accuracy=0.5, seconds=1.0, steps=1)


class RecklessForm(Parametrization):
    def __init__(self, options: Any) -> None:
        gamble("build of the parametrization")

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, stored: Tensor) -> Tensor:
        return stored


TAUGHT = (Reckless, Means, Forgetful, Silent, Rounded, Growing, Gambling, Listing, Bare, Stopping, Doubling)


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    names = {kind.__name__.lower(): kind for kind in TAUGHT}
    targets = [
        FeatureTargetSpec(
            name=name, summary="x", build=kind, needs=Needs(through=ThroughTeacher(observes=True))
        )
        for name, kind in names.items()
    ]
    methods = [
        Method(
            name=name,
            summary="x",
            initializer=Use(name="real"),
            targets={name: Weighted()},
            recover=Recover(iterations=3, lr=0.1),
        )
        for name in names
    ]
    more = {
        "initializers": [InitializerSpec(name="reckless", summary="x", build=RecklessStart)],
        "evaluators": [EvaluatorSpec(name="reckless", summary="x", build=RecklessJudge)],
        "parametrizations": [ParametrizationSpec(name="reckless", summary="x", build=RecklessForm)],
    }
    return make_registry(make_dataset(), feature_targets=targets, methods=methods, **more)


def images(site: Any, method: str, name: str, **options: Any) -> Tensor:
    found: Tensor = site.run(method, name=name, students=0, **options).distilled.images
    return found


@pytest.mark.parametrize("method", ["means", "silent", "rounded", "growing", "gambling"])
def test_a_resumed_run_gives_the_same_images_whatever_a_loss_forgets(method: str, site: Any) -> None:
    whole = images(site, method, "whole")
    for index, event in enumerate(("start recover", "advance recover")):
        diary = site.diary(stop=event)
        with pytest.raises(site.Stopped):
            site.run(method, name=f"cut-{index}", students=0, reporter=diary)
        assert torch.equal(images(site, method, f"cut-{index}", resume=True), whole)
    # After the first of two chunks.
    (site.out / "whole" / "chunks" / "00001.safetensors").unlink()
    assert torch.equal(images(site, method, "whole", resume=True), whole)


def test_one_seed_gives_one_set_of_images_also_with_global_draws(site: Any) -> None:
    first = images(site, "gambling", "first")
    random.random(), np.random.rand(), torch.rand(3)
    assert torch.equal(images(site, "gambling", "second"), first)


def test_global_generators_are_seeded_around_every_call_into_a_plugin(site: Any) -> None:
    """Two runs draw the same wherever a plugin is called, and leave the generators of the caller as they were."""
    settings = dict.fromkeys(("initializer", "evaluator", "parametrization"), "reckless")

    def drawn(name: str) -> list[tuple[str, float, float, float]]:
        DRAWN.clear()
        site.run("reckless", name=name, settings=settings)
        return list(DRAWN)

    first = drawn("first")
    random.random(), np.random.rand(), torch.rand(3)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert drawn("second") == first
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert before[:2] == after[:2] and torch.equal(before[2], after[2])
    hooks = (
        "begin",
        "observe",
        "fit",
        "state",
        "restore",
        "slot_weights",
        "loss",
        "check",
        "images",
        "evaluate",
    )
    builds = ("build", *(f"build of the {part}" for part in settings))
    assert {where for where, *_ in first} == {*hooks, *builds, "slot_weights of the initializer"}


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("forgetful", "failed in restore (test_one_path.py, line "),
        ("forgetful", "KeyError: 'mean'"),
        ("listing", "has 'mean', which must be a tensor and is ["),
        ("bare", "must be a dict of tensors, and is [tensor("),
        ("stopping", "failed in observe (test_one_path.py, line "),
        ("doubling", "changed real.features in place in observe"),
    ],
)
def test_what_a_loss_does_wrong_is_told_in_the_first_run(method: str, says: str, site: Any) -> None:
    with pytest.raises(PluginError) as caught:
        site.run(method, name="one", students=0)
    assert says in str(caught.value)
    assert f"feature target '{method}' of plugin 'test'" in str(caught.value)
    assert site.saved(site.out / "one")["failure"] == str(caught.value)


def test_an_edited_plugin_is_not_mixed_with_its_old_results(site: Any) -> None:
    """run.json holds the hash of what was used; here the plugin "wmdd" is said to have been another one then."""
    result = site.run(name="one", students=0)
    file = result.path / "run.json"
    data = read_json(file)
    assert set(data["sources"]) == {"wmdd"}
    write_json(file, {**data, "sources": {"wmdd": "0" * 16}})
    with pytest.raises(StorageError, match="the source of plugin 'wmdd' has changed since"):
        site.run(name="one", students=0, resume=True)
    older = {key: value for key, value in data.items() if key != "sources"}
    write_json(file, older)  # as versions before wrote it
    site.run(name="one", students=0, resume=True)
    assert set(read_json(file)["sources"]) == {"wmdd"}
