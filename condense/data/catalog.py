"""The datasets that come with condense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from condense.recipe.specs import DatasetSpec

_FASHION_SOURCE = (
    "Xiao, Rasul, Vollgraf: Fashion-MNIST, 2017, arXiv 1708.07747; "
    "https://github.com/zalandoresearch/fashion-mnist"
)

# All methods on a dataset use the same teacher, so that they are compared under the same conditions.
_FASHION_TEACHER = {
    "teacher.model": "convnet",
    "teacher.epochs": 10,
    "teacher.batch_size": 128,
    "teacher.lr": 0.05,
    "teacher.weight_decay": 5e-4,
    "teacher.augment.flip": True,
}
# Liu et al., ICCV 2025: SGD 0.025, weight decay 1e-4, batches of 32, cosine, 50 epochs, at 224.
_IMAGENETTE_TEACHER = {
    "teacher.model": "resnet18",
    "teacher.epochs": 50,
    "teacher.batch_size": 32,
    "teacher.lr": 0.025,
    "teacher.weight_decay": 1e-4,
    "teacher.augment.crop_scale": (0.08, 1.0),
    "teacher.augment.flip": True,
}


ImagenetteVariant = Literal["full", "320px", "160px"]


def _check_size(size: int) -> None:
    if size != 0 and size < 8:
        raise ValueError(f"size must be at least 8 pixels, or 0 for automatic, not {size}")


def _check_memory(limit_gib: float) -> None:
    if not limit_gib >= 0:
        raise ValueError(f"memory_limit_gib must not be negative, not {limit_gib}")


@dataclass(frozen=True, kw_only=True)
class FashionMnistOptions:
    """The options of Fashion-MNIST.

    download: download the files into the data folder if they are missing.
    """

    download: bool = True


@dataclass(frozen=True, kw_only=True)
class ImagenetteOptions:
    """The options of Imagenette.

    variant: the published archive to use. "320px" and "160px" are the shorter side length of its images, and
        "full" has the original photographs. "320px" is enough for crops of 224 pixels.
    size: the side length in pixels that networks see.
    download: download the archive into the data folder if it is missing.
    memory_limit_gib: the limit in GiB for decoded images in memory. A split that does not fit is decoded at
        each read.
    """

    variant: ImagenetteVariant = "320px"
    size: int = 224
    download: bool = True
    memory_limit_gib: float = 4.0

    def __post_init__(self) -> None:
        if self.variant not in get_args(ImagenetteVariant):
            raise ValueError(
                f"variant must be one of {', '.join(get_args(ImagenetteVariant))}, not {self.variant!r}"
            )
        if self.size == 0:
            raise ValueError("size must be at least 8 pixels, not 0")
        _check_size(self.size)
        _check_memory(self.memory_limit_gib)


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """The options of a folder of images.

    size: the side length in pixels that networks see. 0 is automatic: the shorter side length of the images
        if all have one size of at most 256 pixels, otherwise 224.
    resize_share: images are stored at size * resize_share pixels, and training and testing crop from them. 0
        is automatic: 1 if `size` was taken from the images or is below 128, otherwise 256/224.
    test_share: the fraction of each class that becomes the test split if the folder has none.
    memory_limit_gib: the limit in GiB for decoded images in memory. A split that does not fit is decoded at
        each read.
    like: the kind of images, which selects a method's presets; "auto" finds it from the images.
    """

    size: int = 0
    resize_share: float = 0.0
    test_share: float = 0.2
    memory_limit_gib: float = 4.0
    like: Literal["auto", "small-grey", "small-colour", "photographs"] = "auto"

    def __post_init__(self) -> None:
        _check_size(self.size)
        if self.resize_share != 0 and not 1 <= self.resize_share <= 4:
            raise ValueError(
                f"resize_share must be between 1 and 4, or 0 for automatic, not {self.resize_share}"
            )
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be above 0 and below 1, not {self.test_share}")
        _check_memory(self.memory_limit_gib)


DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="fashion-mini",
        summary="part of Fashion-MNIST shipped with condense: 10 classes, 500 + 100 images each, grey, 28x28",
        source=_FASHION_SOURCE,
        build="condense.data.fashion:load_fashion_mini",
        like="small-grey",
        settings={**_FASHION_TEACHER, "teacher.model.width": 64, "teacher.batch_size": 64},
    ),
    DatasetSpec(
        name="fashion-mnist",
        summary="Fashion-MNIST from idx files or by download: 10 classes, 60000 + 10000 images, grey, 28x28",
        source=_FASHION_SOURCE,
        options=FashionMnistOptions,
        build="condense.data.fashion:load_fashion_mnist",
        like="small-grey",
        settings=_FASHION_TEACHER,
    ),
    DatasetSpec(
        name="imagenette",
        summary="ten easy classes of ImageNet: 9469 + 3925 photographs, colour, at 224x224",
        source="Howard: Imagenette, 2019; https://github.com/fastai/imagenette",
        options=ImagenetteOptions,
        build="condense.data.imagenette:load_imagenette",
        like="photographs",
        settings=_IMAGENETTE_TEACHER,
    ),
    DatasetSpec(
        name="folder",
        summary="your own images in class folders, below train/ and val/ (or test/), or not yet split",
        options=FolderOptions,
        build="condense.data.folder:load_folder",
        like="condense.data.kinds:kind_of_folder",
        takes="PATH",
        settings_by_kind={
            "small-grey": _FASHION_TEACHER,
            # The settings of photographs, until others are chosen for small colour images.
            "small-colour": _IMAGENETTE_TEACHER,
            "photographs": _IMAGENETTE_TEACHER,
        },
    ),
)
