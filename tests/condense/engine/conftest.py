"""Chunks of noise, and recovery of them with everything that stays the same within a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder
from condense.data.parametrizations.standard import AS_THEY_ARE
from condense.engine.chunks import Chunk
from condense.engine.components import Loss, WeightedLoss
from condense.engine.recover import recover_chunk
from condense.engine.recover_networks import Networks
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.recipe.needs import Needs
from condense.runtime import Runtime, make_runtime


class Recovery:
    """Everything of a call of `recover_chunk` that stays the same within a test.

    losses: each alone, or with its needs; they are named by their classes and have weight 1. logged: the losses.
    """

    def __init__(
        self,
        dataset: RealDataset,
        teacher: Network | None,
        *losses: Loss | tuple[Loss, Needs],
        make_network: Callable[..., Network] | None = None,
        runtime: Runtime | None = None,
        coder: Coder = AS_THEY_ARE,
        **options: Any,
    ) -> None:
        self.coder = coder
        self.dataset, self.runtime = dataset, runtime or make_runtime("cpu", "fp32")
        pairs = [given if isinstance(given, tuple) else (given, Needs()) for given in losses]
        self.losses = [
            WeightedLoss(name=type(loss).__name__.lower(), loss=loss, weight=1.0, needs=needs)
            for loss, needs in pairs
        ]
        self.options = Recover(**{"iterations": 4, "batch": 4, "log_every": 1, "lr": 0.1, **options})
        self.logged: list[Mapping[str, float]] = []

        def fresh(draws: torch.Generator) -> Network:
            assert make_network is not None
            return make_network(dataset, seed=int(torch.randint(2**31, (), generator=draws)))

        self.networks = Networks(teacher, fresh)

    def __call__(self, chunk: Chunk, seed: int = 0) -> Tensor:
        return recover_chunk(
            chunk,
            self.losses,
            self.networks,
            self.options,
            self.dataset,
            generator=torch.Generator().manual_seed(seed),
            runtime=self.runtime,
            log=lambda iteration, losses: self.logged.append({"iteration": iteration, **losses}),
            coder=self.coder,
        )


def chunk_of(dataset: RealDataset, classes: range, ipc: int = 2, index: int = 0, seed: int = 5) -> Chunk:
    """Noise, well within the valid range."""
    count, size = len(classes) * ipc, dataset.size
    draws = torch.Generator().manual_seed(seed + classes.start)
    return Chunk(
        index=index,
        labels=torch.tensor(list(classes)).repeat_interleave(ipc),
        slots=torch.arange(ipc).repeat(len(classes)),
        weights=torch.full((count,), 1 / ipc),
        images=torch.randn(count, dataset.channels, size, size, generator=draws).clamp(-1.9, 1.9),
    )


@pytest.fixture(scope="session")
def make_recovery() -> Callable[..., Recovery]:
    return Recovery


@pytest.fixture(scope="session")
def make_chunk() -> Callable[..., Chunk]:
    return chunk_of
