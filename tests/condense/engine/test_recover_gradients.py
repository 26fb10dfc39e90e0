"""Recover one class at a time, and through the gradients of a network's weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.components import FeatureTarget, Loss, WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.standard import CrossEntropy
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.method import Recover
from condense.recipe.needs import AtOnce, Needs, ThroughRandomNetwork, ThroughWeightGradients
from condense.recipe.specs import NoOptions
from condense.recipe.training import Augment, Training
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> RealDataset:
    """3 classes of 4 training images each: losses that ask for 4 get them all."""
    return make_dataset(counts=(4, 4, 4))


@pytest.fixture
def chunk(dataset: RealDataset) -> Chunk:
    """2 images of each class, well within the valid range, their weights 1/4 and 3/4."""
    return Chunk(
        index=0,
        labels=torch.arange(3).repeat_interleave(2),
        slots=torch.arange(2).repeat(3),
        weights=torch.tensor([0.25, 0.75]).repeat(3),
        images=torch.randn(6, 1, 8, 8, generator=seeded(5)).clamp(-1.5, 1.5),
    )


class Site:
    """Recovery by plain gradient descent; keeps the networks and the losses."""

    def __init__(
        self,
        dataset: RealDataset,
        make_network: MakeNetwork,
        *losses: tuple[Loss, Needs],
        **options: Any,
    ) -> None:
        self.dataset, self.teacher = dataset, make_network(dataset)
        self.losses = [
            WeightedLoss(name=f"{type(loss).__name__.lower()}-{index}", loss=loss, weight=weight, needs=needs)
            for index, ((loss, needs), weight) in enumerate(zip(losses, (2.0, 0.5), strict=False))
        ]
        plain = {"iterations": 1, "optimizer": "sgd", "momentum": 0.0, "schedule": "constant", "log_every": 1}
        self.options = Recover(**{**plain, **options})
        self.random: list[Network] = []
        self.logged: list[Mapping[str, float]] = []

        def fresh(draws: torch.Generator) -> Network:
            seed = int(torch.randint(2**31, (), generator=draws))
            self.random.append(make_network(dataset, norm="instance", width=4, seed=seed))
            return self.random[-1]

        self.networks = Networks(self.teacher, fresh)

    def __call__(self, chunk: Chunk) -> Tensor:
        return recover_chunk(
            chunk,
            self.losses,
            self.networks,
            self.options,
            self.dataset,
            generator=seeded(),
            runtime=RUNTIME,
            log=lambda _, losses: self.logged.append(dict(losses)),
        )


class Witness(FeatureTarget):
    """Keeps what it sees; its loss is the square of the mean feature, which mixes all images of a batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[Observation, Observation]] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        self.seen.append((synthetic, real))
        return (synthetic.features.mean(dim=0) - real.features.mean(dim=0)).square().sum()


# Both see 4 real images of each class.
AT_ONCE = Needs(real_per_class=4)
BY_CLASS = Needs(real_per_class=4, at_once="one class")


# One class at a time.


