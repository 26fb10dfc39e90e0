"""The options of the datasets that come with condense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense.recipe.fields import checked

ImagenetteVariant = Literal["full", "320px", "160px"]


def _check_size(size: int, *, automatic: bool) -> None:
    if size < 8 and not (automatic and size == 0):
        choice = ", or 0 for automatic" if automatic else ""
        raise ValueError(f"size must be at least 8 pixels{choice}, not {size}")


def _check_memory(limit_gib: float) -> None:
    if not limit_gib >= 0:
        raise ValueError(f"memory_limit_gib must not be negative, not {limit_gib}")


@checked
@dataclass(frozen=True, kw_only=True)
class DownloadOptions:
    """The options of a small dataset.

    download: download the files into the data folder if they are missing.
    """

    download: bool = True


@checked
@dataclass(frozen=True, kw_only=True)
class TinyImageNetOptions:
    """The options of Tiny ImageNet.

    size: the side length in pixels that networks see. The images have 64, and more enlarges them bilinearly: WMDD
        uses 224. From 128 on, they are enlarged to 256/224 of the size, and training and testing crop from that.
    download: download the archive into the data folder if it is missing.
    memory_limit_gib: the limit in GiB for decoded images in memory. A split that does not fit is decoded at
        each read. Both splits need 1.3 GiB at size 64, and 20 GiB at size 224.
    skip_broken: leave out files that cannot be read as images, and name them. Otherwise they are an error.
    """

    size: int = 64
    download: bool = True
    memory_limit_gib: float = 4.0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size, automatic=False)
        _check_memory(self.memory_limit_gib)


@checked
@dataclass(frozen=True, kw_only=True)
class ImagenetteOptions:
    """The options of Imagenette and Imagewoof.

    variant: the published archive to use. "320px" and "160px" are the shorter side length of its images, and
        "full" has the original photographs. "320px" is enough for crops of 224 pixels.
    size: the side length in pixels that networks see.
    download: download the archive into the data folder if it is missing.
    memory_limit_gib: the limit in GiB for decoded images in memory. A split that does not fit is decoded at
        each read.
    skip_broken: leave out files that cannot be read as images, and name them. Otherwise they are an error.
    """

    variant: ImagenetteVariant = "320px"
    size: int = 224
    download: bool = True
    memory_limit_gib: float = 4.0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size, automatic=False)
        _check_memory(self.memory_limit_gib)


@checked
@dataclass(frozen=True, kw_only=True)
class ImageNetOptions:
    """The options of ImageNet-1K.

    size: the side length in pixels that networks see.
    memory_limit_gib: the limit in GiB for decoded images in memory. A split that does not fit is decoded at
        each read. At size 224 the training images need 235 GiB and the test images 9 GiB.
    skip_broken: leave out files that cannot be read as images, and name them. Otherwise they are an error.
    """

    size: int = 224
    memory_limit_gib: float = 4.0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        _check_size(self.size, automatic=False)
        _check_memory(self.memory_limit_gib)


@checked
@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """The options of a folder of images.

    size: the side length in pixels that networks see. 0 is automatic: the shorter side length of the images
        if all have one size of at most 256 pixels; the largest of the shorter side lengths if all of them are below
        128; otherwise 224.
    resize_share: images are stored at size * resize_share pixels, and training and testing crop from them. 0
        is automatic: 1 if `size` was taken from the images or is below 128, otherwise 256/224.
    test_share: the fraction of each class that becomes the test split if the folder has none.
    memory_limit_gib: the limit in GiB for decoded images in memory. A split that does not fit is decoded at
        each read.
    like: the kind of images, which selects a method's presets; "auto" finds it from the images.
    skip_broken: leave out files that cannot be read as images, and name them. Otherwise they are an error.
    """

    size: int = 0
    resize_share: float = 0.0
    test_share: float = 0.2
    memory_limit_gib: float = 4.0
    skip_broken: bool = False
    like: Literal["auto", "small-grey", "small-colour", "photographs"] = "auto"

    def __post_init__(self) -> None:
        _check_size(self.size, automatic=True)
        if self.resize_share != 0 and not 1 <= self.resize_share <= 4:
            raise ValueError(
                f"resize_share must be between 1 and 4, or 0 for automatic, not {self.resize_share}"
            )
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be above 0 and below 1, not {self.test_share}")
        _check_memory(self.memory_limit_gib)


@checked
@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """The options of a dataset that Hugging Face's `datasets` reads.

    config: the configuration, for a dataset that has several.
    revision: a branch, a tag or a commit on the hub; "" for the newest.
    image, label: the columns of images and of their classes; "" finds them by their types.
    train, test: the splits to train and to test on; "" for those that are called so. Without a test split, a
        validation split is the test split, and without one a part of the training split is.
    size, resize_share, test_share, memory_limit_gib, like: as for folder:PATH. What is automatic is found from
        up to 2000 images.
    """

    config: str = ""
    revision: str = ""
    image: str = ""
    label: str = ""
    train: str = ""
    test: str = ""
    size: int = 0
    resize_share: float = 0.0
    test_share: float = 0.2
    memory_limit_gib: float = 4.0
    like: Literal["auto", "small-grey", "small-colour", "photographs"] = "auto"

    def __post_init__(self) -> None:
        # What is as for a folder is checked as for a folder.
        FolderOptions(
            size=self.size,
            resize_share=self.resize_share,
            test_share=self.test_share,
            memory_limit_gib=self.memory_limit_gib,
            like=self.like,
        )
