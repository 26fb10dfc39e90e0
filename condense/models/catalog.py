"""The networks that come with condense."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from condense.recipe.fields import checked
from condense.recipe.method import Use
from condense.recipe.specs import ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """The network that a builder is asked for.

    argument: the part of its name after the colon.
    classes: the number of classes.
    channels: the channels of images.
    size: the side length of images in pixels.
    build: builds another network for the same images and classes, for networks that consist of networks. The
        weights of the n-th network that it builds depend on n, and not on the networks before.
    """

    argument: str
    classes: int
    channels: int
    size: int
    build: Callable[[Use], nn.Module] | None = None


@checked
@dataclass(frozen=True, kw_only=True)
class ConvNetOptions:
    """The options of the ConvNet.

    width: the channels of every layer.
    depth: the number of layers; each halves the image.
    norm: the normalisation after each convolution.
    """

    width: int = 128
    depth: int = 3
    norm: Literal["batch", "instance", "none"] = "batch"

    def __post_init__(self) -> None:
        for name, value, most in (("width", self.width, 2**14), ("depth", self.depth, 16)):
            if not 1 <= value <= most:
                raise ValueError(f"{name} must lie between 1 and {most}, not {value}")


@checked
@dataclass(frozen=True, kw_only=True)
class ResNetOptions:
    """The options of ResNet-18.

    stem: the first layers. "imagenet" is 7x7 stride 2 and max-pool, as published; "tiny" is 3x3 stride 2,
        padded by 3, without max-pool (WMDD's for Tiny ImageNet, which it enlarges to 224x224); "cifar" is 3x3
        stride 1 without max-pool. "auto" is imagenet for images from 128 pixels on, tiny from 48, cifar below.
    pretrained: load torchvision's ImageNet-1K weights (stem imagenet only). The classifier is new if the
        number of classes is not 1000.
    """

    stem: Literal["auto", "imagenet", "tiny", "cifar"] = "auto"
    pretrained: bool = False

    def __post_init__(self) -> None:
        if self.pretrained and self.stem in ("tiny", "cifar"):
            raise ValueError(f"pretrained weights exist for stem imagenet only, not {self.stem}")


@checked
@dataclass(frozen=True, kw_only=True)
class ZooOptions:
    """The options of torchvision's networks.

    pretrained: load the library's weights, and look at images as they were trained. The classifier is new if the
        number of classes differs.
    """

    pretrained: bool = False


@checked
@dataclass(frozen=True, kw_only=True)
class TimmOptions:
    """The options of timm's networks.

    pretrained: load the weights, and look at images as they were trained. The classifier is new if the number of
        classes differs.
    patch_size: the side length in pixels of the patches of a ViT and its kin. 0 is automatic: the published one
        for images of the published size and for pretrained weights; otherwise the largest up to it that cuts the
        images into at least 7x7 whole patches.
    """

    pretrained: bool = False
    patch_size: int = 0

    def __post_init__(self) -> None:
        if self.patch_size < 0:
            raise ValueError(f"patch_size must be at least 1, or 0 for automatic, not {self.patch_size}")


@checked
@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """The options of an ensemble.

    members: the names of the networks, each with its default options; a name may be repeated.
    pretrained: the option `pretrained` of every member.
    """

    members: tuple[str, ...] = ("convnet", "convnet")
    pretrained: bool = False

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("an ensemble needs members; name at least one network")
        if len(self.members) > 100:
            raise ValueError(f"an ensemble has at most 100 members, not {len(self.members)}")
        if any(name.partition(":")[0] == "ensemble" for name in self.members):
            raise ValueError("an ensemble cannot be a member of an ensemble; name its members instead")


MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        name="convnet",
        summary="ConvNet of the condensation literature, for small images",
        source="Gidaris & Komodakis, CVPR 2018; Zhao et al., ICLR 2021, arXiv 2006.05929",
        options=ConvNetOptions,
        build="condense.models.convnet:build_convnet",
    ),
    ModelSpec(
        name="resnet18",
        summary="ResNet-18 with a stem that fits the size of the images",
        source="He et al., CVPR 2016, arXiv 1512.03385",
        options=ResNetOptions,
        build="condense.models.zoo:build_resnet18",
        preprocessing="condense.models.pretrained:of_resnet18",
    ),
    ModelSpec(
        name="torchvision",
        summary="any classifier of torchvision by its name",
        source="https://pytorch.org/vision",
        options=ZooOptions,
        build="condense.models.zoo:build_torchvision",
        preprocessing="condense.models.pretrained:of_torchvision",
        takes="NAME",
    ),
    ModelSpec(
        name="timm",
        summary="any classifier of timm by its name, with or without a tag of weights",
        source="https://huggingface.co/docs/timm",
        options=TimmOptions,
        build="condense.models.zoo:build_timm",
        preprocessing="condense.models.pretrained:of_timm",
        takes="NAME",
    ),
    ModelSpec(
        name="hf-hub",
        summary="a classifier of timm that somebody put on the Hugging Face hub",
        source="https://huggingface.co/models?library=timm",
        options=TimmOptions,
        build="condense.models.zoo:build_hub",
        preprocessing="condense.models.pretrained:of_hub",
        takes="OWNER/NAME",
    ),
    ModelSpec(
        name="ensemble",
        summary="several networks as one: trained apart, their logits averaged",
        options=EnsembleOptions,
        build="condense.models.ensemble:build_ensemble",
    ),
)
