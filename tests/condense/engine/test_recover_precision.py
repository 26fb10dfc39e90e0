"""A component that asks for full precision sees float32 where the run has bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.components import FeatureTarget, Term
from condense.engine.recover import Chunk, recover_chunk
from condense.engine.recover_networks import Networks
from condense.models.network import Network
from condense.models.observation import Observation
from condense.recipe.method import Recover
from condense.runtime import make_runtime

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


class Witness(FeatureTarget):
    measures = False
    real_batch = 2

    def __init__(self) -> None:
        self.features: list[Tensor] = []

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        assert real is not None
        self.features += [synthetic.features.detach(), real.features]
        return synthetic.features.square().sum()


class Exact(Witness):
    full_precision = True


class ExactElsewhere(Exact):
    network: ClassVar[Literal["teacher", "random"]] = "random"


@pytest.mark.parametrize(
    ("kinds", "exact"),
    [([Witness], False), ([Exact], True), ([Witness, Exact], True), ([Witness, ExactElsewhere], False)],
)
def test_features_are_those_of_float32_only_where_a_component_of_the_same_network_asks(
    kinds: list[type[Witness]], exact: bool, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    dataset = make_dataset()
    network, components = make_network(dataset), [kind() for kind in kinds]
    chunk = Chunk(
        index=0,
        labels=torch.arange(3),
        slots=torch.zeros(3, dtype=torch.int64),
        weights=torch.ones(3),
        images=torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
    )
    recover_chunk(
        chunk,
        [Term(name=f"term-{place}", component=kind, weight=1.0) for place, kind in enumerate(components)],
        Networks(network, lambda _: make_network(dataset, norm="instance", seed=1)),
        Recover(iterations=1),
        dataset,
        generator=torch.Generator().manual_seed(0),
        runtime=make_runtime("cpu", "bf16"),
        log=lambda *_: None,
    )
    seen = components[0].features
    assert len(seen) == 2
    for features in seen:
        rounded = features.bfloat16().float()
        assert torch.equal(features, rounded) is not exact
    with torch.no_grad():
        expected = network.model.features(chunk.images).flatten(1)
    if exact:
        torch.testing.assert_close(seen[0], expected)
