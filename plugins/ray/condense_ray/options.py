"""The options of the executor `ray`."""

from __future__ import annotations

from dataclasses import dataclass

from condense import check_least, checked


@checked
@dataclass(frozen=True, kw_only=True)
class RayOptions:
    """Where Ray is reached, and what each worker gets.

    address: of the cluster, such as "auto", "HOST:6379" or "ray://HOST:10001"; "" for that in RAY_ADDRESS, or else a
        Ray of this computer alone that ends with the command.
    workers: how many; 0 for as many as the cluster has room for.
    cores: CPU cores that each worker without a GPU reserves.
    threads: of torch that each worker has; 0 for as many as cores. On a CPU, the last bits of sums depend on it.

    Raises ValueError for a number below its minimum.
    """

    address: str = ""
    workers: int = 0
    cores: int = 2
    threads: int = 0

    def __post_init__(self) -> None:
        check_least(self, workers=0, cores=1, threads=0)
