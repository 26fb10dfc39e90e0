"""IDC's target: sums of differences entry by entry, whole steps in float64, and what sets it apart from DC's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from condense_baselines.losses.gradient_distance import GradientDistance, distance, filter_gradients
from condense_baselines.losses.gradient_match import gradient_distance
from condense_baselines.options import GradientDistanceOptions, Metric
from condense_baselines.recipes.idc import IDC
from torch import Tensor, nn
from torch.func import functional_call

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine.chunks import Chunk
from condense.engine.components import WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.errors import ModelError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry
from condense.recipe.training import Augment
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
METRICS: tuple[Metric, Metric] = ("mse", "l1")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("metric", METRICS)
def test_distance_against_loops(metric: Metric) -> None:
    draws = seeded()
    shapes = [(4, 1, 3, 3), (2, 4, 3, 3)]
    one, other = ([torch.randn(shape, generator=draws) for shape in shapes] for _ in range(2))
    total = 0.0
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine.flatten().tolist(), theirs.flatten().tolist(), strict=True):
            total += (a - b) ** 2 if metric == "mse" else abs(a - b)
    got = distance(one, other, metric)
    assert got.shape == ()
    assert got.item() == pytest.approx(total, rel=1e-5)


def observed(network: Network, images: Tensor, label: int) -> Observation:
    return network.observe(images, BatchLabels.of_real(torch.full((len(images),), label)))


def trainable(dataset: RealDataset, make_network: MakeNetwork) -> Network:
    network = make_network(dataset, norm="instance", width=4)
    network.model.train().requires_grad_(True)
    return network


def test_gradients_are_those_of_filters(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    """Neither of the classifier nor of biases and norms, as in the published code."""
    network = trainable(make_dataset(), make_network)
    images = torch.randn(3, 1, 8, 8, generator=seeded())
    found = filter_gradients(observed(network, images, 1), differentiable=False)
    loss = -torch.stack([network.logits(image[None]).log_softmax(1)[0, 1] for image in images]).mean()
    slopes = torch.autograd.grad(loss, [network.model.features[0].weight, network.model.features[4].weight])  # type: ignore[index, union-attr]
    torch.testing.assert_close(list(found), list(slopes))


def test_a_network_without_convolutions_is_refused() -> None:
    flat = Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "flat")
    with pytest.raises(ModelError, match="the network has no convolutions; choose another with --set"):
        filter_gradients(observed(flat, torch.randn(2, 1, 8, 8), 0), differentiable=False)


@pytest.mark.parametrize("metric", METRICS)
def test_lengths_count_where_dc_sees_directions_alone(
    metric: Metric, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Equal batches are at 0. Gradients twice as long in the same direction are far for IDC and near for DC."""
    network = trainable(make_dataset(), make_network)
    images = torch.randn(3, 1, 8, 8, generator=seeded())

    def seen() -> Observation:
        return observed(network, images, 1)

    ours = GradientDistance(GradientDistanceOptions(metric=metric))
    one = filter_gradients(seen(), differentiable=False)
    size = sum(float((gradient**2 if metric == "mse" else gradient.abs()).sum()) for gradient in one)
    assert ours.loss(seen(), seen()).item() < 1e-5 * size
    for factor in (2, 3):
        expected = ((factor - 1) ** 2 if metric == "mse" else factor - 1) * size
        longer = [factor * gradient for gradient in one]
        assert distance(longer, one, metric).item() == pytest.approx(expected, rel=1e-5)
        # Rows of length n are at 1 - n n' / (n n' + 1e-6) from each other, so rows that are not tiny are at 0.
        tall = [gradient[gradient.flatten(1).norm(dim=1) > 0.03] for gradient in one]
        assert gradient_distance([factor * rows for rows in tall], tall).item() < 1e-3 * sum(map(len, tall))


# In recover.


def needs_of(options: GradientDistanceOptions) -> Needs:
    found: Needs = load_registry().find("feature target", "gradient-distance").needs_of(options)
    return found


@pytest.mark.parametrize("network", ["random", "pool"])
def test_it_takes_weight_gradients_of_one_class_in_float32(network: Any) -> None:
    needs = needs_of(GradientDistanceOptions(network=network, real_batch=5))
    assert needs.network == network
    assert needs.weight_gradients
    assert (needs.at_once, needs.real_per_class, needs.float32) == ("one class", 5, True)


def expected_step(network: Network, dataset: RealDataset, images: Tensor, metric: Metric) -> Tensor:
    """The gradient of a step's loss to the pixels, by nested torch.func.grad in float64; no code is shared."""
    model = copy.deepcopy(network.model).double()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def entropy(values: dict[str, Tensor], batch: Tensor, label: int) -> Tensor:
        logits: Tensor = functional_call(model, values, (batch,))
        return -logits.log_softmax(1)[:, label].mean()

    def gap(batch: Tensor, real: Tensor, label: int) -> Tensor:
        mine = torch.func.grad(entropy)(weights, batch, label)
        theirs = torch.func.grad(entropy)(weights, real, label)
        total = batch.new_zeros(())
        for name in weights:
            if weights[name].dim() == 4:
                difference = mine[name] - theirs[name]
                total = total + (difference**2 if metric == "mse" else difference.abs()).sum()
        return total

    slopes = []
    for label in range(3):
        real = dataset.training_images(dataset.train.of_class(label)).double()
        slopes.append(torch.func.grad(gap)(images[2 * label : 2 * label + 2].double(), real, label))
    return torch.cat(slopes)


@pytest.mark.parametrize("metric", METRICS)
def test_a_whole_step_against_nested_torch_func_in_float64(
    metric: Metric, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """All real images of a class are drawn, so a step can be written down: pixels - lr * gradient of the sum."""
    dataset, networks = make_dataset(), []
    options = GradientDistanceOptions(metric=metric)

    def fresh(draws: torch.Generator) -> Network:
        networks.append(make_network(dataset, norm="instance", width=4, seed=3))
        return networks[-1]

    rate = 1e-3
    images = torch.randn(6, 1, 8, 8, generator=seeded(5)).clamp(-1.5, 1.5)
    chunk = Chunk(
        index=0,
        labels=torch.arange(3).repeat_interleave(2),
        slots=torch.arange(2).repeat(3),
        weights=torch.full((6,), 0.5),
        images=images,
    )
    loss = WeightedLoss(
        name="gradient-distance", loss=GradientDistance(options), weight=1.0, needs=needs_of(options)
    )
    found = recover_chunk(
        chunk,
        [loss],
        Networks(None, fresh, real=feed_of(dataset.train, dataset, RUNTIME)),
        replace(IDC.recover, iterations=1, lr=rate, augment=Augment()),
        dataset,
        generator=seeded(),
        runtime=RUNTIME,
        log=lambda *_: None,
    )
    slopes = expected_step(networks[0], dataset, images, metric)
    moved = (images - found).double() / rate
    scale = float(slopes.abs().max())
    torch.testing.assert_close(moved, slopes, rtol=2e-2, atol=scale * 5e-3)
