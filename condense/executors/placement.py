"""Where workers compute: which device each has, and how many threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from condense.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The place of one worker.

    device: that computes tensors: "cpu", "cuda:1", ...
    threads: of torch; 0 leaves them as they are.
    alone: threads of torch for a piece beside which no other is done; 0 for as many as for any other.
    """

    device: str
    threads: int = 0
    alone: int = 0

    def set_threads(self, *, alone: bool = False) -> None:
        """Give torch the threads that it has here, for a site or for a piece. alone: as in `Piece`."""
        if threads := (self.alone or self.threads) if alone else self.threads:
            import torch

            torch.set_num_threads(threads)


def own_placement(kind: str, *, cores: int, threads: int) -> Placement:
    """Return the place of a worker that has a GPU to itself or, without one, some cores.

    kind: of the device, as an order names it. A worker of a cluster sees its own GPU as the first one.
    cores: of a worker. threads: of torch; 0 for as many as cores, and for torch's own choice beside a GPU.
    """
    if kind.startswith("cuda"):
        return Placement(device="cuda:0", threads=threads)
    return Placement(device=kind, threads=threads or cores)


def usual_count(device: str, *, cards: int, cores: int) -> int:
    """Return how many workers there are if nobody says how many: one for each GPU, or for each pair of cores.

    device: "cpu", "cuda", "cuda:1" or "mps". cards: how many GPUs there are. cores: of this process. Two cores have two
    workers, because one with two threads does less (docs/results.md).
    """
    if device == "cuda":
        return max(1, cards)
    return max(min(2, cores), cores // 2) if device == "cpu" else 1


def placements(device: str, count: int, *, cards: int, threads: int, alone: int = 0) -> tuple[Placement, ...]:
    """Return the places of `count` workers on one computer.

    device: "cuda" stands for all GPUs in turn; a device with a number is shared by all workers.
    cards: how many GPUs there are.
    threads: of torch that all workers have together. Each has at least one.
    alone: as in `Placement`.

    Raises OptionError for fewer than one worker.
    """
    if count < 1:
        raise OptionError(f"there must be at least 1 worker, not {count}")
    devices: Sequence[str] = (
        [f"cuda:{number}" for number in range(cards)] if device == "cuda" and cards else [device]
    )
    share = max(1, threads // count)
    return tuple(
        Placement(device=devices[number % len(devices)], threads=share, alone=alone)
        for number in range(count)
    )