def test_a_loss_sees_one_class_with_all_its_slots_and_only_its_real_images(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    Site(dataset, make_network, (witness := Witness(), BY_CLASS), iterations=2, lr=1e-9)(chunk)
    assert len(witness.seen) == 6
    for number, (synthetic, real) in enumerate(witness.seen):
        label = number % 3
        assert synthetic.batch.labels.tolist() == [label, label]
        assert synthetic.batch.slots.tolist() == [0, 1]
        assert synthetic.batch.weights.tolist() == [0.25, 0.75]
        assert synthetic.batch.membership.tolist() == [[0.25, 0.75]]
        torch.testing.assert_close(synthetic.images.detach(), chunk.images[2 * label : 2 * label + 2])
        assert real.batch.labels.tolist() == [label] * 4
        own = dataset.training_images(dataset.train.of_class(label))
        torch.testing.assert_close(
            sorted(image.tolist() for image in real.images.flatten(1)),
            sorted(image.tolist() for image in own.flatten(1)),
        )


def test_the_order_of_the_images_in_a_chunk_does_not_matter(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    order = torch.tensor([4, 0, 3, 5, 1, 2])
    mixed = Chunk(
        index=0,
        labels=chunk.labels[order],
        slots=chunk.slots[order],
        weights=chunk.weights[order],
        images=chunk.images[order],
    )
    straight = Site(dataset, make_network, (Witness(), BY_CLASS), iterations=3, lr=0.1)(chunk)
    found = Site(dataset, make_network, (witness := Witness(), BY_CLASS), iterations=3, lr=0.1)(mixed)
    torch.testing.assert_close(found, straight[order])
    assert [seen.batch.labels.tolist() for seen, _ in witness.seen[:3]] == [[0, 0], [1, 1], [2, 2]]


def slow_gradient(
    dataset: RealDataset, chunk: Chunk, teacher: Network, groups: list[list[int]]
) -> tuple[Tensor, float]:
    """Of the sum over groups of classes of `Witness.loss`, and of the cross-entropy, with weights 2 and 1/2."""
    model: Any = teacher.model
    pixels = chunk.images.clone().requires_grad_(True)
    total, matching = torch.zeros(()), torch.zeros(())
    for labels in groups:
        of = [image for image in range(6) if int(chunk.labels[image]) in labels]
        features, logits = [], []
        for image in of:
            hidden = model.features(pixels[image : image + 1]).flatten()
            features.append(hidden)
            logits.append(model.classifier(hidden))
        real = [
            model.features(dataset.training_images(torch.tensor([index]))).flatten()
            for label in labels
            for index in dataset.train.of_class(label).tolist()
        ]
        gap = sum(features) / len(features) - sum(real) / len(real)
        for value in gap:
            matching = matching + value * value
        for row, image in zip(logits, of, strict=True):
            total = total + 0.5 * F.cross_entropy(row, chunk.labels[image]) / len(of)
    (total + 2 * matching).backward()
    assert pixels.grad is not None
    return pixels.grad, matching.item()


@pytest.mark.parametrize(
    ("needs", "groups"), [(BY_CLASS, [[0], [1], [2]]), (AT_ONCE, [[0, 1, 2]])], ids=["by class", "at once"]
)
def test_the_losses_of_the_classes_are_added_and_so_are_their_gradients(
    needs: Needs,
    groups: list[list[int]],
    dataset: RealDataset,
    chunk: Chunk,
    make_network: MakeNetwork,
) -> None:
    """Also those of a loss beside it, which is then shown one class at a time as well."""
    expected, loss = slow_gradient(dataset, chunk, make_network(dataset), groups)
    rate = 0.3 / float(expected.abs().max())  # far enough to be seen, and no pixel reaches the border
    site = Site(dataset, make_network, (Witness(), needs), (CrossEntropy(NoOptions()), Needs()), lr=rate)
    found = site(chunk)
    torch.testing.assert_close(found, chunk.images - rate * expected, rtol=0, atol=1e-5)
    assert site.logged[0][site.losses[0].name] == pytest.approx(loss, rel=1e-4)


# Gradients of the weights.


def gradients(logits: Tensor, labels: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of the mean cross-entropy, with a graph of their own."""
    return torch.autograd.grad(F.cross_entropy(logits, labels), weights, create_graph=True)


class GradientMatch(FeatureTarget):
    """The squared distance of the gradients that synthetic and real images give (DC, with another distance)."""

    def __init__(self) -> None:
        self.seen: list[tuple[Observation, Observation]] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        self.seen.append((synthetic, real))
        pairs = zip(
            gradients(synthetic.logits, synthetic.batch.labels, synthetic.parameters),
            gradients(real.logits, real.batch.labels, real.parameters),
            strict=True,
        )
        return torch.stack([(one - other.detach()).square().sum() for one, other in pairs]).sum()


def gradient_needs(at_once: AtOnce = "batch") -> Needs:
    return Needs(through=ThroughWeightGradients(), real_per_class=4, at_once=at_once)


def match_in_float64(
    network: Network, dataset: RealDataset, chunk: Chunk, images: Tensor, groups: list[list[int]]
) -> float:
    """What `GradientMatch` computes, group by group, from first-order gradients alone."""
    model = copy.deepcopy(network.model).double().requires_grad_(True)
    total = 0.0
    for labels in groups:
        of = [image for image in range(6) if int(chunk.labels[image]) in labels]
        indices = torch.cat([dataset.train.of_class(label) for label in labels])
        mine = F.cross_entropy(model(images[of]), chunk.labels[of])
        real = F.cross_entropy(
            model(dataset.training_images(indices).double()), dataset.train.labels[indices]
        )
        weights = list(model.parameters())
        for one, other in zip(
            torch.autograd.grad(mine, weights), torch.autograd.grad(real, weights), strict=True
        ):
            total += (one - other).square().sum().item()
    return total


class Attentive(nn.Module):
    """Attention of rows of pixels to each other, which PyTorch fuses into one operation, then a classifier."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.rows, self.classifier = nn.Linear(size, 6), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.rows(images[:, :1])
        logits: Tensor = self.classifier(F.scaled_dot_product_attention(rows, rows, rows).mean(dim=(1, 2)))
        return logits


def test_a_loss_of_weight_gradients_looks_through_attention(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    site = Site(dataset, make_network, (GradientMatch(), gradient_needs()), lr=1.0)
    torch.manual_seed(0)
    site.networks = Networks(site.teacher, lambda _: Network(Attentive(dataset.size), "attentive"))
    moved = (site(chunk) - chunk.images).flatten(1).norm(dim=1)
    assert bool((moved > 0).all())


@pytest.mark.parametrize(
    ("at_once", "groups"),
    [("batch", [[0, 1, 2]]), ("whole classes", [[0, 1, 2]]), ("one class", [[0], [1], [2]])],
)
def test_a_loss_of_weight_gradients_reaches_the_pixels(
    at_once: AtOnce,
    groups: list[list[int]],
    dataset: RealDataset,
    chunk: Chunk,
    make_network: MakeNetwork,
) -> None:
    """Against central differences in float64 of the loss, in a dozen pixels."""
    rate = 1e-3
    site = Site(dataset, make_network, (GradientMatch(), gradient_needs(at_once)), lr=rate)
    found = site(chunk)
    [network] = site.random
    moved = (chunk.images - found).double() / rate / 2  # the weight of the loss is 2

    def loss(images: Tensor) -> float:
        return match_in_float64(network, dataset, chunk, images, groups)

    start, step = chunk.images.double(), 1e-5
    assert site.logged[0]["loss"] == pytest.approx(2 * loss(start), rel=1e-4)
    slopes, expected = [], []
    for place in torch.randperm(start.numel(), generator=seeded(1))[:12].tolist():
        nudge = torch.zeros_like(start).view(-1)
        nudge[place] = step
        nudge = nudge.view_as(start)
        expected.append((loss(start + nudge) - loss(start - nudge)) / (2 * step))
        slopes.append(float(moved.reshape(-1)[place]))
    assert max(map(abs, expected)) > 0.01
    assert slopes == pytest.approx(expected, rel=1e-2, abs=2e-3)


def test_parameters_are_the_weights_of_the_network_that_is_looked_through(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    site = Site(dataset, make_network, (target := GradientMatch(), gradient_needs()), iterations=3, lr=1e-3)
    site(chunk)
    assert len(site.random) == 3
    for network, (synthetic, real) in zip(site.random, target.seen, strict=True):
        weights = list(network.model.parameters())
        for seen in (synthetic, real):
            assert [id(weight) for weight in seen.parameters] == [id(weight) for weight in weights]
            assert seen.logits.requires_grad
        assert not real.images.requires_grad
        assert all(weight.grad is None for weight in weights)


# Through a random network too, and without gradients of its weights.
PLAIN = Needs(through=ThroughRandomNetwork(), real_per_class=4)


def test_without_weight_gradients_there_are_no_parameters_and_real_images_have_no_graph(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    Site(dataset, make_network, (plain := Witness(), PLAIN), (teacher := Witness(), AT_ONCE))(chunk)
    for synthetic, real in (*plain.seen, *teacher.seen):
        assert synthetic.parameters == real.parameters == ()
        assert synthetic.features.requires_grad
        assert not real.features.requires_grad


def test_the_teacher_is_left_out_of_it(dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork) -> None:
    """A loss that looks through the teacher sees real images without gradients, as ever."""
    Site(dataset, make_network, (GradientMatch(), gradient_needs()), (teacher := Witness(), AT_ONCE))(chunk)
    [(synthetic, real)] = teacher.seen
    assert synthetic.parameters == real.parameters == ()
    assert not real.features.requires_grad


def test_a_loss_beside_it_that_looks_through_a_random_network_looks_through_the_same(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    matching, beside = GradientMatch(), Witness()
    site = Site(dataset, make_network, (matching, gradient_needs()), (beside, PLAIN), lr=1e-3)
    site(chunk)
    assert len(site.random) == 1
    [(seen, _)], [(also, _)] = matching.seen, beside.seen
    assert seen is also


def test_matching_gradients_works_under_siamese_views_and_inner_training(
    dataset: RealDataset, chunk: Chunk, make_network: MakeNetwork
) -> None:
    """The whole of DC and DSA in small: by class, one network for some steps, trained in between."""
    options = {
        "iterations": 6,
        "network_steps": 3,
        "inner": Training(epochs=2, batch_size=4, lr=0.01),
        "augment": Augment(siamese=("color", "crop", "cutout", "flip", "scale", "rotate")),
        "lr": 1e-2,
    }
    matching = (GradientMatch(), gradient_needs("one class"))
    site = Site(dataset, make_network, matching, **options)
    found = site(chunk)
    assert len(site.random) == 2
    assert bool(torch.isfinite(found).all())
    assert not torch.equal(found, chunk.images)
    assert torch.equal(found, Site(dataset, make_network, matching, **options)(chunk))
