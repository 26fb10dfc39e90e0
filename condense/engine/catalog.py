"""What can be set of the initializers. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """std: standard deviation of the noise, in units of the dataset's."""

    std: float = 1.0

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise ValueError(f"std must be above 0, not {self.std}")
