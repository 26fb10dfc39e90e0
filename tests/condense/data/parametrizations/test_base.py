"""Coders: what a plugin answers is checked, and what it offers is described."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Parametrization, coder_of
from condense.errors import DataError, OptionError, PluginError, UnknownNameError
from condense.recipe.method import Use
from condense.recipe.registry import Registry, default_registry
from condense.recipe.specs import ParametrizationSpec

MakeRegistry = Callable[..., Registry]


class Given(Parametrization):
    """Answers with what it was made of: two functions."""

    def __init__(self, encode: Callable[[Tensor], Any], decode: Callable[[Tensor], Any]) -> None:
        self._encode, self._decode = encode, decode

    def encode(self, images: Tensor) -> Any:
        return self._encode(images)

    def decode(self, stored: Tensor) -> Any:
        return self._decode(stored)


def pairs(images: Tensor) -> Tensor:
    return images.repeat_interleave(2, dim=0)


def registry_of(make_registry: MakeRegistry, make_dataset: Any, build: Any, **more: Any) -> Registry:
    fields = {"name": "given", "summary": "x", "images_per_stored": 2, "build": lambda _: build, **more}
    return make_registry(make_dataset(), parametrizations=[ParametrizationSpec(**fields)])


@pytest.mark.parametrize(
    ("encode", "decode", "text"),
    [
        (
            lambda images: images,
            pairs,
            r"encode of .* gave \(2, 3, 8, 8\) torch.float32; wanted are \(1, 3, 8",
        ),
        (lambda images: images[::2, :, 1:], pairs, r"encode of .* gave \(1, 3, 7, 8\)"),
        (lambda images: images[::2].byte(), pairs, r"encode of .* torch.uint8"),
        (
            lambda images: images[::2],
            lambda stored: stored,
            r"decode of .* gave \(1, 3, 8, 8\).*\(2, 3, 8, 8\)",
        ),
        (lambda images: images[::2], lambda stored: 1 / 0, r"failed on images of 3x8x8: ZeroDivisionError"),
    ],
)
def test_another_shape_is_the_plugins_mistake(
    encode: Any,
    decode: Any,
    text: str,
    make_dataset: Callable[..., RealDataset],
    make_registry: MakeRegistry,
) -> None:
    registry = registry_of(make_registry, make_dataset, Given(encode, decode))
    with pytest.raises(PluginError, match=f"(?s){text}"):
        coder_of(Use(name="given"), registry).check(3, 8)


def test_an_error_for_users_stays_what_it_is(
    make_dataset: Callable[..., RealDataset], make_registry: MakeRegistry
) -> None:
    def refuse(images: Tensor) -> Tensor:
        raise DataError("too small")

    registry = registry_of(make_registry, make_dataset, Given(refuse, refuse))
    with pytest.raises(DataError, match="too small"):
        coder_of(Use(name="given"), registry).check(3, 8)


def test_anything_else_than_a_parametrization_is_refused(
    make_dataset: Callable[..., RealDataset], make_registry: MakeRegistry
) -> None:
    registry = registry_of(make_registry, make_dataset, 5)
    with pytest.raises(PluginError, match="was built as 5, which is not an instance of Parametrization"):
        coder_of(Use(name="given"), registry)


def test_names_and_options() -> None:
    registry = default_registry()
    coder = coder_of(Use(name="mosaic", options={"factor": 3}), registry)
    assert (coder.text, coder.images_per_stored) == ("mosaic(factor=3,reduce=fit)", 9)
    # Options that were left out are filled in, so that equal forms are equal.
    assert coder.use == coder_of(Use(name="mosaic", options={"factor": 3, "reduce": "fit"}), registry).use
    assert coder_of(Use(name="identity"), registry).text == "identity"
    with pytest.raises(UnknownNameError, match=r"unknown parametrization 'mosaik'\. Did you mean 'mosaic'"):
        coder_of(Use(name="mosaik"), registry)
    with pytest.raises(OptionError, match="factor must be at least 1"):
        coder_of(Use(name="mosaic", options={"factor": 0}), registry)


@pytest.mark.parametrize("count", [0, -1, 1.5, True, None])
def test_a_number_of_images_that_cannot_be(count: Any) -> None:
    with pytest.raises(ValueError, match=r"images_per_stored .*must be a whole number"):
        ParametrizationSpec(name="given", summary="x", build="a:b", images_per_stored=count)
    spec = ParametrizationSpec(name="given", summary="x", build="a:b", images_per_stored=lambda _: count)
    with pytest.raises(PluginError, match="must be a whole number of at least 1"):
        spec.held(None)


def test_the_images_of_stored_images() -> None:
    coder = coder_of(Use(name="mosaic"), default_registry())
    assert coder.of_decoded(torch.tensor([2, 0])).tolist() == [8, 9, 10, 11, 0, 1, 2, 3]
