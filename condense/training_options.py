"""How a network is trained: the options teachers and students share. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from condense.data.augment import Augment

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["cosine", "half-cosine", "constant", "halfway"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of one training.

    epochs: passes over the data. batch_size: images per step. optimizer: sgd (with Nesterov off and `momentum`),
    adam or adamw (both with betas 0.9, 0.999). lr: at the start. weight_decay: decoupled for adamw.
    schedule: cosine to 0, half-cosine (the first half of a cosine, to half of `lr`), constant, or halfway (a tenth from
    the middle on), stepped every step.
    """

    epochs: int = 50
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs must be 0 or more, not {self.epochs}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be 0 or more, not {self.weight_decay}")
