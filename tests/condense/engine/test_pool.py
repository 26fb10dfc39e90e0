"""A pool of networks: what is kept of each training, and what a draw gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.feed import feed_of
from condense.engine.pool import NetworkPool, State, between, train_member
from condense.engine.training import hard_loss, train
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.config import Recipe
from condense.recipe.method import Pool
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.rng import generator, isolated_global_rng
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
SMALL = {
    "pool.model": "convnet(width=4,depth=2,norm=instance)",
    "pool.networks": 2,
    "pool.epochs": 4,
    "pool.checkpoints": 2,
    "pool.batch_size": 8,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# Training.


@pytest.fixture(scope="module")
def dataset(make_dataset: MakeDataset) -> RealDataset:
    return make_dataset()


@pytest.fixture(scope="module")
def registry(dataset: RealDataset, make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(dataset)


def recipe(registry: Registry, **changes: Any) -> Recipe:
    settings = {**SMALL, **changes.pop("settings", {})}
    return configure(registry, method="ncfm", dataset="tiny", ipc=1, settings=settings, **changes).recipe


def test_states_are_those_of_a_training_by_hand(dataset: RealDataset, registry: Registry) -> None:
    """Training goes on from the state in the middle, so the last state is that of one whole training."""
    made = recipe(registry)
    initial, middle, last = train_member(1, made, dataset, registry, RUNTIME)
    network = build_network(made.pool_network, dataset, registry, RUNTIME, generator(0, "pool", 1, "weights"))
    assert same(initial, network.model.state_dict())
    draws = generator(0, "pool", 1, "training")
    with isolated_global_rng(draws):
        train(
            network,
            feed_of(dataset.train, dataset, RUNTIME),
            hard_loss(),
            made.pool,
            generator=draws,
            runtime=RUNTIME,
            what="a network",
        )
    assert same(last, network.model.state_dict())
    assert not same(initial, middle)
    assert not same(middle, last)


def test_one_checkpoint_is_the_end_of_the_training(dataset: RealDataset, registry: Registry) -> None:
    """How many states are kept changes no training."""
    whole = train_member(0, recipe(registry), dataset, registry, RUNTIME)
    once = train_member(0, recipe(registry, settings={"pool.checkpoints": 1}), dataset, registry, RUNTIME)
    assert [len(whole), len(once)] == [3, 2]
    assert same(whole[0], once[0])
    assert same(whole[2], once[1])


def test_networks_differ_and_each_stands_alone(dataset: RealDataset, registry: Registry) -> None:
    made = recipe(registry)
    one, other = (train_member(number, made, dataset, registry, RUNTIME) for number in (1, 0))
    assert not any(same(mine, theirs) for mine, theirs in zip(one, other, strict=True))
    again = train_member(1, replace(made, pool=replace(made.pool, networks=9)), dataset, registry, RUNTIME)
    assert all(same(mine, theirs) for mine, theirs in zip(one, again, strict=True))


def test_the_seed_is_that_of_the_teacher(dataset: RealDataset, registry: Registry) -> None:
    plain = train_member(0, recipe(registry), dataset, registry, RUNTIME)
    settings = {"teacher.seed": 0}
    kept = train_member(0, recipe(registry, seed=3, settings=settings), dataset, registry, RUNTIME)
    other = train_member(0, recipe(registry, seed=3), dataset, registry, RUNTIME)
    assert same(plain[-1], kept[-1])
    assert not same(plain[-1], other[-1])


# Weights between two states.


def test_weights_lie_on_the_line_between_two_states() -> None:
    initial = {"weight": torch.tensor([0.0, 8.0]), "seen": torch.tensor(0)}
    trained = {"weight": torch.tensor([4.0, 0.0]), "seen": torch.tensor(6)}
    for share, expected in ((0.0, [4.0, 0.0]), (1.0, [0.0, 8.0]), (0.25, [3.0, 2.0])):
        found = between(initial, trained, share)
        assert found["weight"].tolist() == pytest.approx(expected)
        assert int(found["seen"]) == 6


# Draws.


class Site:
    """A pool of 2 networks with 2 kept states each, whose weights all have one value: 10 * network + state."""

    def __init__(self, dataset: RealDataset, make_network: MakeNetwork, **options: Any) -> None:
        self.built = 0
        self.names = list(make_network(dataset).model.state_dict())

        def build(draws: torch.Generator) -> Network:
            self.built += 1
            return make_network(dataset, seed=int(torch.randint(2**31, (), generator=draws)))

        blank = make_network(dataset).model.state_dict()

        def states(number: int) -> Sequence[State]:
            return [
                {name: torch.full_like(tensor, 10 * number + state) for name, tensor in blank.items()}
                for state in range(3)
            ]

        pool = Pool(**{"networks": 2, "checkpoints": 2, "epochs": 2, **options})
        self.pool = NetworkPool(pool, states, build)
        self.draws = seeded()

    def values(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """The weights of the mixed and of the trained network of several draws, one entry for each."""
        found = []
        for _ in range(count):
            drawn = self.pool.draw(self.draws)
            weights = [
                torch.cat([weight.detach().flatten() for weight in network.model.parameters()])
                for network in (drawn.mixed, drawn.trained)
            ]
            found.append((weights[0], weights[1]))
        return found


@pytest.fixture
def site(dataset: RealDataset, make_network: MakeNetwork) -> Callable[..., Site]:
    return lambda **options: Site(dataset, make_network, **options)


def test_a_draw_is_any_kept_state_and_never_the_initial_one(site: Callable[..., Site]) -> None:
    """Each of the four is as likely as the others: 100 of 400, give or take 5 standard deviations of 8.7."""
    found: Counter[float] = Counter()
    place = site()
    for mixed, trained in place.values(400):
        assert float(mixed.std()) == 0
        found[float(mixed[0])] += 1
        assert float(trained[0]) == 10 * (float(mixed[0]) // 10) + 2
    assert sorted(found) == [1, 2, 11, 12]
    assert all(abs(count - 100) < 44 for count in found.values())
    assert place.built == 2  # one network for each part, filled anew


def test_an_interpolation_is_one_place_on_the_line_for_all_weights(site: Callable[..., Site]) -> None:
    """Uniform between the initial state, 10 * network, and the kept one."""
    shares = []
    for mixed, trained in site(draw="interpolated", checkpoints=1, epochs=1).values(400):
        first = 10 * (float(trained[0]) // 10)
        assert float(mixed.std()) == pytest.approx(0, abs=1e-5)
        shares.append(float(mixed[0]) - first)
    spread = torch.tensor(shares)
    assert 0 <= float(spread.min()) < 0.03
    assert 0.97 < float(spread.max()) <= 1
    assert float(spread.mean()) == pytest.approx(0.5, abs=5 * (1 / 12 / 400) ** 0.5)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_a_fraction_of_the_draws_is_random(fraction: float, site: Callable[..., Site]) -> None:
    found = site(random=fraction).values(200)
    fresh = [float(mixed.std()) > 0 for mixed, _ in found]
    assert sum(fresh) / 200 == pytest.approx(fraction, abs=0.17)
    assert all(float(trained[0]) in (2, 12) for _, trained in found)
    several = torch.stack([mixed for mixed, _ in found if float(mixed.std()) > 0]) if any(fresh) else None
    assert several is None or len(torch.unique(several, dim=0)) == len(several)


@pytest.mark.parametrize(("mode", "training"), [("train", True), ("eval", False)])
def test_the_mode_is_declared(mode: str, training: bool, site: Callable[..., Site]) -> None:
    place = site(mode=mode, random=0.5)
    for _ in range(6):
        drawn = place.pool.draw(place.draws)
        assert drawn.mixed.model.training is drawn.trained.model.training is training
        assert not any(weight.requires_grad for weight in drawn.mixed.model.parameters())


def test_a_generator_decides_the_draws(site: Callable[..., Site]) -> None:
    one, other = (site(draw="interpolated", random=0.3).values(20) for _ in range(2))
    assert all(torch.equal(mine[0], theirs[0]) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("epochs", "checkpoints", "kept"), [(60, 1, (60,)), (10, 10, tuple(range(1, 11))), (7, 3, (2, 4, 7))]
)
def test_states_are_kept_after_equal_parts(epochs: int, checkpoints: int, kept: tuple[int, ...]) -> None:
    assert Pool(epochs=epochs, checkpoints=checkpoints).kept_after() == kept


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"networks": 0}, "networks must be at least 1, not 0"),
        ({"checkpoints": 0}, "checkpoints must lie between 1 and the number of epochs, 50, not 0"),
        ({"epochs": 3, "checkpoints": 4}, "between 1 and the number of epochs, 3, not 4"),
        ({"epochs": 0}, "between 1 and the number of epochs, 0, not 1"),
        ({"random": 1.1}, r"random must lie in \[0, 1\], not 1.1"),
        ({"random": float("nan")}, "random must be a finite number"),
        ({"draw": "mixed"}, "draw must be one of checkpoint, interpolated, not 'mixed'"),
        ({"mode": "test"}, "mode must be one of train, eval, not 'test'"),
    ],
)
def test_what_cannot_be_a_pool_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Pool(**options)
