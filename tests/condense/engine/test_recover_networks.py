"""The networks of recover: when a fresh one comes, what takes gradients, and how it learns from the pixels."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine.pool import Drawn
from condense.engine.recover_networks import Networks, PixelFeed, SomeOf
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.recipe.needs import (
    ImagesAlone,
    Needs,
    ThroughPool,
    ThroughRandomNetwork,
    ThroughTeacher,
    ThroughUnrolledStudent,
    ThroughWeightGradients,
)
from condense.recipe.training import Augment, Training
from condense.rng import derive_seed
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]

# Plain gradient descent: what it does in one step can be written down.
PLAIN = Training(epochs=1, batch_size=100, lr=0.1, momentum=0.0, weight_decay=0.0, schedule="constant")


TEACHER = Needs(through=ThroughTeacher())
RANDOM = Needs(through=ThroughRandomNetwork())
GRADIENTS = Needs(through=ThroughWeightGradients())
UNROLLED = Needs(through=ThroughUnrolledStudent())
ALONE = Needs(through=ImagesAlone())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Chunks:
    """Networks whose fresh ones are counted, and some pixels to learn from."""

    def __init__(self, dataset: RealDataset, make_network: MakeNetwork, **options: Any) -> None:
        self.dataset, self.made = dataset, 0
        self.options = Recover(**{"iterations": 100, **options})
        self.teacher = make_network(dataset)
        self.draws = seeded()
        self.labels = torch.tensor([0, 1, 2, 1])
        self.pixels = torch.randn(4, 1, 8, 8, generator=seeded(3), requires_grad=True)

        def fresh(draws: torch.Generator) -> Network:
            self.made += 1
            return make_network(dataset, norm="instance", seed=int(torch.randint(2**31, (), generator=draws)))

        self.networks = Networks(self.teacher, fresh)

    def step(self, iteration: int, needs: Sequence[Needs] = (RANDOM,)) -> dict[str, Network]:
        return self.networks.of_step(needs, iteration, self.options, self.draws)

    def unrolled(self, iteration: int, *, begin: bool = True) -> Network:
        if begin:
            self.networks.of_step([UNROLLED], iteration, self.options, self.draws)
        return self.networks.unrolled(iteration, self.pixels, self.labels, self.options, self.draws, RUNTIME)

    def learn(self, iteration: int) -> None:
        self.networks.learn(
            iteration, self.pixels, self.labels, self.options, generator=self.draws, runtime=RUNTIME
        )


@pytest.fixture
def chunks(make_dataset: MakeDataset, make_network: MakeNetwork) -> Callable[..., Chunks]:
    return lambda **options: Chunks(make_dataset(), make_network, **options)


def weights(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


# Which network.


def test_one_network_for_each_kind_that_is_wanted(chunks: Callable[..., Chunks]) -> None:
    site = chunks()
    assert site.step(0, [TEACHER]) == {"teacher": site.teacher}
    assert site.made == 0
    both = site.step(0, [TEACHER, RANDOM, RANDOM])
    assert list(both) == ["teacher", "random"]
    assert both["teacher"] is site.teacher
    assert site.made == 1
    assert list(site.step(1)) == ["random"]


def test_gradients_of_weights_are_those_of_a_random_network(chunks: Callable[..., Chunks]) -> None:
    site = chunks()
    assert list(site.step(0, [GRADIENTS])) == ["random"]
    assert site.made == 1


def test_a_loss_of_the_images_alone_has_no_network(chunks: Callable[..., Chunks]) -> None:
    site = chunks()
    state = site.draws.get_state()
    assert site.step(0, [ALONE]) == site.step(1, []) == {}
    assert site.made == 0
    assert torch.equal(site.draws.get_state(), state)
    assert site.step(3, [ALONE, TEACHER]) == {"teacher": site.teacher}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1, 2, 3, 4, 5, 6, 7]), (2, [1, 1, 2, 2, 3, 3, 4]), (3, [1, 1, 1, 2, 2, 2, 3]), (50, [1] * 7)],
)
def test_a_fresh_network_every_few_steps(
    steps: int, expected: list[int], chunks: Callable[..., Chunks]
) -> None:
    site = chunks(network_steps=steps)
    seen: list[Network] = []
    for iteration, made in enumerate(expected):
        network = site.step(iteration)["random"]
        assert site.made == made
        if network not in seen:
            seen.append(network)
        assert network is seen[made - 1]
    different = [weights(network)["classifier.weight"] for network in seen]
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(different))


def test_random_networks_take_turns_and_are_replaced_at_different_times(
    chunks: Callable[..., Chunks],
) -> None:
    """Three networks of four steps each: the second is a step ahead of the first, and the third is two ahead."""
    site = chunks(networks=3, network_steps=4)
    ages: list[int] = []
    seen: list[Network] = []
    for iteration in range(18):
        seen.append(site.step(iteration)["random"])
        ages.append(sum(network is seen[-1] for network in seen))
    assert ages[0::3] == [1, 2, 3, 4, 1, 2]
    assert ages[1::3] == [1, 2, 3, 1, 2, 3]
    assert ages[2::3] == [1, 2, 1, 2, 3, 4]


def test_each_of_several_networks_learns_until_it_is_replaced(chunks: Callable[..., Chunks]) -> None:
    site = chunks(networks=2, network_steps=2, inner=PLAIN, iterations=8)
    learned = []
    for iteration in range(8):
        network = site.step(iteration)["random"]
        before = weights(network)
        site.learn(iteration)
        learned.append(not same(before, weights(network)))
    # The first has steps 0, 2 | 4, 6, and the second, half a life ahead, has step 1 | 3, 5 | 7.
    assert learned == [True, False, False, True, True, False, False, False]


def test_the_generator_decides_the_networks(chunks: Callable[..., Chunks]) -> None:
    one, other = chunks(), chunks()
    for iteration in range(3):
        assert same(weights(one.step(iteration)["random"]), weights(other.step(iteration)["random"]))


def test_a_random_network_is_in_training_mode_and_the_teacher_is_not(chunks: Callable[..., Chunks]) -> None:
    site = chunks()
    found = site.step(0, [TEACHER, RANDOM])
    assert found["random"].model.training
    assert not found["teacher"].model.training


@pytest.mark.parametrize("trainable", [False, True])
def test_weights_take_gradients_only_if_a_loss_asks(trainable: bool, chunks: Callable[..., Chunks]) -> None:
    """Also after the network learned, for which it needs gradients of its own."""
    site = chunks(network_steps=9, inner=PLAIN)
    needs = [TEACHER, RANDOM, *([GRADIENTS] if trainable else [])]
    for iteration in range(3):
        found = site.step(iteration, needs)
        assert {weight.requires_grad for weight in found["random"].model.parameters()} == {trainable}
        assert not any(weight.requires_grad for weight in found["teacher"].model.parameters())
        site.learn(iteration)


# Learning from the pixels.


def test_it_learns_between_steps_on_one_network_and_never_before_a_fresh_one(
    chunks: Callable[..., Chunks],
) -> None:
    site = chunks(iterations=8, network_steps=3, inner=PLAIN)
    learned = []
    for iteration in range(8):
        network = site.step(iteration)["random"]
        before = weights(network)
        site.learn(iteration)
        learned.append(not same(before, weights(network)))
    # Networks live for the steps 0-2, 3-5 and 6-7; step 7 is the last of all.
    assert learned == [True, True, False, True, True, False, True, False]


def test_it_does_not_learn_unless_asked_to(chunks: Callable[..., Chunks]) -> None:
    site = chunks(network_steps=3)
    before = weights(site.step(0)["random"])
    state = site.draws.get_state()
    site.learn(0)
    assert same(before, weights(site.step(1)["random"]))
    assert torch.equal(state, site.draws.get_state())


def test_the_teacher_never_learns(chunks: Callable[..., Chunks]) -> None:
    site = chunks(network_steps=3, inner=PLAIN)
    before = weights(site.teacher)
    site.step(0, [TEACHER])
    site.learn(0)
    site.step(1, [TEACHER, RANDOM])
    site.learn(1)
    assert same(before, weights(site.teacher))


def test_one_step_of_learning_is_one_step_down_the_gradient(chunks: Callable[..., Chunks]) -> None:
    """One batch of all images, without momentum: weight - lr * gradient of the mean cross-entropy."""
    site = chunks(network_steps=3, inner=PLAIN)
    network = site.step(0)["random"]
    network.model.requires_grad_(True)
    parameters = dict(network.model.named_parameters())
    loss = F.cross_entropy(network.logits(site.pixels.detach()), site.labels)
    slopes = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    expected = {name: (weight - 0.1 * slopes[name]).detach() for name, weight in parameters.items()}
    site.learn(0)
    assert site.step(1)["random"] is network
    for name, weight in parameters.items():
        torch.testing.assert_close(weight.detach(), expected[name])


def test_the_pixels_are_only_looked_at(chunks: Callable[..., Chunks]) -> None:
    site = chunks(network_steps=9, inner=Training(epochs=4, batch_size=2, lr=0.1))
    before = site.pixels.detach().clone()
    site.step(0)
    site.learn(0)
    assert torch.equal(site.pixels, before)
    assert site.pixels.grad is None
    assert site.pixels.requires_grad


def test_learning_is_repeated_by_the_generator_alone(chunks: Callable[..., Chunks]) -> None:
    inner = Training(epochs=3, batch_size=2, lr=0.1, augment=Augment(flip=True, siamese=("crop", "cutout")))
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        site = chunks(network_steps=9, inner=inner)
        network = site.step(0)["random"]
        site.learn(0)
        found.append(weights(network))
    assert same(*found)
    other = chunks(network_steps=9, inner=inner)
    network = other.step(0)["random"]
    other.draws.manual_seed(derive_seed(0, "elsewhere"))
    other.learn(0)
    assert not same(found[0], weights(network))


def test_learning_lowers_the_loss_on_the_synthetic_images(chunks: Callable[..., Chunks]) -> None:
    site = chunks(network_steps=9, inner=Training(epochs=30, batch_size=4, lr=0.05))
    network = site.step(0)["random"]

    def loss() -> float:
        return F.cross_entropy(network.logits(site.pixels), site.labels).item()

    before = loss()
    site.learn(0)
    assert loss() < 0.5 * before


# Batches of pixels.


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_every_image_comes_once_as_it_is(batch_size: int, sizes: list[int]) -> None:
    pixels = torch.randn(5, 3, 4, 4, generator=seeded(), requires_grad=True)
    labels = torch.tensor([2, 0, 1, 1, 0])
    feed = PixelFeed(pixels, labels, RUNTIME)
    batches = list(feed.training_batches(Augment(), batch_size, seeded(1)))
    assert [len(batch.indices) for batch in batches] == sizes
    assert feed.training_steps(batch_size) == len(sizes)
    assert sorted(torch.cat([batch.indices for batch in batches]).tolist()) == [0, 1, 2, 3, 4]
    for batch in batches:
        assert torch.equal(batch.images, pixels.detach()[batch.indices])
        assert torch.equal(batch.labels, labels[batch.indices])
        assert batch.mix is None
    (gradient,) = torch.autograd.grad(sum(batch.images.sum() for batch in batches), [pixels])
    assert torch.equal(gradient, torch.ones_like(pixels))


def test_batches_of_pixels_are_mixed() -> None:
    pixels = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    feed = PixelFeed(pixels, torch.arange(6), RUNTIME)
    for batch in feed.training_batches(Augment(cutmix=1.0), 3, seeded(2)):
        assert batch.mix is not None
        own = batch.indices.view(-1, 1, 1, 1).float()
        partner = own[batch.mix.permutation]
        assert bool(((batch.images == own) | (batch.images == partner)).all())
        share = (batch.images == own).float().mean(dim=(1, 2, 3))
        others = batch.mix.permutation != torch.arange(len(own))
        torch.testing.assert_close(share[others], torch.full_like(share[others], batch.mix.share))


# Students that are unrolled.


def test_a_student_goes_on_until_a_fresh_one_comes(chunks: Callable[..., Chunks]) -> None:
    """Two turns each, of the 4 steps that are the most: 8 in a life."""
    site = chunks(network_steps=2, inner=replace(PLAIN, epochs=9, batch_size=2), inner_steps=4)
    reached = [site.unrolled(iteration) for iteration in range(4)]
    assert site.made == 2
    assert site.networks._unrolled[0]._done == 8
    assert reached[1].model is reached[0].model
    assert reached[3].model is reached[2].model
    assert reached[2].model is not reached[1].model


def test_the_first_students_differ_in_age(chunks: Callable[..., Chunks]) -> None:
    """Of two with 4 turns each, the second is 2 turns of 3 steps ahead, and is replaced as much earlier."""
    site = chunks(networks=2, network_steps=4, inner=replace(PLAIN, epochs=3))
    ages = []
    for iteration in range(8):
        site.unrolled(iteration)
        ages.append(site.networks._unrolled[iteration % 2]._done // 3)
    assert ages == [1, 3, 2, 4, 3, 1, 4, 2]


def test_what_a_student_answers_has_a_gradient_to_the_pixels_of_this_turn(
    chunks: Callable[..., Chunks],
) -> None:
    site = chunks(network_steps=9, inner=replace(PLAIN, epochs=2))
    real = torch.randn(5, 1, 8, 8, generator=seeded(8))
    first = site.unrolled(0).logits(real)
    (gradient,) = torch.autograd.grad(first.square().sum(), [site.pixels])
    assert bool((gradient.abs().sum(dim=(1, 2, 3)) > 0).all())
    earlier = site.pixels
    site.pixels = earlier.detach().clone().requires_grad_(True)
    second = site.unrolled(1).logits(real)
    assert torch.autograd.grad(second.sum(), [earlier], allow_unused=True) == (None,)
    assert not torch.equal(first, second)


def test_a_student_that_is_unrolled_learns_nothing_between_steps(chunks: Callable[..., Chunks]) -> None:
    site = chunks(network_steps=9, inner=PLAIN)
    site.unrolled(0)
    network = site.networks._random[0]
    before = weights(network)
    site.learn(0)
    assert same(before, weights(network))


def test_a_student_learns_the_answers_of_the_teacher(chunks: Callable[..., Chunks]) -> None:
    """One step down the gradient of KL(teacher || student) at the temperature, by hand."""
    site = chunks(network_steps=9, inner=PLAIN, inner_labels="online", inner_temperature=3.0)
    network = site.step(0)["random"]
    parameters = {
        name: one.detach().clone().requires_grad_() for name, one in network.model.named_parameters()
    }
    logits = torch.func.functional_call(network.model, parameters, (site.pixels,))
    wanted = torch.softmax(site.teacher.logits(site.pixels) / 3, dim=1)
    loss = F.kl_div(torch.log_softmax(logits / 3, dim=1), wanted, reduction="batchmean")
    slopes = torch.autograd.grad(loss, list(parameters.values()))
    expected = {
        name: (one - 0.1 * slope).detach()
        for (name, one), slope in zip(parameters.items(), slopes, strict=True)
    }
    real = torch.randn(5, 1, 8, 8, generator=seeded(8))
    found = site.unrolled(0, begin=False).logits(real)
    network.model.eval()
    torch.testing.assert_close(found, torch.func.functional_call(network.model, expected, (real,)))


# Learning from real images.


def real_site(chunks: Callable[..., Chunks], **options: Any) -> Chunks:
    site = chunks(**{"network_steps": 9, "inner_on": "real", **options})
    site.networks = Networks(
        site.teacher,
        site.networks._fresh,
        real=feed_of(site.dataset.train, site.dataset, RUNTIME),
    )
    return site


def test_one_step_on_all_real_images_is_one_step_down_their_gradient(chunks: Callable[..., Chunks]) -> None:
    site = real_site(chunks, inner=PLAIN)
    network = site.step(0)["random"]
    network.model.requires_grad_(True)
    parameters = dict(network.model.named_parameters())
    train = site.dataset.train
    images = site.dataset.training_images(torch.arange(len(train)))
    loss = F.cross_entropy(network.logits(images), train.labels)
    slopes = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    expected = {name: (weight - 0.1 * slopes[name]).detach() for name, weight in parameters.items()}
    site.learn(0)
    for name, weight in parameters.items():
        torch.testing.assert_close(weight.detach(), expected[name])


@pytest.mark.parametrize(("images", "steps"), [(0, 5), (7, 2), (8, 2), (1000, 5)])
def test_as_many_real_images_as_asked_for(images: int, steps: int, make_dataset: MakeDataset) -> None:
    """21 images in batches of 4: the last batch would have one image, which joins the one before; so 5 steps."""
    dataset = make_dataset()
    feed = SomeOf(feed_of(dataset.train, dataset, RUNTIME), images)
    seen = [batch.indices for batch in feed.training_batches(Augment(), 4, seeded())]
    assert len(seen) == feed.training_steps(4) == steps
    assert len(torch.cat(seen)) == min(images or 21, 21)
    assert len(torch.unique(torch.cat(seen))) == len(torch.cat(seen))
    again = torch.cat([batch.indices for batch in feed.training_batches(Augment(), 4, seeded(1))])
    assert images in (0, 1000) or set(again.tolist()) != set(torch.cat(seen).tolist())


def test_momentum_lasts_as_long_as_the_network(chunks: Callable[..., Chunks]) -> None:
    """Two trainings of one step with momentum m move by g, then by m g + g'; a new network starts without any."""
    inner = Training(epochs=1, batch_size=100, lr=0.1, momentum=0.9, weight_decay=0.0, schedule="constant")
    site = real_site(chunks, inner=inner, network_steps=3)
    network = site.step(0)["random"]
    train = site.dataset.train
    images = site.dataset.training_images(torch.arange(len(train)))

    def slope() -> Tensor:
        weight = network.model.requires_grad_(True).classifier.weight
        found: Tensor = torch.autograd.grad(F.cross_entropy(network.logits(images), train.labels), weight)[0]
        return found

    before, first = network.model.classifier.weight.detach().clone(), slope()
    site.learn(0)
    between, second = network.model.classifier.weight.detach().clone(), slope()
    site.step(1)
    site.learn(1)
    after = network.model.classifier.weight.detach()
    torch.testing.assert_close(before - between, 0.1 * first)
    torch.testing.assert_close(between - after, 0.1 * (0.9 * first + second), rtol=1e-4, atol=1e-6)
    network = site.step(3)["random"]
    before, first = network.model.classifier.weight.detach().clone(), slope()
    site.learn(3)
    torch.testing.assert_close(before - network.model.classifier.weight.detach(), 0.1 * first)


