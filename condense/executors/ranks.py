"""Ranks: processes that torchrun starts, on one computer or several, and that train one network together.

This is not an executor: it divides one training, and no pieces. torchrun tells each process its number in the
environment, and ends all of them if one fails.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from condense.data.shares import Share
from condense.errors import CondenseError, OptionError
from condense.executors.placement import placements

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# How long a rank waits for the others; the first may fetch a dataset meanwhile. One that goes is noticed at once.
_PATIENCE = datetime.timedelta(hours=6)
_SPOKEN, _DONE = "condense/spoken", "condense/done"


class LostRankError(CondenseError):
    """Another rank of the training has gone."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that torchrun started.

    number: of this process, from 0. count: of all processes. local: the number of this process on its computer.
    of_computer: how many processes this computer has.
    """

    number: int
    count: int
    local: int
    of_computer: int

    @classmethod
    def started(cls, environment: Mapping[str, str] = os.environ) -> Ranks | None:
        """Return what torchrun wrote into the environment, or None if it did not start this process."""
        if not all(environment.get(name) for name in _VARIABLES):
            return None
        number, count = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local = int(environment.get("LOCAL_RANK", number))
        return cls(number, count, local, int(environment.get("LOCAL_WORLD_SIZE", count)))

    @cached_property
    def _store(self) -> Any:
        """What all ranks read and write: under torchrun a part of torchrun, which outlives them."""
        from torch.distributed.rendezvous import rendezvous

        store, _, _ = next(iter(rendezvous("env://")))
        return store

    @cached_property
    def speaks(self) -> bool:
        """Whether this rank tells why all of them end: the first that asks does, and the others are silent."""
        try:
            return bool(self._store.add(_SPOKEN, 1) == 1)
        except RuntimeError:  # The store has gone, and the other ranks with it.
            return True

    def device(self, wanted: str) -> str:
        """Return the device of this rank. wanted: as users name it; "auto" and "cuda" give each rank a GPU of its own.

        Raises OptionError if two ranks would have one GPU, and for a kind of device on which ranks cannot compute.
        """
        import torch

        cards = torch.cuda.device_count()
        kind = ("cuda" if cards else "cpu") if wanted == "auto" else wanted
        if kind.startswith("cuda") and self.of_computer > (cards if kind == "cuda" else 1):
            raise OptionError(
                f"{self.of_computer} processes on this computer need a GPU each, and --device {wanted} has "
                f"{cards if kind == 'cuda' else 1}; start fewer processes, or use --device cpu"
            )
        if kind == "mps" and self.count > 1:
            raise OptionError(
                "several processes train a network on CPUs or CUDA devices, and not on mps; use --device cpu"
            )
        return placements(kind, self.of_computer, cards=cards, threads=0)[self.local].device

    @contextmanager
    def group(self, device: torch.device) -> Iterator[RankPeers]:
        """Join the other ranks inside the block. device: of this rank.

        Raises LostRankError if another rank goes before it leaves the block.
        """
        import torch
        from torch import distributed

        if device.type == "cuda":
            torch.cuda.set_device(device)
        nccl = device.type == "cuda" and distributed.is_nccl_available()
        try:
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if nccl else "gloo",
                store=self._store,
                rank=self.number,
                world_size=self.count,
                timeout=_PATIENCE,
            )
            yield RankPeers(self)
            # Rank 0 leaves first, so that nobody goes while it still reads the last of what they sent.
            if self.number == 0:
                self._store.set(_DONE, "")
            else:
                self._store.wait([_DONE], _PATIENCE)
        except RuntimeError as error:
            if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
                _ = self.speaks
                raise
            raise LostRankError(
                f"another of the {self.count} processes that train the network has ended without a word, so the "
                "training ends. What was kept of it is used when the same command is started again"
            ) from error
        except BaseException:
            # Before the others notice that this rank goes.
            _ = self.speaks
            raise
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()


class RankPeers:
    """The other ranks as peers of a training; see `condense.engine.peers.Peers`."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.share = Share(ranks.number, ranks.count)

    def averaged(self, model: nn.Module) -> nn.Module:
        """Return a network with the parameters of `model` whose gradients are averaged over the ranks.

        Before each pass, the buffers of rank 0, such as the statistics of BatchNorm, replace those of the others.
        """
        from torch.nn.parallel import DistributedDataParallel

        # A network may have parameters that no pass uses. That they are the same in every step is true of all networks.
        return DistributedDataParallel(model, static_graph=True)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a scalar over the ranks."""
        from torch import distributed

        total = value.clone()
        distributed.all_reduce(total)
        return total / self._ranks.count

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what `make` returns to rank 0, which alone calls it. It can be pickled."""
        from torch import distributed

        found = [make() if self._ranks.number == 0 else None]
        distributed.broadcast_object_list(found, src=0)
        return found[0]  # type: ignore[return-value]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Do the block in the first rank of each computer, and then in the others: they find what it fetched."""
        if self._ranks.local:
            self._wait()
        yield
        if not self._ranks.local:
            self._wait()

    def _wait(self) -> None:
        import torch
        from torch import distributed

        distributed.all_reduce(torch.zeros(1))
