"""What losses are shown while pixels are recovered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.components import FeatureTarget, Regularizer
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.needs import ImagesAlone, Needs, ThroughRandomNetwork, ThroughTeacher
from condense.recipe.training import SIAMESE_OPERATIONS, Augment

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
Make = Callable[..., Any]

TAPPED = Needs(through=ThroughTeacher(statistics=("batchnorm",)))
WITH_REAL = Needs(through=ThroughTeacher(statistics=("batchnorm",)), real_per_class=3)
FRESH = Needs(through=ThroughRandomNetwork(statistics=("batchnorm",)))


class Witness(Regularizer):
    """Keeps what it sees; its loss is 0."""

    def __init__(self) -> None:
        self.synthetic: list[Tensor] = []
        self.seen: list[Observation] = []
        self.real: list[Observation | None] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.synthetic.append(synthetic.images.detach().clone())
        self.seen.append(synthetic)
        self.real.append(real)
        return 0 * synthetic.features.sum()


def test_a_loss_sees_its_chunk_and_no_real_images_unless_it_asks(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    chunk = make_chunk(dataset, range(1, 3))
    make_recovery(dataset, make_network(dataset), (witness := Witness(), TAPPED), iterations=1)(chunk)
    batch = witness.seen[0].batch
    assert batch.labels.tolist() == [1, 1, 2, 2]
    assert batch.slots.tolist() == [0, 1, 0, 1]
    assert batch.weights.tolist() == [0.5] * 4
    assert witness.seen[0].moments is not None
    assert witness.seen[0].indices is None
    assert torch.equal(witness.synthetic[0], chunk.images)
    assert witness.real == [None]


def test_real_images_are_distinct_ones_of_the_chunks_classes(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    make_recovery(dataset, make_network(dataset), (witness := Witness(), WITH_REAL), iterations=5)(
        make_chunk(dataset, range(1, 3))
    )
    drawn = []
    for real in witness.real:
        assert real is not None
        assert real.batch.labels.tolist() == [1, 1, 1, 2, 2, 2]
        assert real.indices is not None
        assert torch.equal(dataset.training_images(real.indices), real.images)
        assert not real.features.requires_grad
        indices = []
        for image, label in zip(real.images, real.batch.labels, strict=True):
            matches = [
                index
                for index in dataset.train.of_class(int(label)).tolist()
                if torch.equal(dataset.training_images(torch.tensor([index]))[0], image)
            ]
            assert len(matches) == 1
            indices += matches
        assert len(set(indices)) == 6
        drawn.append(tuple(indices))
    assert len(set(drawn)) > 1


def test_a_class_with_fewer_real_images_than_are_wanted_gives_all(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset(counts=(6, 2, 8))
    make_recovery(dataset, make_network(dataset), (witness := Witness(), WITH_REAL), iterations=1)(
        make_chunk(dataset, range(3))
    )
    [real] = witness.real
    assert real is not None
    assert real.batch.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert len(real.images) == 8
    own = dataset.training_images(dataset.train.of_class(1))
    assert sorted(real.images[3:5].flatten(1).tolist()) == sorted(own.flatten(1).tolist())


class MeanMatch(FeatureTarget):
    """DM's: the mean embedding of each class, of real and synthetic images, in a fresh network."""

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        gap = synthetic.batch.membership @ synthetic.features - real.batch.membership @ real.features
        return gap.square().sum()


MATCHING = Needs(through=ThroughRandomNetwork(), real_per_class=4)


@pytest.mark.parametrize("siamese", [(), SIAMESE_OPERATIONS])
def test_matching_real_images_leaves_equal_images_alone(
    siamese: tuple[str, ...],
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    make_recovery: Make,
    make_chunk: Make,
) -> None:
    """4 images a class, all of them real ones: equal means whatever the network, if both get the same view."""
    dataset = make_dataset(counts=(4, 4, 4))
    chunk = make_chunk(dataset, range(3), ipc=4)
    order = torch.cat([dataset.train.of_class(label) for label in range(3)])
    equal = Chunk(
        index=0,
        labels=chunk.labels,
        slots=chunk.slots,
        weights=chunk.weights,
        images=dataset.training_images(order),
    )
    recover = make_recovery(
        dataset,
        None,
        (MeanMatch(), MATCHING),
        make_network=make_network,
        optimizer="sgd",
        lr=1.0,
        momentum=0.0,
        iterations=12,
        augment=Augment(siamese=siamese),
    )
    found = recover(equal)
    torch.testing.assert_close(found, equal.images, rtol=0, atol=1e-4)
    assert max(losses["meanmatch"] for losses in recover.logged) < 1e-8
    recover.logged.clear()
    away = recover(chunk)
    assert min(losses["meanmatch"] for losses in recover.logged) > 1e-3
    assert float((away - chunk.images).abs().max()) > 1e-3


