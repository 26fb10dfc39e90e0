"""The target of DC and DSA: the distance row by row, whole steps in float64, and the network it looks through."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from condense_baselines.losses.gradient_match import GradientMatch, gradient_distance, weight_gradients
from condense_baselines.options import RealBatchOptions
from condense_baselines.recipes.dc import DC
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.components import WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.needs import Needs
from condense.recipe.registry import load_registry
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
SHAPES = {"linear": (3, 5), "convolution": (4, 2, 3, 3), "one output": (1, 6)}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# The distance.


def slow_distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Layer by layer and output node by output node."""
    total = 0.0
    for mine, theirs in zip(one, other, strict=True):
        for node in range(mine.shape[0]):
            a, b = mine[node].flatten().tolist(), theirs[node].flatten().tolist()
            product = sum(left * right for left, right in zip(a, b, strict=True))
            length = math.sqrt(sum(left * left for left in a)) * math.sqrt(sum(right * right for right in b))
            total += 1 - product / (length + 1e-6)
    return total


@given(
    st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=4),
    st.sampled_from([1e-4, 1.0, 100.0]),
    st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_distance_against_loops(layers: list[str], scale: float, seed: int) -> None:
    draws = seeded(seed)
    one, other = ([scale * torch.randn(SHAPES[layer], generator=draws) for layer in layers] for _ in range(2))
    got = gradient_distance(one, other)
    assert got.shape == ()
    assert got.item() == pytest.approx(slow_distance(one, other), rel=1e-4, abs=1e-5)


def test_distance_by_hand() -> None:
    """Rows that point the same way, the other way, at right angles, and one that is 0: 0 + 2 + 1 + 1."""
    one = torch.tensor([[3.0, 4], [3, 4], [0, 5], [0, 0]])
    other = torch.tensor([[6.0, 8], [-6, -8], [2, 0], [1, 1]])
    assert gradient_distance([one], [other]).item() == pytest.approx(4, abs=1e-5)
    filters = one.view(4, 2, 1, 1)
    twice = gradient_distance([one, filters], [other, other.view_as(filters)])
    assert twice.item() == pytest.approx(8, abs=1e-5)


def test_a_row_of_zeros_has_a_finite_gradient() -> None:
    one = torch.zeros(2, 3, requires_grad=True)
    gradient_distance([one], [torch.ones(2, 3)]).backward()
    assert one.grad is not None
    assert bool(torch.isfinite(one.grad).all())


# The gradients of the weights.


def observed(network: Network, images: Tensor, label: int) -> Observation:
    return network.observe(images, BatchLabels.of_real(torch.full((len(images),), label)))


def random_network(dataset: RealDataset, make_network: MakeNetwork, seed: int = 0) -> Network:
    network = make_network(dataset, norm="instance", width=4, seed=seed)
    network.model.train().requires_grad_(True)
    return network


