"""Recover: independent chunks, pixels that stay valid, losses that fall, and the batches that components see."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.pixels import valid_range
from condense.data.views import draw_view
from condense.engine import recover as recover_module
from condense.engine.components import Component, FeatureTarget, Regularizer, Term
from condense.engine.recover import Chunk, crop_scale, cut_chunks, recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.standard import CrossEntropy
from condense.errors import ModelError, NumericalError, PluginError
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.method import Recover
from condense.recipe.specs import NoOptions
from condense.recipe.training import SIAMESE_OPERATIONS, Augment
from condense.runtime import Runtime, make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
VIEWS = Augment(crop_scale=(0.3, 1.0), flip=True, jitter=0.2)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Chunks.


def cut(classes: int, ipc: int, **options: Any) -> list[list[int]]:
    return [chunk.tolist() for chunk in cut_chunks(classes, ipc, Recover(**options))]


@pytest.mark.parametrize(
    ("classes", "ipc", "batch", "ends"),
    [
        (10, 10, 100, [0, 10]),
        (10, 10, 99, [0, 9, 10]),
        (5, 3, 7, [0, 2, 4, 5]),
        (3, 50, 10, [0, 1, 2, 3]),
        (2, 1, 1, [0, 1, 2]),
        (4, 1, 100, [0, 4]),
        (4, 3, 0, [0, 4]),
    ],
)
def test_chunks_of_whole_classes_by_hand(classes: int, ipc: int, batch: int, ends: list[int]) -> None:
    wanted = [list(range(first * ipc, last * ipc)) for first, last in itertools.pairwise(ends)]
    assert cut(classes, ipc, batch=batch) == wanted


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        # 3 classes of 2: class 0 is 0 1, class 1 is 2 3, class 2 is 4 5.
        (3, [[0, 2, 4], [1, 3, 5]]),
        (2, [[0, 2], [4, 1], [3, 5]]),
        (4, [[0, 2, 4, 1], [3, 5]]),
        (1, [[0], [2], [4], [1], [3], [5]]),
        (6, [[0, 2, 4, 1, 3, 5]]),
        (0, [[0, 2, 4, 1, 3, 5]]),
        (100, [[0, 2, 4, 1, 3, 5]]),
    ],
)
def test_chunks_of_slots_by_hand(batch: int, expected: list[list[int]]) -> None:
    assert cut(3, 2, batch=batch, chunk="slots") == expected


SIZES = st.tuples(st.integers(1, 60), st.integers(1, 40), st.integers(0, 300))


@given(SIZES)
def test_chunks_are_whole_classes_in_order_within_the_batch(sizes: tuple[int, int, int]) -> None:
    classes, ipc, batch = sizes
    chunks = cut(classes, ipc, batch=batch)
    assert [image for chunk in chunks for image in chunk] == list(range(classes * ipc))
    for chunk in chunks:
        assert {(image // ipc, image % ipc) for image in chunk} == {
            (label, slot) for label in {image // ipc for image in chunk} for slot in range(ipc)
        }
    if batch:
        assert all(len(chunk) <= max(batch, ipc) for chunk in chunks)
        # No chunk but the last could have taken one class more.
        assert all(len(chunk) + ipc > batch for chunk in chunks[:-1])
    else:
        assert len(chunks) == 1


@given(SIZES)
def test_chunks_of_slots_hold_every_image_once_slot_by_slot(sizes: tuple[int, int, int]) -> None:
    classes, ipc, batch = sizes
    chunks = cut(classes, ipc, batch=batch, chunk="slots")
    images = [image for chunk in chunks for image in chunk]
    assert [(image % ipc, image // ipc) for image in images] == [
        (slot, label) for slot in range(ipc) for label in range(classes)
    ]
    assert {len(chunk) for chunk in chunks[:-1]} <= {batch}
    assert len(chunks) == (-(-classes * ipc // batch) if batch else 1)


# The curriculum of crops.


def about(least: float, most: float = 0.9) -> Any:
    """These shares, but for rounding."""
    return pytest.approx((least, most))


def curriculum(**options: Any) -> Recover:
    """From 0.6 to 0.2 over the first 60 of 100 steps, unless said otherwise."""
    chosen = {"iterations": 100, "crop_start": 0.6, "crop_share": 0.6, **options}
    return Recover(augment=Augment(crop_scale=(0.2, 0.9), flip=True), **chosen)


@pytest.mark.parametrize(
    ("schedule", "least"),
    [
        # at steps 0, 20, 30, 40, 59, 60 and 99
        ("none", [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]),
        ("step", [0.6, 0.6, 0.6, 0.6, 0.6, 0.2, 0.2]),
        ("linear", [0.6, 0.6 - 0.4 / 3, 0.4, 0.6 - 0.8 / 3, 0.6 - 0.4 * 59 / 60, 0.2, 0.2]),
        # The cosine of a third of pi is 1/2.
        ("cosine", [0.6, 0.5, 0.4, 0.3, 0.4 + 0.2 * math.cos(math.pi * 59 / 60), 0.2, 0.2]),
    ],
)
def test_the_least_crop_by_hand(schedule: str, least: list[float]) -> None:
    options = curriculum(crop_schedule=schedule)
    found = [crop_scale(options, iteration) for iteration in (0, 20, 30, 40, 59, 60, 99)]
    assert found == [about(share) for share in least]


def test_the_curriculum_takes_all_steps_unless_told_otherwise() -> None:
    options = curriculum(crop_schedule="linear", crop_share=1.0)
    for iteration, least in ((0, 0.6), (50, 0.4), (75, 0.3), (99, 0.204)):
        assert crop_scale(options, iteration) == about(least)


def test_a_curriculum_starts_at_the_greatest_share_at_most() -> None:
    for schedule in ("step", "linear", "cosine"):
        assert crop_scale(curriculum(crop_schedule=schedule, crop_start=1.0), 0) == about(0.9)


def test_without_crops_there_is_no_curriculum() -> None:
    assert crop_scale(Recover(iterations=10, crop_start=0.5), 0) is None


@given(st.sampled_from(["step", "linear", "cosine"]), st.integers(1, 200), st.floats(0.01, 1), st.data())
def test_the_least_crop_goes_one_way_and_stays_between_its_ends(
    schedule: str, iterations: int, share: float, data: st.DataObject
) -> None:
    start = data.draw(st.floats(0.2, 0.9))
    options = curriculum(crop_schedule=schedule, iterations=iterations, crop_share=share, crop_start=start)
    least = [found[0] for step in range(iterations) if (found := crop_scale(options, step))]
    assert least[0] == pytest.approx(start)
    assert all(0.2 - 1e-9 <= later <= earlier + 1e-9 for earlier, later in itertools.pairwise(least))


def test_every_step_has_the_crops_of_its_place_in_the_curriculum(
    make_dataset: MakeDataset, make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Augment] = []

    def keep(augment: Augment, *more: Any) -> Any:
        asked.append(augment)
        return draw_view(augment, *more)

    monkeypatch.setattr(recover_module, "draw_view", keep)
    dataset = make_dataset()
    views = Augment(crop_scale=(0.2, 0.8), flip=True)
    recover = Recovery(
        dataset,
        make_network(dataset),
        cross_entropy(),
        augment=views,
        crop_schedule="linear",
        crop_start=0.6,
        crop_share=0.5,
    )
    recover(chunk_of(dataset, range(3)))
    assert [augment.crop_scale for augment in asked] == [about(least, 0.8) for least in (0.6, 0.4, 0.2, 0.2)]
    assert all(replace(augment, crop_scale=(0.2, 0.8)) == views for augment in asked)


# What recover does to pixels.


def chunk_of(dataset: RealDataset, classes: range, ipc: int = 2, index: int = 0, seed: int = 5) -> Chunk:
    """Noise, well within the valid range."""
    count, size = len(classes) * ipc, dataset.size
    return Chunk(
        index=index,
        labels=torch.tensor(list(classes)).repeat_interleave(ipc),
        slots=torch.arange(ipc).repeat(len(classes)),
        weights=torch.full((count,), 1 / ipc),
        images=torch.randn(count, dataset.channels, size, size, generator=seeded(seed + classes.start)).clamp(
            -1.9, 1.9
        ),
    )


class Recovery:
    """Everything of a call of recover_chunk that stays the same within a test."""

    def __init__(
        self,
        dataset: RealDataset,
        teacher: Network | None,
        *components: Component,
        make_network: MakeNetwork | None = None,
        runtime: Runtime = RUNTIME,
        **options: Any,
    ) -> None:
        self.dataset, self.runtime = dataset, runtime
        self.terms = [
            Term(name=type(part).__name__.lower(), component=part, weight=1.0) for part in components
        ]
        self.options = Recover(**{"iterations": 4, "batch": 4, "log_every": 1, "lr": 0.1, **options})
        self.losses: list[Mapping[str, float]] = []

        def fresh(draws: torch.Generator) -> Network:
            assert make_network is not None
            return make_network(dataset, seed=int(torch.randint(2**31, (), generator=draws)))

        self.networks = Networks(teacher, fresh)

    def __call__(self, chunk: Chunk, seed: int = 0) -> Tensor:
        return recover_chunk(
            chunk,
            self.terms,
            self.networks,
            self.options,
            self.dataset,
            generator=seeded(seed),
            runtime=self.runtime,
            log=lambda iteration, losses: self.losses.append({"iteration": iteration, **losses}),
        )


def cross_entropy() -> CrossEntropy:
    return CrossEntropy(NoOptions())


def test_chunks_give_the_same_bytes_in_any_order(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    recover = Recovery(dataset, make_network(dataset), cross_entropy(), augment=VIEWS)
    chunks = [chunk_of(dataset, range(2), index=0), chunk_of(dataset, range(2, 3), index=1)]
    forwards = [recover(chunk, seed=chunk.index) for chunk in chunks]
    backwards = [recover(chunk, seed=chunk.index) for chunk in reversed(chunks)][::-1]
    for one, other, chunk in zip(forwards, backwards, chunks, strict=True):
        assert torch.equal(one, other)
        assert one.shape == chunk.images.shape
        assert not torch.equal(one, chunk.images)


def test_only_the_generator_passed_in_decides(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    recover = Recovery(dataset, make_network(dataset), cross_entropy(), augment=VIEWS)
    chunk = chunk_of(dataset, range(3))
    start = chunk.images.clone()
    torch.manual_seed(1)
    one = recover(chunk)
    torch.manual_seed(2)
    assert torch.equal(recover(chunk), one)
    assert not torch.equal(recover(chunk, seed=1), one)
    assert torch.equal(chunk.images, start)


class Push(FeatureTarget):
    """Wants every pixel as bright as can be."""

    measures = False
    sign = -1.0

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return self.sign * synthetic.images.sum()


class Pull(Push):
    sign = 1.0


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_pixels_end_at_the_border_of_what_is_valid_and_not_beyond(
    optimizer: str, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset(channels=3)
    chunk = chunk_of(dataset, range(3))
    low, high = valid_range(dataset.mean, dataset.std, chunk.images)
    recover = Recovery(dataset, make_network(dataset), Push(), lr=5.0, optimizer=optimizer)
    assert torch.equal(recover(chunk), high.expand_as(chunk.images))
    recover = Recovery(dataset, make_network(dataset), Pull(), lr=5.0, optimizer=optimizer)
    assert torch.equal(recover(chunk), low.expand_as(chunk.images))


def test_pixels_are_valid_at_every_step(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    chunk = chunk_of(dataset, range(3))
    low, high = valid_range(dataset.mean, dataset.std, chunk.images)
    recover = Recovery(dataset, make_network(dataset), witness := Witness(), Push(), lr=50.0)
    recover(chunk)
    assert len(witness.synthetic) == 4
    for seen in witness.synthetic:
        assert bool(((seen >= low) & (seen <= high)).all())


class Towards(FeatureTarget):
    """Squared distance of every image to one image."""

    measures = False

    def __init__(self, goal: Tensor) -> None:
        self.goal = goal

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return (synthetic.images - self.goal).square().sum()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_images_of_least_loss_are_found(
    optimizer: str, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    goal = dataset.training_images(torch.tensor([3]))
    recover = Recovery(
        dataset, make_network(dataset), Towards(goal), optimizer=optimizer, lr=0.2, iterations=60
    )
    found = recover(chunk_of(dataset, range(3)))
    torch.testing.assert_close(found, goal.expand_as(found), rtol=0, atol=0.05)


def test_the_loss_falls(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    recover = Recovery(dataset, make_network(dataset), cross_entropy(), iterations=20, lr=0.5)
    recover(chunk_of(dataset, range(3)))
    assert recover.losses[-1]["crossentropy"] < 0.9 * recover.losses[0]["crossentropy"]


def test_the_loss_is_the_weighted_sum_and_is_logged_where_asked(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    recover = Recovery(dataset, make_network(dataset), cross_entropy(), Push(), iterations=8, log_every=3)
    recover.terms = [
        Term(name=term.name, component=term.component, weight=weight)
        for term, weight in zip(recover.terms, (2.0, -0.5), strict=True)
    ]
    recover(chunk_of(dataset, range(3)))
    assert [losses["iteration"] for losses in recover.losses] == [0, 3, 6, 7]
    for losses in recover.losses:
        assert losses["loss"] == pytest.approx(2 * losses["crossentropy"] - 0.5 * losses["push"], rel=1e-5)


def test_the_teacher_stays_as_it_is(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    before = copy.deepcopy(teacher.model.state_dict())
    Recovery(dataset, teacher, cross_entropy(), Witness(), augment=VIEWS)(chunk_of(dataset, range(3)))
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert not teacher.model.training
    for name, tensor in teacher.model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_no_iterations_leave_the_images_as_they_are(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    recover = Recovery(dataset, make_network(dataset), cross_entropy(), iterations=0)
    chunk = chunk_of(dataset, range(3))
    assert torch.equal(recover(chunk), chunk.images)
    assert recover.losses == []


def test_bfloat16_gives_plain_float32_images(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset(channels=3)
    runtime = make_runtime("cpu", "bf16")
    teacher = make_network(dataset)
    runtime.place(teacher.model)
    recover = Recovery(dataset, teacher, cross_entropy(), runtime=runtime, iterations=20)
    found = recover(chunk_of(dataset, range(3)))
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert recover.losses[-1]["loss"] < recover.losses[0]["loss"]


# What components are shown.


class Witness(Regularizer):
    """Keeps what it sees; its loss is 0."""

    measures = False
    uses_moments = True

    def __init__(self) -> None:
        self.synthetic: list[Tensor] = []
        self.seen: list[Observation] = []
        self.real: list[Observation | None] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.synthetic.append(synthetic.images.detach().clone())
        self.seen.append(synthetic)
        self.real.append(real)
        return 0 * synthetic.features.sum()


class RealWitness(Witness):
    real_batch = 3


class FreshWitness(Witness):
    network: ClassVar[Literal["teacher", "random"]] = "random"


def test_a_component_sees_its_chunk_and_no_real_images_unless_it_asks(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    chunk = chunk_of(dataset, range(1, 3))
    Recovery(dataset, make_network(dataset), witness := Witness(), iterations=1)(chunk)
    batch = witness.seen[0].batch
    assert batch.labels.tolist() == [1, 1, 2, 2]
    assert batch.slots.tolist() == [0, 1, 0, 1]
    assert batch.weights.tolist() == [0.5] * 4
    assert witness.seen[0].moments is not None
    assert torch.equal(witness.synthetic[0], chunk.images)
    assert witness.real == [None]


def test_real_images_are_distinct_ones_of_the_chunks_classes(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    Recovery(dataset, make_network(dataset), witness := RealWitness(), iterations=5)(
        chunk_of(dataset, range(1, 3))
    )
    drawn = []
    for real in witness.real:
        assert real is not None
        assert real.batch.labels.tolist() == [1, 1, 1, 2, 2, 2]
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
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset(counts=(6, 2, 8))
    Recovery(dataset, make_network(dataset), witness := RealWitness(), iterations=1)(
        chunk_of(dataset, range(3))
    )
    [real] = witness.real
    assert real is not None
    assert real.batch.labels.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert len(real.images) == 8
    own = dataset.training_images(dataset.train.of_class(1))
    assert sorted(real.images[3:5].flatten(1).tolist()) == sorted(own.flatten(1).tolist())


class MeanMatch(FeatureTarget):
    """DM's: the mean embedding of each class, of real and synthetic images, in a fresh network."""

    network: ClassVar[Literal["teacher", "random"]] = "random"
    measures = False
    real_batch = 4

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        gap = synthetic.batch.membership @ synthetic.features - real.batch.membership @ real.features
        return gap.square().sum()