def test_real_images_networks_and_views_come_from_the_generator_alone(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    views = Augment(flip=True, siamese=SIAMESE_OPERATIONS)
    recover = make_recovery(dataset, None, (MeanMatch(), MATCHING), make_network=make_network, augment=views)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(recover(make_chunk(dataset, range(3))))
    assert torch.equal(*found)


def test_a_random_network_is_a_fresh_one_at_every_step(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    chunk = make_chunk(dataset, range(3))
    for witness in (first := Witness(), second := Witness()):
        make_recovery(dataset, None, (witness, FRESH), make_network=make_network, lr=1e-9)(chunk)
    features = [seen.features.detach() for seen in first.seen]
    again = [seen.features.detach() for seen in second.seen]
    assert len(features) == 4
    for one, other in zip(features, again, strict=True):
        assert torch.equal(one, other)
    assert all(not torch.allclose(one, features[0]) for one in features[1:])


# Losses that look at the images alone.


class Alone(FeatureTarget):
    """Keeps what it is shown; wants dark images."""

    def __init__(self) -> None:
        self.shown: list[tuple[Observation, Observation | None]] = []
        self.images: list[Tensor] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.shown.append((synthetic, real))
        self.images.append(synthetic.images.detach().clone())
        return synthetic.images.square().sum()


@pytest.mark.parametrize("real", [0, 3])
def test_a_loss_of_the_images_alone_is_given_no_network(
    real: int, make_dataset: MakeDataset, make_recovery: Make, make_chunk: Make
) -> None:
    """There is no teacher, and building a random network would fail."""
    dataset = make_dataset()
    chunk = make_chunk(dataset, range(1, 3))
    needs = Needs(through=ImagesAlone(), real_per_class=real)
    found = make_recovery(dataset, None, (alone := Alone(), needs), optimizer="sgd", lr=0.01)(chunk)
    assert len(alone.shown) == 4
    assert torch.equal(alone.images[0], chunk.images)
    for synthetic, shown in alone.shown:
        assert synthetic.batch.labels.tolist() == [1, 1, 2, 2]
        assert synthetic.images.requires_grad
        for seen, count in ((synthetic, 4), *([(shown, 6)] if real else [])):
            assert seen is not None
            assert len(seen.images) == count
            assert seen.features.shape == seen.logits.shape == (count, 0)
            assert seen.moments is seen.convolutions is seen.patches is None
            assert seen.parameters == ()
        if not real:
            assert shown is None
        else:
            assert shown is not None
            assert shown.batch.labels.tolist() == [1, 1, 1, 2, 2, 2]
            assert not shown.images.requires_grad
    assert float(found.abs().sum()) < float(chunk.images.abs().sum())


def test_a_loss_of_the_images_alone_sees_the_same_view_as_others(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    recover = make_recovery(
        dataset,
        make_network(dataset),
        (alone := Alone(), Needs(through=ImagesAlone())),
        (teacher := Witness(), TAPPED),
        (Witness(), FRESH),
        make_network=make_network,
        augment=Augment(flip=True, jitter=0.3),
    )
    recover(make_chunk(dataset, range(3)))
    for (synthetic, _), seen in zip(alone.shown, teacher.seen, strict=True):
        assert torch.equal(synthetic.images, seen.images)
        assert seen.features.shape == (6, 32)
    assert len({images.sum().item() for images in teacher.synthetic}) == 4


def test_statistics_are_read_only_for_losses_that_look_through_the_same_network(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_recovery: Make, make_chunk: Make
) -> None:
    dataset = make_dataset()
    bare, convolving = Witness(), Witness()
    needs = Needs(through=ThroughRandomNetwork(statistics=("convolutions",)))
    recover = make_recovery(
        dataset, make_network(dataset), bare, (convolving, needs), make_network=make_network, iterations=1
    )
    recover(make_chunk(dataset, range(3)))
    [teacher], [random] = bare.seen, convolving.seen
    assert teacher.moments is teacher.convolutions is teacher.patches is random.moments is None
    assert random.convolutions is not None
    assert random.patches is not None
