"""Recovering through a teacher of several networks: one at a step, in turn, and without a draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.components import FeatureTarget, Loss, WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.engine.standard import CrossEntropy
from condense.errors import ModelError
from condense.models.ensemble import Ensemble
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.method import Recover
from condense.recipe.needs import Needs, ThroughRandomNetwork, ThroughTeacher
from condense.recipe.specs import NoOptions
from condense.rng import generator
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


class Witness(FeatureTarget):
    """Notes through which network it looked, and what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.seen.append(synthetic)
        return synthetic.logits.square().mean()


BY_MEMBER = Needs(through=ThroughTeacher(each_member=True))
CONVOLVING = Needs(through=ThroughTeacher(each_member=True, statistics=("convolutions",)))


def never(draws: torch.Generator) -> Network:
    raise AssertionError("nobody looks through a random network")


def chunk_of(dataset: RealDataset) -> Chunk:
    images = dataset.training_images(torch.arange(4))
    weights = torch.full((4,), 0.5)
    return Chunk(
        index=0,
        labels=torch.tensor([0, 0, 1, 1]),
        slots=torch.tensor([0, 1, 0, 1]),
        weights=weights,
        images=images,
    )


def recover(
    dataset: RealDataset, networks: Networks, *losses: tuple[Loss, Needs], iterations: int = 7
) -> tuple[Tensor, Tensor]:
    """The images, and where the generator of the chunk stood afterwards."""
    draws = generator(0, "recover", "chunk", 0)
    images = recover_chunk(
        chunk_of(dataset),
        [
            WeightedLoss(name=str(index), loss=loss, weight=1.0, needs=needs)
            for index, (loss, needs) in enumerate(losses)
        ],
        networks,
        Recover(iterations=iterations, lr=0.05),
        dataset,
        generator=draws,
        runtime=RUNTIME,
        log=lambda iteration, losses: None,
    )
    return images, draws.get_state()


@pytest.fixture
def trio(make_dataset: MakeDataset, make_network: MakeNetwork) -> Network:
    parts = [make_network(make_dataset(), seed=seed) for seed in range(3)]
    return Network(Ensemble([part.name for part in parts], [part.model for part in parts]), "trio").frozen()


def test_every_step_looks_through_one_network_and_each_has_its_turn(
    trio: Network, make_dataset: MakeDataset
) -> None:
    dataset = make_dataset()
    calls: list[int] = []
    for member in trio.members:
        member.model.register_forward_hook(lambda *_, index=member.member: calls.append(index))
    first, second = Witness(), Witness()
    recover(dataset, Networks(trio, never), (first, BY_MEMBER), (second, CONVOLVING))
    assert calls == [0, 1, 2, 0, 1, 2, 0]
    for witness in (first, second):
        assert [seen.member for seen in witness.seen] == calls
    assert all(seen.convolutions is not None for seen in second.seen)
    again = Witness()
    recover(dataset, Networks(trio, never), (again, BY_MEMBER), iterations=30)
    assert Counter(seen.member for seen in again.seen) == {0: 10, 1: 10, 2: 10}


def test_it_gives_the_same_bytes_again(trio: Network, make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    one, _ = recover(dataset, Networks(trio, never), (CrossEntropy(NoOptions()), BY_MEMBER))
    again, _ = recover(dataset, Networks(trio, never), (CrossEntropy(NoOptions()), BY_MEMBER))
    alone, _ = recover(dataset, Networks(trio.members[0], never), (CrossEntropy(NoOptions()), BY_MEMBER))
    assert torch.equal(one, again)
    assert not torch.equal(one, alone)


def test_the_turns_take_no_draw(trio: Network, make_dataset: MakeDataset) -> None:
    """So the draws of a teacher that is one network are those that they were before there were others."""
    dataset = make_dataset()
    start = generator(0, "recover", "chunk", 0).get_state()
    for teacher in (trio, trio.members[1]):
        _, state = recover(dataset, Networks(teacher, never), (Witness(), BY_MEMBER))
        assert torch.equal(state, start)


def test_a_plain_teacher_is_given_as_it_is(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    plain = make_network(make_dataset())
    networks = Networks(plain, never)
    draws = generator(0)
    for iteration in range(5):
        assert networks.of_step([BY_MEMBER], iteration, Recover(), draws) == {"teacher": plain}
    assert torch.equal(draws.get_state(), generator(0).get_state())


def test_random_networks_without_convolutions_are_refused(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()

    def linear(draws: torch.Generator) -> Network:
        return Network(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), "linear")

    with pytest.raises(ModelError, match="reads the inputs of convolutions, and 'linear' has none"):
        needs = Needs(through=ThroughRandomNetwork(statistics=("convolutions",)))
        recover(dataset, Networks(None, linear), (Witness(), needs))