@pytest.mark.parametrize("siamese", [(), SIAMESE_OPERATIONS])
def test_matching_real_images_leaves_equal_images_alone(
    siamese: tuple[str, ...], make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """4 images a class, all of them real ones: equal means whatever the network, if both get the same view."""
    dataset = make_dataset(counts=(4, 4, 4))
    chunk = chunk_of(dataset, range(3), ipc=4)
    order = torch.cat([dataset.train.of_class(label) for label in range(3)])
    equal = Chunk(
        index=0,
        labels=chunk.labels,
        slots=chunk.slots,
        weights=chunk.weights,
        images=dataset.training_images(order),
    )
    recover = Recovery(
        dataset,
        None,
        MeanMatch(),
        make_network=make_network,
        optimizer="sgd",
        lr=1.0,
        momentum=0.0,
        iterations=12,
        augment=Augment(siamese=siamese),
    )
    found = recover(equal)
    torch.testing.assert_close(found, equal.images, rtol=0, atol=1e-4)
    assert max(losses["meanmatch"] for losses in recover.losses) < 1e-8
    recover.losses.clear()
    away = recover(chunk)
    assert min(losses["meanmatch"] for losses in recover.losses) > 1e-3
    assert float((away - chunk.images).abs().max()) > 1e-3


def test_real_images_networks_and_views_come_from_the_generator_alone(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    views = Augment(flip=True, siamese=SIAMESE_OPERATIONS)
    recover = Recovery(dataset, None, MeanMatch(), make_network=make_network, augment=views)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(recover(chunk_of(dataset, range(3))))
    assert torch.equal(*found)


def test_a_random_network_is_a_fresh_one_at_every_step(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    first = Recovery(dataset, None, FreshWitness(), make_network=make_network, lr=1e-9)
    second = Recovery(dataset, None, FreshWitness(), make_network=make_network, lr=1e-9)
    chunk = chunk_of(dataset, range(3))
    first(chunk)
    second(chunk)
    features = [seen.features.detach() for seen in first.terms[0].component.seen]  # type: ignore[attr-defined]
    again = [seen.features.detach() for seen in second.terms[0].component.seen]  # type: ignore[attr-defined]
    for one, other in zip(features, again, strict=True):
        assert torch.equal(one, other)
    assert all(not torch.allclose(one, features[0]) for one in features[1:])


class Breaks(FeatureTarget):
    """NaN from the third step on."""

    measures = False

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
    log_every: int, name: str, iteration: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    recover = Recovery(
        dataset, make_network(dataset), cross_entropy(), Breaks(), log_every=log_every, augment=VIEWS
    )
    with pytest.raises(NumericalError) as caught:
        recover(chunk_of(dataset, range(3), index=7))
    assert str(caught.value).startswith(f"'{name}' became nan in recover, chunk 7, iteration {iteration}; ")


class Vector(FeatureTarget):
    """Forgets to add up."""

    measures = False

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        return synthetic.features.square().sum(dim=1)


def test_a_loss_that_is_no_scalar_is_named(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    with pytest.raises(
        PluginError, match=r"the loss of 'vector' must be a scalar, and came with shape \(6,\)"
    ):
        Recovery(dataset, make_network(dataset), Vector())(chunk_of(dataset, range(3)))


class NeedsNorms(Vector):
    uses_moments = True


def test_moments_of_a_network_without_batchnorm(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(3))
    model(torch.zeros(1, dataset.channels, dataset.size, dataset.size))
    with pytest.raises(
        ModelError, match="'needsnorms' reads the inputs of BatchNorm layers, and 'plain' has none"
    ):
        Recovery(dataset, Network(model, "plain"), NeedsNorms())(chunk_of(dataset, range(3)))
