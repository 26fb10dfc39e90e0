"""A loss that needs float32 sees it also where the run has bfloat16."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.components import FeatureTarget, WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.method import Recover
from condense.recipe.needs import Needs, ThroughRandomNetwork
from condense.runtime import make_runtime

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


class Witness(FeatureTarget):
    def __init__(self) -> None:
        self.features: list[Tensor] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        self.features += [synthetic.features.detach(), real.features]
        return synthetic.features.square().sum()


PLAIN = Needs(real_per_class=2)
EXACT = Needs(real_per_class=2, float32=True)
EXACT_ELSEWHERE = Needs(real_per_class=2, float32=True, through=ThroughRandomNetwork())


@pytest.mark.parametrize(
    ("needs", "exact"),
    [([PLAIN], False), ([EXACT], True), ([PLAIN, EXACT], True), ([PLAIN, EXACT_ELSEWHERE], False)],
)
def test_features_are_those_of_float32_only_if_a_loss_of_the_same_network_asks(
    needs: list[Needs], exact: bool, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    network, losses = make_network(dataset), [Witness() for _ in needs]
    chunk = Chunk(
        index=0,
        labels=torch.arange(3),
        slots=torch.zeros(3, dtype=torch.int64),
        weights=torch.ones(3),
        images=torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
    )
    recover_chunk(
        chunk,
        [
            WeightedLoss(name=f"loss-{place}", loss=loss, weight=1.0, needs=needs[place])
            for place, loss in enumerate(losses)
        ],
        Networks(network, lambda _: make_network(dataset, norm="instance", seed=1)),
        Recover(iterations=1),
        dataset,
        generator=torch.Generator().manual_seed(0),
        runtime=make_runtime("cpu", "bf16"),
        log=lambda *_: None,
    )
    seen = losses[0].features
    assert len(seen) == 2
    for features in seen:
        rounded = features.bfloat16().float()
        assert torch.equal(features, rounded) is not exact
    with torch.no_grad():
        expected = network.model.features(chunk.images).flatten(1)
    if exact:
        torch.testing.assert_close(seen[0], expected)
