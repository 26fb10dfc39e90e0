"""What can be set of each network. Imports no torch, so that it can be listed at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from condense.method import Use

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """What a network is asked for. argument: what stood after the colon of its name. size: side in pixels.

    build: makes another network for the same images and classes, for networks that are made of networks. The weights
    of the n-th that it makes depend on n, and not on the networks before.
    """

    argument: str
    classes: int
    channels: int
    size: int
    build: Callable[[Use], nn.Module] | None = None


@dataclass(frozen=True, kw_only=True)
class ConvNetOptions:
    """width: channels of every layer. depth: layers, each halving the image. norm: after each convolution."""

    width: int = 128
    depth: int = 3
    norm: Literal["batch", "instance", "none"] = "batch"

    def __post_init__(self) -> None:
        if self.width < 1 or self.depth < 1:
            raise ValueError(f"width and depth must be at least 1, not {self.width} and {self.depth}")


@dataclass(frozen=True, kw_only=True)
class ResNetOptions:
    """stem: the first layers.

    imagenet: 7x7 stride 2 and max-pool, as published; tiny: 3x3 stride 2, no max-pool (WMDD's for 64x64);
    cifar: 3x3 stride 1, no max-pool; auto: by image size, imagenet from 128, tiny from 48, cifar below.
    pretrained: ImageNet-1K weights of torchvision (stem imagenet only); the classifier is new where the
    number of classes differs from 1000.
    """

    stem: Literal["auto", "imagenet", "tiny", "cifar"] = "auto"
    pretrained: bool = False

    def __post_init__(self) -> None:
        if self.pretrained and self.stem in ("tiny", "cifar"):
            raise ValueError(f"pretrained weights exist for stem imagenet only, not {self.stem}")


@dataclass(frozen=True, kw_only=True)
class ZooOptions:
    """pretrained: load the library's weights; the classifier is new where the number of classes differs."""

    pretrained: bool = False


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """members: the networks by name, each with its default options; a name may be repeated.

    pretrained: the same option of every member.
    """

    members: tuple[str, ...] = ("convnet", "convnet")
    pretrained: bool = False

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("an ensemble needs members; name at least one network")
        if any(name.partition(":")[0] == "ensemble" for name in self.members):
            raise ValueError("an ensemble cannot be a member of an ensemble; name its members instead")
