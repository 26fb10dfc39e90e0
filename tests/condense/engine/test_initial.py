"""Initial images: what an initializer may return, and that nothing but the seed and the class decides it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import condense
from condense.data.dataset import RealDataset
from condense.data.pixels import valid_range
from condense.engine.components import Initializer, InitialRequest
from condense.engine.initial import build_initializer
from condense.errors import CondenseError, InputChangedError, NumericalError, PluginError
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.specs import InitializerSpec
from condense.rng import generator
from condense.runtime import SilentReporter, make_runtime

Make = Callable[[InitialRequest], Any]
TITLE = "initializer 'odd' of plugin 'test'"


class Notes(SilentReporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Counting(Initializer):
    """Gives brighter images at every call: it remembers how often it was asked."""

    def __init__(self, options: Any) -> None:
        self.asked = 0

    def images(self, request: InitialRequest) -> Tensor:
        self.asked += 1
        return torch.full((request.ipc, 1, 8, 8), self.asked / 10)

    def slot_weights(self) -> Tensor:
        return torch.full((3, 2), float(self.asked))


class Site:
    """Asks an initializer that is made as a test wants."""

    def __init__(
        self, make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
    ) -> None:
        self.dataset, self._make_registry = make_dataset(), make_registry
        self.told = Notes()

    def registry(self, make: Make | type[Initializer], **spec: Any) -> Registry:
        def build(options: Any) -> Initializer:
            if isinstance(make, type):
                return make(options)
            made = Initializer()
            made.images = make  # type: ignore[method-assign]
            return made

        odd = InitializerSpec(name="odd", summary="x", build=build, **spec)
        return self._make_registry(self.dataset, initializers=[odd])

    def initializer(self, make: Make | type[Initializer], **spec: Any) -> Initializer:
        return build_initializer(Use(name="odd"), self.registry(make, **spec), 0)

    def request(self, label: int = 0) -> InitialRequest:
        return InitialRequest(
            label=label,
            ipc=2,
            dataset=self.dataset,
            generator=generator(0, "initialize", label),
            targets=(),
            teacher=None,
            runtime=make_runtime("cpu", "fp32", self.told),
        )


@pytest.fixture
def site(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Site:
    return Site(make_dataset, make_registry)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda _: [[0.0]], PluginError, "from images, and returned a list for class 'class 0'"),
        (lambda _: None, PluginError, "from images, and returned a NoneType for class 'class 0'"),
        (lambda _: torch.zeros(2, 3, 8, 8), PluginError, "and returned (2, 3, 8, 8) torch.float32 for class"),
        (
            lambda _: torch.zeros(2, 1, 8, 8).long(),
            PluginError,
            "and returned (2, 1, 8, 8) torch.int64 for class",
        ),
        (
            lambda _: torch.full((2, 1, 8, 8), torch.nan),
            NumericalError,
            "values that are not finite for class",
        ),
        (
            lambda _: torch.full((2, 1, 8, 8), torch.inf),
            NumericalError,
            "values that are not finite for class",
        ),
        (
            lambda request: request.dataset.train.images.pixels.zero_(),
            InputChangedError,
            "changed dataset.train.images in place in images",
        ),
        (
            lambda request: request.dataset.test.labels.add_(0),
            InputChangedError,
            "changed dataset.test.labels in place in images",
        ),
        (lambda request: request.nothing, PluginError, f"{TITLE} failed in images (test_initial.py, line "),
    ],
)
def test_images_that_cannot_be_used(make: Make, error: type[CondenseError], says: str, site: Site) -> None:
    with pytest.raises(error) as caught:
        site.initializer(make).images(site.request())
    assert says in str(caught.value) and TITLE in str(caught.value)


def test_values_that_are_no_pixels_are_clipped_and_told_once(site: Site) -> None:
    found = torch.zeros(2, 1, 8, 8)
    found[0, 0, 0, :4] = torch.tensor([-90.0, 90.0, 1.0, -1.0])
    low, high = valid_range(site.dataset.mean, site.dataset.std, found)
    initializer = site.initializer(lambda _: found)
    for label in (0, 1):
        images = initializer.images(site.request(label))
        assert images[0, 0, 0, :4].tolist() == [float(low), float(high), 1.0, -1.0]
    assert site.told.notes == [
        f"{TITLE} returned values outside of the range of pixels (1.6% of those of class 'class 0'); they are clipped"
    ]


def test_pixels_stay_to_the_bit_and_noise_may_go_beyond_them(site: Site) -> None:
    real = site.dataset.training_images(torch.arange(2))
    assert torch.equal(site.initializer(lambda _: real).images(site.request()), real)
    low, high = valid_range(site.dataset.mean, site.dataset.std, real)
    rounded = torch.where(real > 0, high + 1e-6, low - 1e-6).expand_as(real)
    assert torch.equal(site.initializer(lambda _: rounded).images(site.request()), rounded)
    noise = 50 * torch.randn(2, 1, 8, 8, generator=generator(0))
    initializer = site.initializer(lambda _: noise, beyond_pixels=True)
    assert torch.equal(initializer.images(site.request()), noise)
    assert site.told.notes == []


def test_an_initializer_remembers_nothing_from_class_to_class(site: Site) -> None:
    initializer = site.initializer(Counting)
    images = [initializer.images(site.request(label)) for label in range(3)]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])
    weights = initializer.slot_weights()
    assert weights is not None and torch.equal(
        weights, torch.zeros(3, 2)
    )  # as in a run that resumes behind it


def careless(request: InitialRequest) -> Tensor:
    """Images from all three global generators."""
    drawn = torch.rand(request.ipc, 1, 8, 8)
    drawn[0, 0, 0, 0] = random.random()
    drawn[0, 0, 0, 1] = float(np.random.rand())
    return drawn


def test_draws_from_global_generators_depend_on_the_seed(site: Site, tmp_path: Path) -> None:
    registry = site.registry(careless)

    def made(name: str, seed: int) -> Tensor:
        for draw in (random.random, np.random.rand, lambda: torch.rand(3)):
            draw()  # so that the state differs from call to call
        return condense.run(
            method="random",
            dataset="tiny",
            ipc=2,
            seed=seed,
            students=0,
            device="cpu",
            out=tmp_path,
            name=name,
            settings={"initializer": "odd"},
            registry=registry,
        ).distilled.images

    first = made("first", 0)
    assert torch.equal(made("second", 0), first)
    assert not torch.equal(made("third", 1), first)
    assert not torch.equal(first[:2], first[2:4])
