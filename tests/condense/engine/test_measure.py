"""Measure: every image once to every loss that observes, and what stops it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, Loss, WeightedLoss
from condense.engine.measure import check_teacher, measure
from condense.errors import ModelError, NumericalError
from condense.models.ensemble import Ensemble
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.needs import (
    ImagesAlone,
    Needs,
    Statistic,
    ThroughRandomNetwork,
    ThroughTeacher,
    ThroughWeightGradients,
)
from condense.recipe.training import Augment
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


class Diary(FeatureTarget):
    """Writes down what it is called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.batches: list[Observation] = []
        self.draw = -1

    def begin(self, classes: int) -> None:
        self.calls.append(f"begin {classes}")

    def observe(self, real: Observation) -> None:
        self.calls.append("observe")
        self.batches.append(real)

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        self.calls.append(f"fit {ipc}")
        self.draw = int(torch.randint(2**31, (), generator=generator))


OBSERVES = Needs(through=ThroughTeacher(observes=True))


class Reservoir(Loss):
    """Keeps 5 of the images that it has seen, all alike likely (Vitter 1985, algorithm R), and what begin drew."""

    def begin(self, classes: int, generator: torch.Generator) -> None:
        self.begun = float(torch.rand((), generator=generator))
        self.seen: list[int] = []
        self.kept: list[int] = []

    def observe(self, real: Observation) -> None:
        assert real.indices is not None and real.generator is not None
        for index in real.indices.tolist():
            self.seen.append(index)
            place = int(torch.randint(len(self.seen), (), generator=real.generator))
            if len(self.kept) < 5:
                self.kept.append(index)
            elif place < 5:
                self.kept[place] = index


class Blind(Loss):
    """Looks at no real image: its needs do not say that it observes."""

    def begin(self, classes: int) -> None:
        raise AssertionError("it does not want to see anything")

    observe = fit = begin  # type: ignore[assignment]


def observing(*statistics: Statistic, each_member: bool = False) -> Needs:
    return Needs(through=ThroughTeacher(observes=True, statistics=statistics, each_member=each_member))


BLIND = Needs(through=ThroughTeacher(statistics=("convolutions",)))
RANDOM = Needs(through=ThroughRandomNetwork(statistics=("batchnorm", "convolutions")))


def run(
    dataset: RealDataset,
    teacher: Network,
    *losses: tuple[Loss, Needs],
    batch_size: int = 4,
    seed: int = 0,
    views: int = 0,
    augment: Augment | None = None,
) -> None:
    measure(
        [
            WeightedLoss(name=str(index), loss=loss, weight=1.0, needs=needs)
            for index, (loss, needs) in enumerate(losses)
        ],
        teacher,
        dataset,
        RUNTIME,
        batch_size=batch_size,
        seed=seed,
        ipc=2,
        views=views,
        augment=augment,
    )