# A pool.


class CountedPool:
    """A pool whose draws are counted."""

    def __init__(self, site: Chunks) -> None:
        self.site, self.drawn = site, 0

    def draw(self, draws: torch.Generator) -> Drawn:
        self.drawn += 1
        networks = [self.site.networks._fresh(draws).frozen() for _ in range(2)]
        return Drawn(mixed=networks[0], trained=networks[1])


def pool_site(chunks: Callable[..., Chunks], **options: Any) -> tuple[Chunks, CountedPool]:
    site = chunks(**options)
    pool: Any = CountedPool(site)
    site.networks = Networks(site.teacher, site.networks._fresh, pool=pool)
    return site, pool


POOL, TRAINED = Needs(through=ThroughPool()), Needs(through=ThroughPool(trained=True))
POOL_GRADIENTS = Needs(through=ThroughPool(weight_gradients=True))


def test_losses_of_a_step_see_one_draw_of_the_pool(chunks: Callable[..., Chunks]) -> None:
    site, pool = pool_site(chunks, network_steps=2)
    first = site.step(0, [POOL, TRAINED, POOL])
    assert list(first) == ["pool", "trained"]
    assert first["pool"] is not first["trained"]
    assert site.step(1, [POOL, TRAINED]) == first
    assert pool.drawn == 1
    assert site.step(2, [POOL])["pool"] is not first["pool"]
    assert pool.drawn == 2
    assert list(site.step(3, [TEACHER, RANDOM, TRAINED])) == ["teacher", "random", "trained"]


