"""Statistics of convolutions: the loss against raw inputs, where it is 0, and each network by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from condense_baselines.losses.convolutions import Convolutions
from condense_baselines.options import ConvolutionsOptions
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.engine.components import WeightedLoss
from condense.engine.measure import check_teacher, measure
from condense.errors import ModelError
from condense.models.ensemble import Ensemble
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def needs(**options: Any) -> Needs:
    """What the plugin declares for the regularizer with these options."""
    found: Needs = (
        load_registry().find("regularizer", "convolutions").needs_of(ConvolutionsOptions(**options))
    )
    return found


def fitted(dataset: RealDataset, teacher: Network, *, batch_size: int = 4, **options: Any) -> Convolutions:
    regularizer = Convolutions(ConvolutionsOptions(**options))
    weighted = WeightedLoss(name="convolutions", loss=regularizer, weight=1.0, needs=needs(**options))
    measure([weighted], teacher, dataset, RUNTIME, batch_size=batch_size, seed=0, ipc=2)
    return regularizer


def look(network: Network, images: Tensor, labels: Sequence[int]) -> Observation:
    weights = torch.rand(len(labels), generator=seeded(9)) + 0.1
    batch = BatchLabels.of(torch.tensor(labels), torch.zeros(len(labels), dtype=torch.int64), weights)
    return network.observe(images, batch, ["convolutions"])


def statistics(network: Network, images: Tensor, *, patches: bool) -> list[list[Tensor]]:
    """Means and variances of what each convolution gets, by plain hooks: of channels, and of 4x4 patches."""
    found: list[list[Tensor]] = []

    def keep(_layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        x = inputs[0]
        pieces = [x.movedim(1, 0).flatten(1)]
        if patches:
            squares = x.unfold(2, 4, 4).unfold(3, 4, 4)
            pieces.append(squares.permute(2, 3, 0, 1, 4, 5).flatten(0, 1).flatten(1))
        found.append([value for piece in pieces for value in (piece.mean(1), piece.var(1, correction=0))])

    hooks = [
        module.register_forward_hook(keep)
        for module in network.model.modules()
        if isinstance(module, nn.Conv2d)
    ]
    network.model(images)
    for hook in hooks:
        hook.remove()
    return found


def slow(network: Network, images: Tensor, real: Tensor, *, first: float, patches: bool) -> Tensor:
    total = torch.zeros(())
    pairs = zip(
        statistics(network, images, patches=patches), statistics(network, real, patches=patches), strict=True
    )
    for index, (got, wanted) in enumerate(pairs):
        for value, goal in zip(got, wanted, strict=True):
            total = total + (1.0 if index else first) * torch.linalg.vector_norm(value - goal)
    return total


@pytest.mark.parametrize("labels", [(0,), (1, 1, 1), (2, 0, 1, 1, 0, 2, 0)])
@pytest.mark.parametrize(("first", "patches"), [(10.0, True), (1.0, False), (0.0, True)])
def test_the_loss_is_that_of_the_raw_inputs(
    labels: tuple[int, ...], first: float, patches: bool, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """All images count the same, whatever their weights and classes."""
    dataset = make_dataset(channels=3)
    network = make_network(dataset)
    real = dataset.training_images(torch.arange(len(dataset.train)))
    images = torch.randn(len(labels), 3, 8, 8, generator=seeded(len(labels)), requires_grad=True)
    got = fitted(dataset, network, first_weight=first, patches=patches).loss(
        look(network, images, labels), None
    )
    expected = slow(network, images, real, first=first, patches=patches)
    assert got.shape == ()
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    (gradient,) = torch.autograd.grad(got, images)
    (slow_gradient,) = torch.autograd.grad(expected, images)
    torch.testing.assert_close(gradient, slow_gradient, rtol=1e-3, atol=1e-4)


def test_it_is_zero_on_the_real_images_and_not_on_those_of_a_class(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    network = make_network(dataset)
    regularizer = fitted(dataset, network)
    images = dataset.training_images(torch.arange(len(dataset.train))).requires_grad_(True)
    labels = dataset.train.labels
    loss = regularizer.loss(look(network, images, labels.tolist()), None)
    assert loss.item() < 1e-3
    (gradient,) = torch.autograd.grad(loss, images)
    assert bool(torch.isfinite(gradient).all())
    of_class = images[labels == 0]
    assert regularizer.loss(look(network, of_class, [0] * len(of_class)), None).item() > 1


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_batches_of_the_measure_stage_do_not_matter(
    batch_size: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    network = make_network(dataset)
    one, other = fitted(dataset, network), fitted(dataset, network, batch_size=batch_size)
    for name, value in one.state().items():
        torch.testing.assert_close(value, other.state()[name], rtol=1e-5, atol=1e-6)


def test_each_network_of_an_ensemble_has_statistics_of_its_own(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    networks = [make_network(dataset), make_network(dataset, width=4, seed=1)]
    pair = Network(Ensemble(("a", "b"), [network.model for network in networks]), "pair").frozen()
    regularizer = fitted(dataset, pair)
    check_teacher({"convolutions": needs()}, pair)
    restored = Convolutions(ConvolutionsOptions())
    restored.restore(regularizer.state())
    images = torch.randn(5, 1, 8, 8, generator=seeded())
    for member, network in zip(pair.members, networks, strict=True):
        expected = fitted(dataset, network).loss(look(network, images, [0, 1, 2, 0, 1]), None)
        for found in (regularizer, restored):
            assert torch.equal(found.loss(look(member, images, [0, 1, 2, 0, 1]), None), expected)


def test_a_network_without_convolutions_is_refused(make_dataset: MakeDataset) -> None:
    linear = Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "linear")
    with pytest.raises(ModelError, match="'convolutions' needs the convolution statistics"):
        check_teacher({"convolutions": needs()}, linear)


def test_it_reads_the_inputs_of_convolutions_of_the_real_images_too() -> None:
    assert needs().network == "teacher"
    assert needs().observes
    assert needs().statistics == ("convolutions",)
    assert needs().at_once == "batch"
    assert needs().real_per_class == 0


@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_the_first_weight_is_checked(value: float) -> None:
    with pytest.raises(ValueError, match=r"first_weight must be (0 or more|a finite number)"):
        ConvolutionsOptions(first_weight=value)