def test_gradients_are_those_of_matrices_and_filters(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Neither biases nor the weights of norms, as in the published code."""
    dataset = make_dataset()
    network = random_network(dataset, make_network)
    images = torch.randn(3, 1, 8, 8, generator=seeded())
    found = weight_gradients(observed(network, images, 1), differentiable=False)
    loss = sum(F.cross_entropy(network.logits(image[None]), torch.tensor([1])) for image in images) / 3
    slopes = dict(
        zip(
            dict(network.model.named_parameters()),
            torch.autograd.grad(loss, list(network.model.parameters())),  # type: ignore[arg-type]
            strict=True,
        )
    )
    expected = [slopes[name] for name in ("features.0.weight", "features.4.weight", "classifier.weight")]
    assert len(slopes) == 10
    torch.testing.assert_close(list(found), expected)
    assert not any(gradient.requires_grad for gradient in found)


def test_equal_batches_are_as_close_as_the_published_constant_allows(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """A row of length n is at 1 - n^2 / (n^2 + 1e-6) from itself."""
    dataset = make_dataset()
    network = random_network(dataset, make_network)
    images = dataset.training_images(dataset.train.of_class(2))
    pixels = images.clone().requires_grad_(True)
    target = GradientMatch(RealBatchOptions())
    loss = target.loss(observed(network, pixels, 2), observed(network, images, 2))
    rows = torch.cat(
        [
            gradient.flatten(1).double().square().sum(1)
            for gradient in weight_gradients(observed(network, images, 2), differentiable=False)
        ]
    )
    assert loss.item() == pytest.approx((1e-6 / (rows + 1e-6)).sum().item(), abs=1e-5)
    other = target.loss(observed(network, images.flip(0) + 0.5, 2), observed(network, images, 2))
    assert other.item() > 100 * loss.item()
    loss.backward(inputs=[pixels])
    assert pixels.grad is not None


# In recover.


def needs_of(options: RealBatchOptions) -> Needs:
    """What the plugin declares for the target with these options."""
    found: Needs = load_registry().find("feature target", "gradient-match").needs_of(options)
    return found


@pytest.mark.parametrize("real", [1, 256])
def test_it_takes_weight_gradients_of_one_class_in_float32(real: int) -> None:
    needs = needs_of(RealBatchOptions(real_batch=real))
    assert needs.network == "random"
    assert needs.weight_gradients
    assert needs.at_once == "one class"
    assert needs.real_per_class == real
    assert needs.float32
    assert not needs.observes


class Watched(GradientMatch):
    """Keeps the weights of the network at every class and step, and the losses."""

    def __init__(self, options: RealBatchOptions) -> None:
        super().__init__(options)
        self.weights: list[list[Tensor]] = []
        self.losses: list[float] = []
        self.entropies: list[float] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.weights.append([weight.detach().clone() for weight in synthetic.parameters])
        self.entropies.append(float(F.cross_entropy(synthetic.logits.detach(), synthetic.batch.labels)))
        loss = super().loss(synthetic, real)
        self.losses.append(float(loss.detach()))
        return loss


class Site:
    """Recovery of two images of each of 3 classes, with DC's options but for some."""

    def __init__(self, dataset: RealDataset, make_network: MakeNetwork, **options: Any) -> None:
        self.dataset = dataset
        self.networks: list[Network] = []
        self.fresh_weights: list[list[Tensor]] = []
        self.options = replace(DC.recover, **options)
        self.images = torch.randn(6, 1, 8, 8, generator=seeded(5)).clamp(-1.5, 1.5)
        self.make_network = make_network
        self.target = Watched(RealBatchOptions())

    def fresh(self, draws: torch.Generator) -> Network:
        seed = int(torch.randint(2**31, (), generator=draws))
        network = self.make_network(self.dataset, norm="instance", width=4, seed=seed)
        self.networks.append(network)
        self.fresh_weights.append([weight.detach().clone() for weight in network.model.parameters()])
        return network

    def run(self) -> Tensor:
        chunk = Chunk(
            index=0,
            labels=torch.arange(3).repeat_interleave(2),
            slots=torch.arange(2).repeat(3),
            weights=torch.full((6,), 0.5),
            images=self.images,
        )
        return recover_chunk(
            chunk,
            [
                WeightedLoss(
                    name="gradient-match", loss=self.target, weight=1.0, needs=needs_of(self.target.options)
                )
            ],
            Networks(None, self.fresh),
            self.options,
            self.dataset,
            generator=seeded(),
            runtime=RUNTIME,
            log=lambda *_: None,
        )


def step_by_torch_func(network: Network, dataset: RealDataset, images: Tensor) -> tuple[float, Tensor]:
    """The loss of a step and its gradient to the pixels, by nested torch.func.grad in float64; no code is shared."""
    model = copy.deepcopy(network.model).double()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def entropy(values: dict[str, Tensor], batch: Tensor, label: int) -> Tensor:
        logits: Tensor = functional_call(model, values, (batch,))
        return -logits.log_softmax(1)[:, label].mean()

    def distance(batch: Tensor, real: Tensor, label: int) -> Tensor:
        mine = torch.func.grad(entropy)(weights, batch, label)
        theirs = torch.func.grad(entropy)(weights, real, label)
        total = batch.new_zeros(())
        for name in weights:
            if weights[name].dim() == 1:
                continue
            for a, b in zip(mine[name], theirs[name], strict=True):
                total = total + 1 - (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt() + 1e-6)
        return total

    total, slopes = 0.0, []
    for label in range(3):
        real = dataset.training_images(dataset.train.of_class(label)).double()
        batch = images[2 * label : 2 * label + 2].double()
        slope, value = torch.func.grad_and_value(distance)(batch, real, label)
        total += float(value)
        slopes.append(slope)
    return total, torch.cat(slopes)


def test_a_whole_step_against_nested_torch_func_in_float64(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """All real images of a class are drawn, so a step can be written down: pixels - lr * gradient of the sum."""
    rate = 0.05
    site = Site(make_dataset(), make_network, iterations=1, lr=rate, momentum=0.0)
    found = site.run()
    loss, slopes = step_by_torch_func(site.networks[0], site.dataset, site.images)
    assert sum(site.target.losses) == pytest.approx(loss, rel=1e-4)
    moved = (site.images - found).double() / rate
    assert float(slopes.abs().max()) > 0.01
    torch.testing.assert_close(moved, slopes, rtol=1e-2, atol=float(slopes.abs().max()) * 2e-3)


def test_the_network_trains_between_steps_and_starts_afresh_for_the_next(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    inner = replace(DC.recover.inner, epochs=10)
    site = Site(make_dataset(), make_network, iterations=6, network_steps=3, inner=inner)
    site.run()
    assert len(site.networks) == 2
    steps = [site.target.weights[3 * step] for step in range(6)]

    def same(one: list[Tensor], other: list[Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

    for step in (0, 3):
        assert same(steps[step], site.fresh_weights[step // 3])
        assert not same(steps[step], steps[step + 1])
        assert not same(steps[step + 1], steps[step + 2])
    for step in range(6):  # the classes of a step share its network
        assert all(same(steps[step], weights) for weights in site.target.weights[3 * step : 3 * step + 3])
    entropies = torch.tensor(site.target.entropies).view(6, 3).mean(1)
    assert entropies[2] < entropies[1] < entropies[0]
    assert entropies[5] < entropies[4] < entropies[3]


def test_the_loss_falls(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    """30 steps on one network that stays as it is; the loss of a step is the sum over its three classes."""
    inner = replace(DC.recover.inner, epochs=0)
    site = Site(make_dataset(), make_network, iterations=30, network_steps=30, inner=inner)
    site.run()
    steps = torch.tensor(site.target.losses).view(30, 3).sum(1)
    assert len(site.networks) == 1
    assert steps[-1] < 0.7 * steps[0]
