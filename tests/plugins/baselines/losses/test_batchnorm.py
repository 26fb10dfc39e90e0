"""Statistics of the whole batch: the loss against raw layer inputs, where it is 0, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from condense_baselines.losses.batchnorm import BatchNorm
from condense_baselines.options import BatchNormOptions
from torch import Tensor, nn

import condense
from condense.data.dataset import RealDataset
from condense.errors import ModelError, OptionError
from condense.models.network import Network
from condense.models.observation import BatchLabels
from condense.recipe.registry import Registry, load_registry
from condense.recipe.settings import options_of

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRegistry = Callable[..., Registry]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def norms_of(network: Network) -> list[nn.BatchNorm2d]:
    return [module for module in network.model.modules() if isinstance(module, nn.BatchNorm2d)]


def layer_inputs(network: Network, images: Tensor) -> list[Tensor]:
    """What each BatchNorm layer gets, (B, C, H, W), by plain hooks."""
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        for layer in norms_of(network)
    ]
    network.model(images)
    for hook in hooks:
        hook.remove()
    return found


def running(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    return cast("Tensor", layer.running_mean), cast("Tensor", layer.running_var)


def slow_terms(network: Network, images: Tensor) -> list[Tensor]:
    """||mu - running_mean|| + ||var - running_var|| of each layer, over the batch and all positions."""
    terms = []
    for layer, seen in zip(norms_of(network), layer_inputs(network, images), strict=True):
        mean, variance = running(layer)
        terms.append(
            torch.linalg.vector_norm(seen.mean((0, 2, 3)) - mean)
            + torch.linalg.vector_norm(seen.var((0, 2, 3), correction=0) - variance)
        )
    return terms


def loss(network: Network, images: Tensor, labels: Sequence[int], **options: Any) -> Tensor:
    weights = torch.rand(len(labels), generator=seeded(9)) + 0.1
    batch = BatchLabels.of(torch.tensor(labels), torch.zeros(len(labels), dtype=torch.int64), weights)
    seen = network.observe(images, batch, ["batchnorm"])
    return BatchNorm(BatchNormOptions(**options)).loss(seen, None)


def take_statistics(network: Network, images: Tensor) -> None:
    """Make the running statistics those of `images`; one layer after another, for each changes the next's input."""
    for index, layer in enumerate(norms_of(network)):
        with torch.no_grad():
            seen = layer_inputs(network, images)[index]
            mean, variance = running(layer)
            mean.copy_(seen.mean((0, 2, 3)))
            variance.copy_(seen.var((0, 2, 3), correction=0))


@pytest.mark.parametrize("labels", [(0,), (1, 1, 1), (0, 1, 2), (2, 0, 1, 1, 0, 2, 0)])
@pytest.mark.parametrize("first", [10.0, 1.0, 0.0])
@pytest.mark.parametrize("width", [3, 8])
def test_the_loss_is_that_of_the_raw_inputs(
    labels: tuple[int, ...], first: float, width: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """For batches of one class and of several, whatever the weights of the images: they all count the same."""
    network = make_network(make_dataset(channels=3), width=width)
    images = torch.randn(len(labels), 3, 8, 8, generator=seeded(len(labels)))
    terms = slow_terms(network, images)
    assert len(terms) == 2
    got = loss(network, images, labels, first_weight=first)
    assert got.shape == ()
    torch.testing.assert_close(got, first * terms[0] + terms[1], rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_raw_inputs(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    network = make_network(make_dataset())
    images = torch.randn(5, 1, 8, 8, generator=seeded(), requires_grad=True)
    (got,) = torch.autograd.grad(loss(network, images, (0, 0, 1, 2, 2)), images)
    terms = slow_terms(network, images)
    (slow,) = torch.autograd.grad(10 * terms[0] + terms[1], images)
    torch.testing.assert_close(got, slow, rtol=1e-3, atol=1e-5)


def test_it_is_zero_at_the_running_statistics_and_not_at_those_of_a_class(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    network = make_network(dataset)
    images = dataset.training_images(torch.arange(len(dataset.train)))
    labels = dataset.train.labels
    take_statistics(network, images)
    assert loss(network, images, labels.tolist()).item() < 1e-3
    for label in range(3):
        of_class = images[labels == label]
        assert loss(network, of_class, [label] * len(of_class)).item() > 1


def test_the_gradient_is_finite_where_the_loss_is_zero(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Black images and layers that expect nothing but zeros: every gap is exactly 0."""
    network = make_network(make_dataset())
    for module in network.model.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for layer in norms_of(network):
        mean, variance = running(layer)
        mean.zero_()
        variance.zero_()
        nn.init.zeros_(layer.bias)
    images = torch.zeros(4, 1, 8, 8, requires_grad=True)
    got = loss(network, images, (0, 1, 2, 2))
    assert got.item() < 1e-4
    (gradient,) = torch.autograd.grad(got, images)
    assert bool(torch.isfinite(gradient).all())


def test_it_measures_nothing_and_takes_any_mixture_of_classes() -> None:
    options = BatchNormOptions()
    needs = load_registry().find("regularizer", "batchnorm").needs_of(options)
    assert needs.network == "teacher"
    assert needs.statistics == ("batchnorm",)
    assert not needs.observes
    assert needs.at_once == "batch"
    assert needs.each_member
    assert BatchNorm(options).state() == {}


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_the_first_weight_is_checked(value: float) -> None:
    with pytest.raises(ValueError, match=r"first_weight must be (0 or more|a finite number)"):
        BatchNormOptions(first_weight=value)
    use = condense.Use(name="batchnorm", options={"first_weight": value})
    with pytest.raises(OptionError, match="first_weight"):
        options_of(use, "regularizer", load_registry())


def test_a_network_without_batch_norm_is_refused(
    tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry
) -> None:
    settings = {"iterations": 1, "teacher.model.norm": "instance", "protocol.epochs": 1}
    with pytest.raises(ModelError, match=r"'batchnorm'.*BatchNorm.*--set teacher\.model=NAME"):
        condense.run(
            method="sre2l",
            dataset="tiny",
            ipc=1,
            students=0,
            out=tmp_path,
            device="cpu",
            settings=settings,
            registry=make_registry(make_dataset()),
        )