def test_weights_of_a_pool_take_gradients_only_if_a_loss_asks(chunks: Callable[..., Chunks]) -> None:
    site, _ = pool_site(chunks)

    def trainable(needs: Sequence[Needs]) -> dict[str, set[bool]]:
        found = site.step(0, needs)
        return {
            kind: {weight.requires_grad for weight in net.model.parameters()} for kind, net in found.items()
        }

    assert trainable([POOL, TRAINED]) == {"pool": {False}, "trained": {False}}
    assert trainable([POOL_GRADIENTS, POOL, TRAINED]) == {"pool": {True}, "trained": {False}}


def test_the_drawn_network_learns_on_until_the_next_draw(chunks: Callable[..., Chunks]) -> None:
    """The trained network of the draw stays as it is, and so does the mode."""
    site, _ = pool_site(chunks, network_steps=3, inner=PLAIN)
    learned = []
    for iteration in range(6):
        found = site.step(iteration, [POOL, TRAINED])
        before, kept = weights(found["pool"]), weights(found["trained"])
        site.learn(iteration)
        learned.append(not same(before, weights(found["pool"])))
        assert same(kept, weights(found["trained"]))
        assert not found["pool"].model.training
    assert learned == [True, True, False, True, True, False]
    assert not any(weight.requires_grad for weight in site.step(1, [POOL])["pool"].model.parameters())
