"""Recover: independent chunks, pixels that stay valid, losses that fall, and what stops it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.pixels import valid_range
from condense.engine.components import FeatureTarget, Regularizer
from condense.engine.standard import CrossEntropy
from condense.errors import ModelError, NumericalError, PluginError
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.needs import Needs, Statistic, ThroughRandomNetwork, ThroughTeacher
from condense.recipe.specs import NoOptions
from condense.recipe.training import Augment
from condense.runtime import make_runtime

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
Make = Callable[..., Any]
VIEWS = Augment(crop_scale=(0.3, 1.0), flip=True, jitter=0.2)


def cross_entropy() -> CrossEntropy:
    return CrossEntropy(NoOptions())


def test_chunks_give_the_same_bytes_in_any_order(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    recover = make_recovery(dataset, make_network(dataset), cross_entropy(), augment=VIEWS)
    chunks = [make_chunk(dataset, range(2), index=0), make_chunk(dataset, range(2, 3), index=1)]
    forwards = [recover(chunk, seed=chunk.index) for chunk in chunks]
    backwards = [recover(chunk, seed=chunk.index) for chunk in reversed(chunks)][::-1]
    for one, other, chunk in zip(forwards, backwards, chunks, strict=True):
        assert torch.equal(one, other)
        assert one.shape == chunk.images.shape
        assert not torch.equal(one, chunk.images)


def test_only_the_generator_passed_in_decides(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    recover = make_recovery(dataset, make_network(dataset), cross_entropy(), augment=VIEWS)
    chunk = make_chunk(dataset, range(3))
    start = chunk.images.clone()
    torch.manual_seed(1)
    one = recover(chunk)
    torch.manual_seed(2)
    assert torch.equal(recover(chunk), one)
    assert not torch.equal(recover(chunk, seed=1), one)
    assert torch.equal(chunk.images, start)


class Push(FeatureTarget):
    """Wants every pixel as bright as can be."""

    sign = -1.0

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return self.sign * synthetic.images.sum()


class Pull(Push):
    sign = 1.0


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_pixels_end_at_the_border_of_what_is_valid_and_not_beyond(
    optimizer: str,
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    make_recovery: Make,
    make_chunk: Make,
) -> None:
    dataset = make_dataset(channels=3)
    chunk = make_chunk(dataset, range(3))
    low, high = valid_range(dataset.mean, dataset.std, chunk.images)
    recover = make_recovery(dataset, make_network(dataset), Push(), lr=5.0, optimizer=optimizer)
    assert torch.equal(recover(chunk), high.expand_as(chunk.images))
    recover = make_recovery(dataset, make_network(dataset), Pull(), lr=5.0, optimizer=optimizer)
    assert torch.equal(recover(chunk), low.expand_as(chunk.images))


class Witness(Regularizer):
    """Keeps the images that it sees; its loss is 0."""

    def __init__(self) -> None:
        self.synthetic: list[Tensor] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.synthetic.append(synthetic.images.detach().clone())
        return 0 * synthetic.features.sum()


TAPPED = Needs(through=ThroughTeacher(statistics=("batchnorm",)))


def test_pixels_are_valid_at_every_step(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    chunk = make_chunk(dataset, range(3))
    low, high = valid_range(dataset.mean, dataset.std, chunk.images)
    recover = make_recovery(dataset, make_network(dataset), (witness := Witness()), Push(), lr=50.0)
    recover(chunk)
    assert len(witness.synthetic) == 4
    for seen in witness.synthetic:
        assert bool(((seen >= low) & (seen <= high)).all())


class Towards(FeatureTarget):
    """Squared distance of every image to one image."""

    def __init__(self, goal: Tensor) -> None:
        self.goal = goal

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return (synthetic.images - self.goal).square().sum()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_images_of_least_loss_are_found(
    optimizer: str,
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    make_recovery: Make,
    make_chunk: Make,
) -> None:
    dataset = make_dataset()
    goal = dataset.training_images(torch.tensor([3]))
    recover = make_recovery(
        dataset, make_network(dataset), Towards(goal), optimizer=optimizer, lr=0.2, iterations=60
    )
    found = recover(make_chunk(dataset, range(3)))
    torch.testing.assert_close(found, goal.expand_as(found), rtol=0, atol=0.05)


def test_the_loss_falls(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    recover = make_recovery(dataset, make_network(dataset), cross_entropy(), iterations=20, lr=0.5)
    recover(make_chunk(dataset, range(3)))
    assert recover.logged[-1]["crossentropy"] < 0.9 * recover.logged[0]["crossentropy"]


def test_the_loss_is_the_weighted_sum_and_is_logged_where_asked(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    recover = make_recovery(
        dataset, make_network(dataset), cross_entropy(), Push(), iterations=8, log_every=3
    )
    recover.losses = [
        replace(loss, weight=weight) for loss, weight in zip(recover.losses, (2.0, -0.5), strict=True)
    ]
    recover(make_chunk(dataset, range(3)))
    assert [losses["iteration"] for losses in recover.logged] == [0, 3, 6, 7]
    for losses in recover.logged:
        assert losses["loss"] == pytest.approx(2 * losses["crossentropy"] - 0.5 * losses["push"], rel=1e-5)


def test_the_teacher_stays_as_it_is(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    before = copy.deepcopy(teacher.model.state_dict())
    make_recovery(dataset, teacher, cross_entropy(), (Witness(), TAPPED), augment=VIEWS)(
        make_chunk(dataset, range(3))
    )
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert not teacher.model.training
    for name, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_no_iterations_leave_the_images_as_they_are(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    recover = make_recovery(dataset, make_network(dataset), cross_entropy(), iterations=0)
    chunk = make_chunk(dataset, range(3))
    assert torch.equal(recover(chunk), chunk.images)
    assert recover.logged == []


def test_bfloat16_gives_plain_float32_images(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset(channels=3)
    runtime = make_runtime("cpu", "bf16")
    teacher = make_network(dataset)
    runtime.place(teacher.model)
    recover = make_recovery(dataset, teacher, cross_entropy(), runtime=runtime, iterations=20)
    found = recover(make_chunk(dataset, range(3)))
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert recover.logged[-1]["loss"] < recover.logged[0]["loss"]


class Breaks(FeatureTarget):
    """NaN from the third step on."""

    def __init__(self) -> None:
        self.steps = 0

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.steps += 1
        return synthetic.images.sum() * (torch.nan if self.steps > 2 else 1.0)


@pytest.mark.parametrize(
    ("log_every", "name", "iteration"),
    [
        (1, "breaks", 2),
        (
            50,
            "crossentropy",
            3,
        ),  # By the next look the pixels are NaN, and so is every loss; the first is named.
    ],
)
def test_a_loss_that_is_nan_stops_with_its_place(
    log_every: int,
    name: str,
    iteration: int,
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    make_recovery: Make,
    make_chunk: Make,
) -> None:
    dataset = make_dataset()
    recover = make_recovery(
        dataset, make_network(dataset), cross_entropy(), Breaks(), log_every=log_every, augment=VIEWS
    )
    with pytest.raises(NumericalError) as caught:
        recover(make_chunk(dataset, range(3), index=7))
    assert str(caught.value).startswith(f"'{name}' became nan in recover, chunk 7, iteration {iteration}; ")


class Vector(FeatureTarget):
    """Forgets to add up."""

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return synthetic.features.square().sum(dim=1)


def test_a_loss_that_is_no_scalar_is_named(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    with pytest.raises(
        PluginError, match=r"loss 'vector' must return a scalar tensor from loss, and returned shape \(6,\)"
    ):
        make_recovery(dataset, make_network(dataset), Vector())(make_chunk(dataset, range(3)))


@pytest.mark.parametrize(
    ("statistic", "layers"), [("batchnorm", "BatchNorm layers"), ("convolutions", "convolutions")]
)
@pytest.mark.parametrize("through", [ThroughTeacher, ThroughRandomNetwork])
def test_a_network_without_the_layers_that_a_loss_reads(
    statistic: Statistic,
    layers: str,
    through: type[ThroughTeacher | ThroughRandomNetwork],
    make_dataset: MakeDataset,
    make_recovery: Make,
    make_chunk: Make,
) -> None:
    """The setting that is named is the one that chooses this network."""
    dataset = make_dataset()
    bare = Network(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), "bare")
    needs = Needs(through=through(statistics=(statistic,)))
    recover = make_recovery(dataset, bare, (Witness(), needs), make_network=lambda *_, **__: bare)
    with pytest.raises(ModelError) as caught:
        recover(make_chunk(dataset, range(3)))
    setting = "teacher.model" if through is ThroughTeacher else "recover.network"
    assert str(caught.value) == (
        f"'witness' reads the inputs of {layers}, and 'bare' has none; choose another network with --set {setting}=NAME"
    )
