"""How a network is trained: the options that teachers and students share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from condense.errors import unknown_name
from condense.recipe.fields import checked

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["cosine", "half-cosine", "constant", "halfway", "two-drops", "four-halvings"]


SIAMESE_OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The operations of Zhao & Bilen, ICML 2021, in the order in which their code applies them."""


@checked
@dataclass(frozen=True, kw_only=True)
class Augment:
    """How a batch is augmented; everything is off unless set.

    shuffle_patches: the number of rows, and of columns, of tiles that each image is cut into before anything
        else. The rows and the columns are then permuted (RDED; see `condense.data.patches`, also for side
        lengths that the number does not divide). 0 and 1 are off.
    crop_scale: minimum and maximum area fraction of a random resized crop, e.g. (0.08, 1.0); None is off.
    crop_ratio: minimum and maximum width / height of that crop.
    flip: mirror left-right with probability 1/2.
    jitter: maximum shift as a fraction of the side length, rolled around the border; 1/7 is 32 pixels at 224.
    siamese: the `SIAMESE_OPERATIONS` to use, of color, crop, cutout, flip, scale and rotate; () is off.
    siamese_single: whether each step uses one operation drawn from `siamese`; otherwise it uses all of them
        in the order given.
    siamese_always: names that are used at every step if they are among `siamese`. With `siamese_single`, one of the
        others is drawn besides (IDC, Kim et al., ICML 2022, where these are color, flip and cutout).
    cutmix: alpha of the Beta(alpha, alpha) distribution of the fraction of the image that is kept; 0 is off.
    cutmix_probability: the probability in (0, 1] that CutMix mixes a batch.

    Raises ValueError if a value cannot be used.
    """

    shuffle_patches: int = 0
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    jitter: float = 0.0
    siamese: tuple[str, ...] = ()
    siamese_single: bool = True
    siamese_always: tuple[str, ...] = ()
    cutmix: float = 0.0
    cutmix_probability: float = 1.0

    def __post_init__(self) -> None:
        if self.shuffle_patches < 0:
            raise ValueError(
                f"shuffle_patches is a number of rows and columns, or 0 (off), got {self.shuffle_patches!r}"
            )
        if self.crop_scale is not None:
            _check_range(
                "crop_scale", self.crop_scale, highest=1.0, hint="shares of the area, such as (0.08, 1.0)"
            )
        _check_range(
            "crop_ratio", self.crop_ratio, highest=math.inf, hint="width / height, such as (0.75, 1.3333)"
        )
        if not 0 <= self.jitter <= 0.5:
            raise ValueError(
                f"jitter is a share of the side from 0 (off) to 0.5, got {self.jitter!r}; "
                "32 pixels of 224 are 1/7"
            )
        if not self.cutmix >= 0:
            raise ValueError(
                f"cutmix is the alpha of a Beta distribution, 0 (off) or more, got {self.cutmix!r}"
            )
        if not 0 < self.cutmix_probability <= 1:
            raise ValueError(f"cutmix_probability must lie in (0, 1], got {self.cutmix_probability!r}")
        _check_siamese(self.siamese)
        _check_siamese(self.siamese_always)


def _check_range(option: str, bounds: Sequence[float], *, highest: float, hint: str) -> None:
    low, high = bounds
    if not (0 < low <= high <= highest):
        limit = f" <= {highest:g}" if math.isfinite(highest) else ""
        raise ValueError(f"{option} needs 0 < least <= greatest{limit}, {hint}; got {bounds!r}")


def _check_siamese(names: Sequence[str]) -> None:
    for name in names:
        if name not in SIAMESE_OPERATIONS:
            raise ValueError(str(unknown_name("siamese operation", name, SIAMESE_OPERATIONS)))
    if len(set(names)) != len(names):
        raise ValueError(f"siamese and siamese_always name each operation at most once, got {names!r}")


@checked
@dataclass(frozen=True, kw_only=True)
class Training:
    """Options of one training.

    epochs: passes over the data.
    batch_size: images per step.
    optimizer: sgd (with `momentum`, without Nesterov), adam or adamw (both with betas 0.9, 0.999).
    lr: the initial learning rate.
    momentum: of sgd.
    weight_decay: decoupled for adamw.
    schedule: of the learning rate, which changes at every step: cosine to 0, half-cosine (the first half of a
        cosine, to half of `lr`), constant, halfway (a tenth from the middle on), two-drops (a fifth from two thirds
        on, a 25th from five sixths on) or four-halvings (half as much from each fifth on).
    augment: the augmentation of every batch.
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
