"""Measure in shards: what is merged is what one pass finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.components import Loss, WeightedLoss
from condense.engine.measure import WHOLE, Shard, fit_merged, look, measure, mergeable, observed_by
from condense.errors import PluginError
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.needs import Needs, ThroughTeacher
from condense.recipe.registry import default_registry
from condense.recipe.training import Augment
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MERGES = Needs(through=ThroughTeacher(observes=True, merges=True))


class Listed(Loss):
    """Keeps every image that it is shown, and a draw for each batch."""

    def begin(self, classes: int) -> None:
        self.images: list[Tensor] = []
        self.draws: list[Tensor] = []

    def observe(self, real: Observation) -> None:
        self.images.append(real.images)
        self.draws.append(torch.rand(1))

    def observed(self) -> dict[str, Tensor]:
        return {"images": torch.cat(self.images)} if self.images else {}

    def merge(self, observed: Mapping[str, Tensor]) -> None:
        self.images += observed.values()

    def fit(self, ipc: int, generator: torch.Generator) -> None:
        self.fitted = torch.rand(ipc, generator=generator)


def built(name: str) -> WeightedLoss:
    """The loss of a plugin in its usual form, not fitted."""
    registry = default_registry()
    kind = "feature target" if name == "barycenter" else "regularizer"
    spec = registry.find(kind, name)
    options = spec.options()
    return WeightedLoss(name=name, loss=spec.builder()(options), weight=1.0, needs=spec.needs_of(options))


def in_shards(
    make: Callable[[], list[WeightedLoss]],
    count: int,
    teacher: Network,
    dataset: RealDataset,
    batch_size: int = 4,
    views: int = 0,
) -> list[WeightedLoss]:
    """Losses that are fitted to shards, the last of which is measured first."""
    shards: dict[int, Mapping[str, Tensor]] = {}
    for number in reversed(range(count)):
        losses = make()
        look(
            losses,
            teacher,
            dataset,
            RUNTIME,
            Shard(number=number, count=count),
            batch_size=batch_size,
            seed=0,
            views=views,
            augment=Augment(jitter=0.25),
        )
        shards[number] = observed_by(losses)
    fitted = make()
    ordered = [shards[number] for number in range(count)]
    fit_merged(fitted, ordered, classes=len(dataset.classes), seed=0, ipc=2, runtime=RUNTIME)
    return fitted


@pytest.mark.parametrize("count", [1, 2, 3, 9])
@pytest.mark.parametrize("name", ["barycenter", "class-batchnorm", "convolutions"])
def test_a_loss_that_merges_finds_what_one_pass_finds(
    name: str, count: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Nine shards of six batches: some have none."""
    dataset = make_dataset()
    teacher = make_network(dataset)
    [once] = [built(name)]
    measure([once], teacher, dataset, RUNTIME, batch_size=4, seed=0, ipc=2)
    [merged] = in_shards(lambda: [built(name)], count, teacher, dataset)
    wanted, found = once.loss.state(), merged.loss.state()
    assert found.keys() == wanted.keys()
    for key in wanted:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-6, atol=1e-7)


def test_shards_are_the_batches_of_the_pass_in_order() -> None:
    for images, batch_size, count in ((21, 4, 3), (20, 4, 5), (3, 4, 2), (100, 7, 4)):
        parts = [Shard(number=number, count=count).within(images, batch_size) for number in range(count)]
        assert [position for part in parts for position in part] == list(range(images))
        assert all(part.start % batch_size == 0 for part in parts if part)
        sizes = [-(-len(part) // batch_size) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    assert WHOLE.within(21, 4) == range(21)


@pytest.mark.parametrize(("number", "count"), [(-1, 2), (2, 2), (0, 0)])
def test_a_shard_that_is_none_is_refused(number: int, count: int) -> None:
    with pytest.raises(ValueError, match="there is no shard"):
        Shard(number=number, count=count)


def test_views_of_shards_show_every_image_and_their_draws_differ(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)

    def make() -> list[WeightedLoss]:
        return [WeightedLoss(name="listed", loss=Listed(), weight=1.0, needs=MERGES)]

    [found] = in_shards(make, 2, teacher, dataset, views=2)
    assert isinstance(found.loss, Listed)
    shown = torch.cat(found.loss.images).flatten(1).sort(1).values
    whole = dataset.training_images(torch.arange(21)).flatten(1).sort(1).values
    first = Shard(number=0, count=2).within(21, 4)
    for part, images in ((first, shown[: 2 * len(first)]), (range(len(first), 21), shown[2 * len(first) :])):
        assert torch.equal(images, whole[torch.tensor(part)].repeat(2, 1))
    draws = []
    for number in range(2):
        losses = make()
        shard = Shard(number=number, count=2)
        look(losses, teacher, dataset, RUNTIME, shard, batch_size=4, seed=0)
        assert isinstance(losses[0].loss, Listed)
        draws.append(losses[0].loss.draws[0])
    assert not torch.equal(*draws)


def test_shards_are_possible_if_all_that_observe_merge() -> None:
    needs = {"merges": MERGES, "blind": Needs(), "alone": Needs(through=ThroughTeacher(observes=True))}
    losses = {
        name: WeightedLoss(name=name, loss=Loss(), weight=1.0, needs=wanted) for name, wanted in needs.items()
    }
    assert mergeable([losses["merges"], losses["blind"]])
    assert not mergeable([losses["merges"], losses["alone"]])


def test_what_was_observed_must_be_a_dict_of_tensors() -> None:
    loss = Listed()
    loss.observed = lambda: {"images": 3}  # type: ignore[method-assign, dict-item, return-value]
    with pytest.raises(
        PluginError, match=r"what loss 'listed' observed must be a dict of tensors, and is \{'images': 3\}"
    ):
        observed_by([WeightedLoss(name="listed", loss=loss, weight=1.0, needs=MERGES)])


def test_nothing_to_observe_is_nothing_to_merge() -> None:
    with pytest.raises(ValueError, match="has nothing to merge; say observes=True too"):
        ThroughTeacher(merges=True)
