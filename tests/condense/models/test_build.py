"""Building networks from a generator, and filling them from files of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.errors import ModelError, OptionError, UnknownNameError
from condense.models.build import build_network
from condense.models.catalog import MODELS
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.registry import Offer, Registry
from condense.rng import generator
from condense.runtime import make_runtime

KINDS = ("model",)
REGISTRY = Registry({"model": {spec.name: Offer("condense", spec) for spec in MODELS}}, (), {})
RUNTIME = make_runtime("cpu", "fp32")


def dataset(size: int = 16, classes: int = 3, channels: int = 1) -> RealDataset:
    labels = torch.arange(classes)
    split = Split(MemoryImages(torch.zeros(classes, channels, size, size, dtype=torch.uint8)), labels)
    return RealDataset(
        name="toy",
        classes=tuple("abcdefgh"[:classes]),
        train=split,
        test=split,
        size=size,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
    )


def convnet(classes: int = 3, seed: int = 0, channels: int = 1, **options: Any) -> Network:
    use = Use(name="convnet", options={"width": 4, "depth": 2, **options})
    return build_network(use, dataset(classes=classes, channels=channels), REGISTRY, RUNTIME, generator(seed))


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Building.


def test_one_generator_gives_one_set_of_weights_and_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (weights_of(convnet(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet10t", "torchvision:mobilenet_v3_small"])
def test_the_networks_of_libraries_draw_from_the_generator_too(name: str) -> None:
    before = torch.get_rng_state()
    first, again = (
        weights_of(build_network(Use(name=name), dataset(channels=3), REGISTRY, RUNTIME, generator(5)))
        for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, again)


def test_a_network_fits_the_dataset_and_keeps_the_name_that_users_typed() -> None:
    network = convnet(classes=5, channels=3)
    assert network.name == "convnet"
    assert network.logits(torch.zeros(2, 3, 16, 16)).shape == (2, 5)


def test_networks_that_cannot_be_built() -> None:
    def build(use: Use) -> Network:
        return build_network(use, dataset(), REGISTRY, RUNTIME, generator(0))

    with pytest.raises(UnknownNameError, match=r"unknown model 'convnt'. Did you mean 'convnet'\?"):
        build(Use(name="convnt"))
    with pytest.raises(OptionError, match=r"unknown option 'convnet.widht'. Did you mean 'width'\?"):
        build(Use(name="convnet", options={"widht": 3}))
    with pytest.raises(OptionError, match="width must lie between 1 and 16384, not 0"):
        build(Use(name="convnet", options={"width": 0}))
    with pytest.raises(ModelError, match="set a smaller depth"):
        build(Use(name="convnet", options={"depth": 5}))
