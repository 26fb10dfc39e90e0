"""The options of the baselines' components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from condense import checked

Metric = Literal["mse", "l1"]


@checked
@dataclass(frozen=True, kw_only=True)
class RealBatchOptions:
    """real_batch: real images of each class at every step; a smaller class gives all of its images."""

    real_batch: int = 256

    def __post_init__(self) -> None:
        if self.real_batch < 1:
            raise ValueError(f"real_batch must be at least 1, not {self.real_batch}")


@checked
@dataclass(frozen=True, kw_only=True)
class GradientDistanceOptions:
    """metric: "mse" adds squared differences of gradients, "l1" absolute ones. The published code has mse for CIFAR and
        SVHN, and l1 for MNIST and Fashion-MNIST.
    network: what it looks through: a random network, which `recover.inner` may train (IDC), or the pool.
    real_batch: real images of each class at every step; a smaller class gives all of its images.
    """

    metric: Metric = "mse"
    network: Literal["random", "pool"] = "random"
    real_batch: int = 64

    def __post_init__(self) -> None:
        if self.real_batch < 1:
            raise ValueError(f"real_batch must be at least 1, not {self.real_batch}")


@checked
@dataclass(frozen=True, kw_only=True)
class CharacteristicFunctionOptions:
    """frequencies: how many are drawn for each class and step; the published code has 4096, the paper 1024.
    amplitude, phase: factors of the two terms; the second must be above 0.
    real_batch: real images of each class at every step; a smaller class gives all of its images.
    """

    frequencies: int = 4096
    amplitude: float = 0.5
    phase: float = 0.5
    real_batch: int = 1024

    def __post_init__(self) -> None:
        for name in ("frequencies", "real_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.amplitude < math.inf:
            raise ValueError(f"amplitude must be 0 or more, not {self.amplitude}")
        if not 0 < self.phase < math.inf:
            raise ValueError(f"phase must be above 0, not {self.phase}")


@checked
@dataclass(frozen=True, kw_only=True)
class FeatureRegressionOptions:
    """ridge: the strength of the ridge, as a fraction of the mean of the kernel's diagonal, above 0.
    real_batch: real images of each class at every step; a smaller class gives all of its images.
    """

    ridge: float = 1e-3
    real_batch: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.ridge < math.inf:
            raise ValueError(f"ridge must be above 0, not {self.ridge}")
        if self.real_batch < 1:
            raise ValueError(f"real_batch must be at least 1, not {self.real_batch}")


@dataclass(frozen=True, kw_only=True)
class BatchNormOptions:
    """first_weight: weight of the network's first BatchNorm layer; every other layer has weight 1. The
    published code of SRe2L and CDA has 10, and the paper does not give it.
    """

    first_weight: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.first_weight < math.inf:
            raise ValueError(f"first_weight must be 0 or more, not {self.first_weight}")


@checked
@dataclass(frozen=True, kw_only=True)
class ConvolutionsOptions:
    """first_weight: weight of the network's first convolution; every other one has weight 1.
    patches: whether the statistics of patches are matched besides those of channels.
    """

    first_weight: float = 10.0
    patches: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.first_weight < math.inf:
            raise ValueError(f"first_weight must be 0 or more, not {self.first_weight}")


@checked
@dataclass(frozen=True, kw_only=True)
class DensificationOptions:
    """temperature: of the softmax whose result the eigenvalues are pulled to.
    side: the side length in pixels to which larger images are shrunk first.
    """

    temperature: float = 4.0
    side: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")
        if self.side < 1:
            raise ValueError(f"side must be at least 1, not {self.side}")


@checked
@dataclass(frozen=True, kw_only=True)
class RdedOptions:
    """factor: every image is made of factor x factor tiles. A protocol that shuffles patches should have the
        same number (protocol.augment.shuffle_patches).
    pool: how many real images of the class are scored, chosen at random. It is raised to the number of tiles
        needed; a smaller class gives all of its images.
    crops: random crops of each of these images.
    crop_scale: minimum and maximum area fraction of the crops, which are square.

    The defaults are those of the published code (LINs-lab/RDED): factor, pool (--mipc) and crops (--num-crop)
    as in its scripts for ImageNet and its subsets; crop_scale is the default of torchvision's
    RandomResizedCrop, which the code keeps.
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
