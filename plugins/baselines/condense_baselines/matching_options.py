"""What can be set of the targets that match real batches. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RealBatchOptions:
    """real_batch: real images of each class at every step; a class that has fewer gives all it has."""

    real_batch: int = 256

    def __post_init__(self) -> None:
        if self.real_batch < 1:
            raise ValueError(f"real_batch must be at least 1, not {self.real_batch}")
