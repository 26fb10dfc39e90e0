"""What can be set of RDED's images. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RdedOptions:
    """factor: every image is made of factor x factor tiles; a protocol that shuffles patches should know as many
    (protocol.augment.shuffle_patches). pool: real images that are looked at, a random choice of the class; all of a
    smaller class, and never fewer than tiles are wanted. crops: random crops of each of them. crop_scale: their least
    and greatest share of the area; they are square.

    The defaults are those of the published code (LINs-lab/RDED): factor, pool (--mipc) and crops (--num-crop) as in
    its scripts for ImageNet and its subsets; crop_scale is that of torchvision's RandomResizedCrop, which it leaves.
    """

    factor: int = 2
    pool: int = 300
    crops: int = 5
    crop_scale: tuple[float, float] = (0.08, 1.0)

    def __post_init__(self) -> None:
        for name in ("factor", "pool", "crops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale needs 0 < least <= greatest <= 1, not {self.crop_scale}")
