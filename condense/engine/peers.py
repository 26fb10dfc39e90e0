"""Peers: processes that train one network together, each on a share of every batch.

Each has the same draws, and the gradients of all are averaged, so that a step is that of one process up to rounding.
There are two exceptions. BatchNorm normalises each share by itself and keeps the running statistics of the first
share, and CutMix mixes within a share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from condense.data.feed import Batch, Feed
from condense.data.shares import WHOLE, Share
from condense.engine.unfinished import Unfinished
from condense.models.network import Network
from condense.recipe.training import Augment
from condense.runtime import Runtime

T = TypeVar("T")


class Peers(Protocol):
    """The peers of this process. Every peer calls the same methods in the same order.

    share: of every batch, that this process trains on. Share 0 is that of the first, which keeps and tells things.
    """

    share: Share

    def averaged(self, model: nn.Module) -> nn.Module:
        """Return a network with the parameters of `model` whose gradients are averaged over the peers."""

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a scalar over the peers."""

    def from_first(self, make: Callable[[], T]) -> T:
        """Return to every peer what `make` returns to the first, which alone calls it. It can be pickled."""

    def in_turn(self) -> AbstractContextManager[None]:
        """Do the block in the first peer of each computer, and then in the others: they find what it fetched."""


class Alone:
    """One process that trains a network by itself."""

    share = WHOLE

    def averaged(self, model: nn.Module) -> nn.Module:
        """Return the network."""
        return model

    def mean(self, value: Tensor) -> Tensor:
        """Return the value."""
        return value

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what `make` returns."""
        return make()

    def in_turn(self) -> AbstractContextManager[None]:
        """Do the block."""
        return nullcontext()


class SharedNetwork(Network):
    """A network whose gradients are averaged over peers. It has the weights of the network that it is made of."""

    def __init__(self, network: Network, peers: Peers) -> None:
        super().__init__(network.model, network.name, member=network.member)
        self._averaged = peers.averaged(network.model)

    def _forward(self, images: Tensor) -> object:
        return self._averaged(images)


@dataclass(frozen=True)
class SharedFeed:
    """A feed that yields a share of each batch, for `train`."""

    feed: Feed
    share: Share

    def training_steps(self, batch_size: int) -> int:
        """Return the number of batches, which is that of the whole feed."""
        return self.feed.training_steps(batch_size)

    def training_batches(
        self, augment: Augment, batch_size: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Yield the share of every batch; see `Feed.training_batches`."""
        yield from self.feed.training_batches(augment, batch_size, generator, share=self.share)


class SharedUnfinished(Unfinished):
    """An unfinished training of several peers: the first keeps it, and all of them get it back from the first."""

    def __init__(self, file: Path, runtime: Runtime, peers: Peers) -> None:
        super().__init__(file, runtime)
        self._peers = peers

    def is_due(self) -> bool:
        """Return whether this process keeps the next end of an epoch."""
        return self._peers.share.number == 0 and super().is_due()

    def read(self) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Return what the first has kept, or None."""
        return self._peers.from_first(super().read)

    def remove(self) -> None:
        """Remove the file, if this is the first."""
        if self._peers.share.number == 0:
            super().remove()
