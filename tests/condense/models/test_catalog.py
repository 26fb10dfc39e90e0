"""The networks on offer can all be built from their descriptions."""

from __future__ import annotations

import pytest
import timm
from torch import nn

from condense.models.catalog import MODELS, ModelRequest
from condense.recipe.specs import ModelSpec

ARGUMENTS = {"torchvision": "mobilenet_v3_small", "timm": "resnet10t", "hf-hub": "test/resnet10t"}


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_a_model_is_built_with_its_default_options(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    make = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: make(name.removeprefix("hf-hub:test/"), **options)
    )
    argument = ARGUMENTS.get(spec.name, "")
    assert bool(spec.takes) == bool(argument)
    request = ModelRequest(
        argument=argument, classes=3, channels=3, size=32, build=lambda use: nn.Linear(3 * 32 * 32, 3)
    )
    model = spec.builder()(spec.options(), request)
    assert isinstance(model, nn.Module)


def test_names_are_unique() -> None:
    assert len({spec.name for spec in MODELS}) == len(MODELS)
