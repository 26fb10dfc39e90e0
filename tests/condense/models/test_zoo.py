"""Networks of torchvision and timm: stems by size, unknown names, weights that cannot be fetched."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision.models
from torch import nn

from condense.errors import ModelError, UnknownNameError
from condense.models.catalog import ModelRequest, ResNetOptions, ZooOptions
from condense.models.zoo import build_resnet18, build_timm, build_torchvision


def request(size: int, channels: int = 3, argument: str = "", classes: int = 4) -> ModelRequest:
    return ModelRequest(argument=argument, classes=classes, channels=channels, size=size)


@pytest.mark.parametrize(
    ("size", "channels", "stem", "side"),
    [
        (224, 3, "auto", 56),
        (128, 3, "auto", 32),
        (127, 3, "auto", 64),
        (64, 3, "auto", 32),
        (48, 3, "auto", 24),
        (47, 3, "auto", 47),
        (28, 1, "auto", 28),
        (32, 3, "imagenet", 8),
        (32, 1, "imagenet", 8),
        (32, 1, "tiny", 16),
        (64, 3, "cifar", 64),
    ],
)
def test_the_stem_of_resnet18(size: int, channels: int, stem: Any, side: int) -> None:
    model: Any = build_resnet18(ResNetOptions(stem=stem), request(size, channels))
    images = torch.zeros(2, channels, size, size)
    assert model.maxpool(model.conv1(images)).shape == (2, 64, side, side)
    assert model.fc.out_features == 4


def test_the_stem_is_never_larger_than_the_kernel_published_for_it() -> None:
    kernels = {
        stem: build_resnet18(ResNetOptions(stem=stem), request(64)).get_submodule("conv1").kernel_size
        for stem in ("imagenet", "tiny", "cifar")
    }
    assert kernels == {"imagenet": (7, 7), "tiny": (3, 3), "cifar": (3, 3)}


@pytest.mark.parametrize("stem", ["tiny", "cifar"])
def test_pretrained_weights_exist_for_one_stem(stem: Any) -> None:
    with pytest.raises(ValueError, match=f"pretrained weights exist for stem imagenet only, not {stem}"):
        ResNetOptions(stem=stem, pretrained=True)


def test_networks_by_name() -> None:
    model = build_torchvision(ZooOptions(), request(64, argument="mobilenet_v3_small"))
    assert model.get_submodule("classifier.3").out_features == 4
    grey = build_timm(ZooOptions(), request(64, channels=1, argument="resnet10t"))
    assert grey(torch.zeros(2, 1, 64, 64)).shape == (2, 4)


@pytest.mark.parametrize(
    ("build", "argument", "message"),
    [
        (build_torchvision, "resnet81", "unknown torchvision model 'resnet81'. Did you mean 'resnet"),
        (build_timm, "resnet81x", "unknown timm model 'resnet81x'. Did you mean 'resnet"),
        (build_timm, "zzzzzz", "unknown timm model 'zzzzzz'"),
    ],
)
def test_an_unknown_network_lists_a_few_that_are_alike(build: Any, argument: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message) as caught:
        build(ZooOptions(), request(64, argument=argument))
    assert len(str(caught.value)) < 1500


def test_torchvision_takes_colour_images_only() -> None:
    with pytest.raises(
        ModelError, match="torchvision:resnet34 takes colour images, and these have 1 channel"
    ):
        build_torchvision(ZooOptions(), request(64, channels=1, argument="resnet34"))


def offline(*_arguments: Any, **_options: Any) -> nn.Module:
    raise OSError("no route to host")


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet34", "timm:resnet10t"])
def test_weights_that_cannot_be_fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    library, _, argument = name.partition(":")
    with pytest.raises(
        ModelError, match=r"could not be fetched .no route to host.*--teacher FILE.*pretrained=false"
    ):
        if library == "resnet18":
            build_resnet18(ResNetOptions(pretrained=True), request(224))
        elif library == "torchvision":
            build_torchvision(ZooOptions(pretrained=True), request(224, argument=argument))
        else:
            build_timm(ZooOptions(pretrained=True), request(224, argument=argument))


@pytest.mark.parametrize(("classes", "fresh"), [(4, True), (1000, False)])
def test_the_classifier_is_new_where_the_number_of_classes_differs(
    classes: int, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = torchvision.models.mobilenet_v3_small(weights=None)
    before = fetched.classifier[3]
    monkeypatch.setattr(torchvision.models, "get_model", lambda _name, weights: fetched)
    model = build_torchvision(
        ZooOptions(pretrained=True), request(224, argument="mobilenet_v3_small", classes=classes)
    )
    classifier = model.get_submodule("classifier.3")
    assert (classifier is not before) is fresh
    assert classifier.out_features == classes
    assert model.get_submodule("classifier.0") is fetched.classifier[0]