@pytest.mark.parametrize("batch_size", [1, 4, 20, 21, 100])
def test_every_image_is_seen_once_by_every_loss_that_observes(
    batch_size: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    first, second = Diary(), Diary()
    losses = [(first, observing()), (Blind(), BLIND), (Blind(), RANDOM), (second, observing())]
    run(dataset, make_network(dataset), *losses, batch_size=batch_size)
    batches = -(-21 // batch_size)
    for diary in (first, second):
        assert diary.calls == ["begin 3", *["observe"] * batches, "fit 2"]
        seen = torch.cat([batch.images for batch in diary.batches])
        labels = torch.cat([batch.batch.labels for batch in diary.batches])
        order = seen.flatten(1).double().sum(1).argsort()
        real = dataset.training_images(torch.arange(21))
        real_order = real.flatten(1).double().sum(1).argsort()
        assert torch.equal(seen[order], real[real_order])
        assert torch.equal(labels[order], dataset.train.labels[real_order])
    assert first.draw != second.draw


def test_views_of_every_image_are_shown_if_the_recipe_compares_views(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Shifted images have the pixels of the whole ones in another place; each pass shows every image once."""
    dataset = make_dataset()
    diary, again = Diary(), Diary()
    for kept in (diary, again):
        run(dataset, make_network(dataset), (kept, observing()), views=3, augment=Augment(jitter=0.25))
    assert diary.calls == ["begin 3", *["observe"] * 18, "fit 2"]
    seen = torch.cat([batch.images for batch in diary.batches]).view(3, 21, 1, 8, 8)
    whole = dataset.training_images(torch.arange(21))
    for once in seen:
        assert torch.equal(once.flatten(1).sort(1).values, whole.flatten(1).sort(1).values)
        assert not torch.equal(once, whole)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen, torch.cat([batch.images for batch in again.batches]).view_as(seen))


def test_observations_are_the_teachers_whatever_the_batches(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    images = dataset.training_images(torch.arange(21))
    for batch_size in (1, 5, 50):
        diary = Diary()
        run(dataset, teacher, (diary, observing()), batch_size=batch_size)
        logits = torch.cat([batch.logits for batch in diary.batches])
        features = torch.cat([batch.features for batch in diary.batches])
        torch.testing.assert_close(logits, teacher.model(images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(features, teacher.model.features(images).flatten(1), rtol=1e-4, atol=1e-5)
        assert not any(batch.features.requires_grad for batch in diary.batches)


def test_moments_are_read_only_for_a_loss_that_observes_them(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    plain, tapping = Diary(), Diary()
    run(dataset, make_network(dataset), (plain, observing()), (Blind(), RANDOM))
    run(dataset, make_network(dataset), (tapping, observing("batchnorm")))
    assert plain.batches[0].moments is None
    moments = tapping.batches[0].moments
    assert moments is not None
    assert moments.mean.shape == (4, 16)


def test_a_teacher_without_batchnorm(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    teacher = make_network(make_dataset(), norm="instance")
    with pytest.raises(ModelError) as caught:
        check_teacher({"fine": observing(), "bn": observing("batchnorm")}, teacher)
    assert str(caught.value) == (
        "'bn' needs the BatchNorm statistics of the teacher, and 'convnet' has no BatchNorm layer; choose another "
        "with --set teacher.model=NAME, or leave it out with --without bn"
    )
    check_teacher({"fine": observing()}, teacher)
    check_teacher({"bn": observing("batchnorm")}, make_network(make_dataset()))


@pytest.mark.parametrize("observes", [False, True])
def test_a_loss_that_does_not_observe_needs_its_layers_in_the_teacher_as_well(
    observes: bool, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    needs = Needs(through=ThroughTeacher(statistics=("batchnorm",), observes=observes))
    with pytest.raises(ModelError, match="'bn' needs the BatchNorm statistics of the teacher"):
        check_teacher({"bn": needs}, make_network(make_dataset(), norm="instance"))


@pytest.mark.parametrize("through", [RANDOM.through, ThroughWeightGradients(), ImagesAlone()])
def test_a_loss_that_does_not_look_through_the_teacher_needs_nothing_in_it(
    through: Any, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    teacher = make_network(make_dataset(), norm="instance")
    check_teacher({"look": Needs(through=through)}, teacher)
    check_teacher({"look": Needs(through=through)}, ensemble_of(teacher, teacher))


def test_features_that_are_nan_stop_the_pass(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    teacher.model.features[0].weight.data.fill_(torch.nan)
    diary = Diary()
    with pytest.raises(NumericalError) as caught:
        run(dataset, teacher, (diary, observing()))
    assert str(caught.value) == (
        "the teacher's features of 4 of 4 real images are not finite, first that of training image 0; "
        "try --precision fp32, or another teacher"
    )
    assert diary.calls == ["begin 3"]


class Fragile(nn.Module):
    """Features that are infinite for images whose first pixel is white."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(64, 3)

    def forward(self, images: Tensor) -> Tensor:
        white = images[:, 0, 0, 0] >= (1 - 0.5) / 0.25
        features = images.flatten(1) + torch.where(white, torch.inf, 0.0)[:, None]
        logits: Tensor = self.classifier(features)
        return logits


def test_the_image_whose_features_are_not_finite_is_named(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    pixels = dataset.train.images.pixels  # type: ignore[attr-defined]
    pixels[:, 0, 0, 0] = 0
    pixels[[9, 11, 13], 0, 0, 0] = 255
    with pytest.raises(NumericalError, match=r"of 2 of 4 real images .* first that of training image 9;"):
        run(dataset, Network(Fragile(), "fragile"), (Diary(), observing()))


def ensemble_of(*members: Network) -> Network:
    return Network(
        Ensemble([member.name for member in members], [member.model for member in members]), "pair"
    )


def test_through_several_networks_each_batch_is_seen_once_through_each(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    networks = make_network(dataset), make_network(dataset, width=4, seed=1)
    diary, by_member = Diary(), observing(each_member=True)
    run(dataset, ensemble_of(*networks), (diary, by_member), batch_size=10)
    assert [batch.member for batch in diary.batches] == [0, 1] * 3
    for first, second in zip(diary.batches[::2], diary.batches[1::2], strict=True):
        assert first.images is second.images
        assert first.batch is second.batch
    for index, network in enumerate(networks):
        alone = Diary()
        run(dataset, network, (alone, by_member), batch_size=10)
        for seen, expected in zip(diary.batches[index::2], alone.batches, strict=True):
            assert torch.equal(seen.features, expected.features)
            assert torch.equal(seen.logits, expected.logits)


def test_convolutions_are_read_only_for_a_loss_that_observes_them(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    plain, convolving = Diary(), Diary()
    run(dataset, make_network(dataset), (plain, observing("batchnorm")), (Blind(), BLIND))
    run(dataset, make_network(dataset), (convolving, observing("convolutions")))
    assert plain.batches[0].convolutions is plain.batches[0].patches is None
    assert convolving.batches[0].moments is None
    assert convolving.batches[0].convolutions is not None
    assert convolving.batches[0].convolutions.mean.shape == (4, 9)


def test_a_loss_that_looks_through_one_network_refuses_several(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    pair = ensemble_of(make_network(make_dataset()), make_network(make_dataset()))
    with pytest.raises(ModelError) as caught:
        check_teacher({"one by one": observing(each_member=True), "one": observing()}, pair)
    assert str(caught.value) == (
        "'one' looks through one network, and 'pair' is 2; choose another teacher with --set teacher.model=NAME, or "
        "leave it out with --without one"
    )
    check_teacher({"random": RANDOM}, pair)
    check_teacher({"alone": observing()}, ensemble_of(make_network(make_dataset())))


def test_every_member_must_have_the_layers_that_are_read(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset, both = make_dataset(), observing("batchnorm", "convolutions", each_member=True)
    bare = Network(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 3)), "bare")
    with pytest.raises(ModelError, match="convolution statistics of the teacher, and 'bare' has no Conv2d"):
        check_teacher({"both": both}, ensemble_of(make_network(dataset), bare))
    with pytest.raises(ModelError, match="'convnet' has no BatchNorm layer"):
        check_teacher({"both": both}, ensemble_of(make_network(dataset, norm="instance"), bare))
    check_teacher({"both": both}, ensemble_of(make_network(dataset), make_network(dataset)))


def test_losses_are_fitted_from_draws_of_the_seed_and_their_place_among_those_that_observe(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)

    def draws(*losses: tuple[Loss, Needs], seed: int = 0) -> list[int]:
        run(dataset, teacher, *losses, seed=seed)
        return [loss.draw for loss, _ in losses if isinstance(loss, Diary)]

    def diaries() -> list[tuple[Loss, Needs]]:
        return [(Diary(), observing()) for _ in range(2)]

    first = draws(*diaries())
    assert draws(*diaries()) == first
    assert draws((Blind(), BLIND), *diaries()) == first
    assert not set(draws(*diaries(), seed=1)) & set(first)


def test_a_loss_can_draw_a_reservoir_of_images(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    """Each image is known by its index, each loss has draws of its own, and every image is as likely as any other."""
    dataset = make_dataset()
    teacher = make_network(dataset)

    def found(seed: int, *names: str) -> list[Reservoir]:
        losses = [WeightedLoss(name=name, loss=Reservoir(), weight=1.0, needs=OBSERVES) for name in names]
        measure(losses, teacher, dataset, RUNTIME, batch_size=8, seed=seed, ipc=1)
        return [loss.loss for loss in losses if isinstance(loss.loss, Reservoir)]

    [alone], [one, other] = found(0, "one"), found(0, "one", "other")
    assert (one.kept, one.begun) == (alone.kept, alone.begun)
    assert other.kept != one.kept and other.begun != one.begun
    assert sorted(one.seen) == list(range(21))
    kept = torch.zeros(21)
    for seed in range(60):
        kept[found(seed, "one")[0].kept] += 1
    # Binomial with n = 60, p = 5 / 21: mean 14.3, standard deviation 3.3.
    assert kept.sum() == 300 and kept.min() >= 2 and kept.max() <= 28


def test_an_image_is_known_by_its_index_in_every_view(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    shown = Diary()
    losses = [WeightedLoss(name="shown", loss=shown, weight=1.0, needs=OBSERVES)]
    measure(
        losses,
        make_network(dataset),
        dataset,
        RUNTIME,
        batch_size=8,
        seed=0,
        ipc=1,
        views=2,
        augment=Augment(),
    )
    for seen in shown.batches:
        assert seen.indices is not None
        assert torch.equal(dataset.training_images(seen.indices), seen.images)
    indices = torch.cat([seen.indices for seen in shown.batches if seen.indices is not None])
    assert indices.tolist() == [*range(21)] * 2
