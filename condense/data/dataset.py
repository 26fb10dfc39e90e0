"""Real datasets: uint8 images of one size, labels, class names and normalisation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from condense.data.pixels import centre_crop, check_normalisation, normalise
from condense.data.preprocessing import Preprocessing
from condense.errors import DataError
from condense.runtime import Reporter, SilentReporter
from condense.storage.files import cache_dir

# The hash of a split that is not in memory reads this many images, or up to twice as many.
_HASHED = 64


class ImageSource(Protocol):
    """n images of one size, read by index. They are in memory or decoded at each read.

    An attribute `by_processes` that is True says that forked copies may read at the same time, in other processes.
    """

    def __len__(self) -> int:
        """Return n."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""

    def read(self, indices: Tensor) -> Tensor:
        """Return images (B, C, H, W) uint8 on the CPU for `indices` (B,) int64."""


@dataclass(frozen=True)
class MemoryImages:
    """Images held in memory. pixels: (n, C, H, W) uint8."""

    pixels: Tensor

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.pixels.shape[1:]
        return int(channels), int(height), int(width)

    def read(self, indices: Tensor) -> Tensor:
        return self.pixels[indices]


@dataclass(frozen=True)
class Split:
    """Images with their labels (n,) int64. Raises DataError if there are not as many labels as images."""

    images: ImageSource
    labels: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of labels and pixels. Of images that are not in memory, only some are read, spread evenly.

        The labels alone are not enough: the held-out test images can depend on the run's seed while the labels stay
        equal.
        """
        digest = hashlib.sha256(self.labels.numpy().tobytes())
        digest.update(repr((len(self), self.images.shape)).encode())
        if isinstance(self.images, MemoryImages):
            pixels = self.images.pixels
        else:
            pixels = self.images.read(torch.arange(0, len(self), max(1, len(self) // _HASHED)))
        digest.update(pixels.contiguous().numpy().data)
        return digest.hexdigest()

    @cached_property
    def feeds(self) -> dict[Any, Any]:
        """The feeds that `condense.data.feed.feed_of` has made for this split."""
        return {}

    @cached_property
    def _by_class(self) -> dict[int, Tensor]:
        order = torch.argsort(self.labels, stable=True)
        values, counts = torch.unique_consecutive(self.labels[order], return_counts=True)
        groups = torch.split(order, counts.tolist())
        return dict(zip(values.tolist(), groups, strict=True))

    def of_class(self, label: int) -> Tensor:
        """Return the indices (n_label,) int64 of the images of one class, ascending."""
        return self._by_class.get(label, torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True, kw_only=True)
class RealDataset:
    """A labelled image dataset with a training and a test split.

    name: the value of `--dataset`.
    classes: names in label order.
    size: the side length in pixels that networks see. Stored images may be larger: training crops from them,
        and testing takes the centre.
    mean, std: per channel, of pixels in [0, 1].
    notes: messages to show to the user once, about a split that was made or images that were converted.
    licence, source: of the images, for the card of the distilled dataset.
    held_out: the test images, as paths below the folder they are read from, if they were drawn from all of its images;
        () if the dataset has a test split of its own.

    Raises DataError if there are fewer than two classes, a class without training images or an empty test
    split, or if the parts do not fit together.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    notes: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    held_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise DataError(
                f"dataset {self.name!r} has {len(self.classes)} class; condensing needs at least two"
            )
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise DataError(
                f"two classes of dataset {self.name!r} are called {twice!r}; give each a name of its own"
            )
        for part, split in (("training", self.train), ("test", self.test)):
            self._check_split(part, split)
        counts = self.class_counts()
        for name, count in zip(self.classes, counts, strict=True):
            if count == 0:
                raise DataError(f"class {name!r} of dataset {self.name!r} has no training images")
        if len(self.test) == 0:
            raise DataError(f"dataset {self.name!r} has no test images, so nothing could be measured")
        if not len(self.mean) == len(self.std) == self.channels:
            raise DataError(f"dataset {self.name!r}: mean and std need {self.channels} values each")
        check_normalisation(f"dataset {self.name!r}", self.mean, self.std)

    def _check_split(self, part: str, split: Split) -> None:
        least, greatest = (int(split.labels.min()), int(split.labels.max())) if len(split) else (0, 0)
        if least < 0 or greatest >= len(self.classes):
            raise DataError(
                f"the {part} labels of dataset {self.name!r} reach from {least} to {greatest}, and its "
                f"{len(self.classes)} classes are 0 to {len(self.classes) - 1}"
            )
        channels, height, width = split.images.shape
        if len(split) and (channels != self.channels or min(height, width) < self.size):
            raise DataError(
                f"the {part} images of dataset {self.name!r} are {channels}x{height}x{width}, where "
                f"{self.channels} channels and at least {self.size}x{self.size} pixels are needed"
            )

    @property
    def channels(self) -> int:
        return self.train.images.shape[0]

    def training_images(self, indices: Tensor) -> Tensor:
        """Return the normalised centres of training images, (B, C, size, size) float32 on the CPU."""
        pixels = centre_crop(self.train.images.read(indices), self.size)
        return normalise(pixels, self.mean, self.std).contiguous()

    def class_counts(self) -> list[int]:
        """Return the number of training images per class, in label order."""
        return torch.bincount(self.train.labels, minlength=len(self.classes)).tolist()


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """The request that a dataset loader answers.

    name: the name that the user typed, e.g. "folder:pets".
    argument: the part of the name after the colon.
    data_dir: the folder in which the user keeps datasets.
    seed: the seed for drawing a test split if there is none.
    preprocessing: how the teacher's pretrained weights want their images, or None. Loaders that choose the size of
        large images themselves follow it. condense normalises the images afterwards.
    reporter: is told about work that takes long.
    loaders: the processes that may decode images.
    """

    name: str
    argument: str
    data_dir: Path
    seed: int
    preprocessing: Preprocessing | None = None
    reporter: Reporter = field(default_factory=SilentReporter)
    loaders: int = 0


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """Return $CONDENSE_DATA_DIR, or "data" in the cache folder: ~/.cache/condense/data on Linux."""
    return Path(environment.get("CONDENSE_DATA_DIR") or cache_dir(environment) / "data")
