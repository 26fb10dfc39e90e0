"""The distilled dataset in memory, as a torch Dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset

from condense.data.dataset import MemoryImages
from condense.data.feed import DecodedFeed, Feed
from condense.data.parametrizations.base import Coder
from condense.data.parametrizations.standard import AS_THEY_ARE
from condense.data.pixels import check_normalisation, normalise
from condense.errors import DataError
from condense.recipe.method import IDENTITY, Use
from condense.recipe.protocol import LabelMode
from condense.recipe.specs import Origin
from condense.runtime import Runtime
from condense.storage.encoding import PngFiles, encode_soft_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class DistilledDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """The small synthetic dataset that condensing makes: n images of K classes, held by m stored images.

    Without a parametrization, images are stored as they are, and n = m. With one, such as a mosaic, each stored image
    holds n / m images, which are decoded when they are used. Images are ordered by class, then by slot; those of a
    stored image follow each other.

    images: (m, C, H, W) uint8, C 1 or 3: the stored images.
    labels: (n,) int64 in [0, K), the class of each decoded image.
    slots: (n,) int64 in [0, ipc * n / m), the position of each decoded image in its class.
    weights: (n,) float32, not negative; the weights of each class sum to 1.
    classes: K names in label order.
    mean, std: per channel, of pixels in [0, 1].
    ipc: stored images per class.
    coder: how images are decoded; its `use` is the name of the parametrization with its options.
    label_mode: "hard", "soft" or "online", see `condense.Protocol`.
    soft_labels: (n, K) float32, the teacher's logits (before softmax), for label mode "soft" only; otherwise
        None.
    name, method, dataset: names to show to users.
    teacher_hash: SHA-256 of the teacher's file, "" without a teacher.
    teacher_bytes: size of the teacher if training on this dataset needs it, otherwise 0.
    origin: what the images are; see `condense.InitializerSpec`.
    settings: "recipe" and "evaluation" of the run that made this dataset, as plain data.
    licence, source: of the real images.
    files: the PNG files of the stored images, shared with datasets that `dataclasses.replace` makes of this one.

    As a torch Dataset it has what students train on, the n decoded images: `len` is n. Indexing returns (image,
    label, weight) as tensors. The image is (C, H, W) float32, decoded and normalised. The label is an int64 scalar, or
    (K,) float32 logits with soft labels. The weight is a float32 scalar.

    Raises DataError if the fields do not fit together.
    """

    images: Tensor
    labels: Tensor
    slots: Tensor
    weights: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    ipc: int
    coder: Coder = AS_THEY_ARE
    label_mode: LabelMode = "hard"
    soft_labels: Tensor | None = None
    name: str = ""
    method: str = ""
    dataset: str = ""
    teacher_hash: str = ""
    teacher_bytes: int = 0
    origin: Origin = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    files: PngFiles = field(default_factory=PngFiles, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_images(self)
        _check_order(self)
        _check_weights(self)
        _check_soft_labels(self)

    def __len__(self) -> int:
        return int(self.images.shape[0]) * self.coder.images_per_stored

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        position, inside = divmod(range(len(self))[index], self.coder.images_per_stored)
        with torch.no_grad():
            stored = normalise(self.images[position].unsqueeze(0), self.mean, self.std)
            image = self.coder.decode(stored)[inside]
        targets = self.labels if self.soft_labels is None else self.soft_labels
        return image, targets[index], self.weights[index]

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The protocol to train on this dataset with, as plain data; empty if the settings have none."""
        found: Mapping[str, Any] = self.settings.get("evaluation", {}).get("protocol", {})
        return found

    @property
    def parametrization(self) -> Use:
        """How images are stored: the name of the parametrization, with its options."""
        return self.coder.use

    @property
    def images_per_class(self) -> int:
        """How many decoded images a class has: ipc * n / m."""
        return self.ipc * self.coder.images_per_stored

    @property
    def stored_labels(self) -> Tensor:
        """(m,) int64, the class of each stored image."""
        return self.labels[:: self.coder.images_per_stored]

    @property
    def stored_slots(self) -> Tensor:
        """(m,) int64 in [0, ipc), the position of each stored image in its class."""
        return self.slots[:: self.coder.images_per_stored] // self.coder.images_per_stored

    @property
    def taught(self) -> str:
        """The SHA-256 of what students learn from: stored images, how they are decoded, labels and weights."""
        found = hashlib.sha256(repr((self.coder.text, self.mean, self.std)).encode())
        for tensor in (self.images, self.labels, self.weights, self.soft_labels):
            if tensor is not None:
                found.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
                found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    @property
    def png_images(self) -> list[bytes]:
        """Each stored image as a PNG file: the bytes that `save` writes."""
        return self.files.of(self.images)

    def sizes(self) -> dict[str, int]:
        """Return the bytes to store for training on this dataset, as "images", "labels" and "teacher".

        The images are PNG files. The labels are the file of soft labels, or otherwise one class number per
        stored image (1 byte for up to 256 classes, 2 for up to 65,536).
        """
        if self.soft_labels is not None:
            labels = len(encode_soft_labels(self.soft_labels))
        else:
            labels = len(self.images) * max(1, ((len(self.classes) - 1).bit_length() + 7) // 8)
        return {"images": sum(map(len, self.png_images)), "labels": labels, "teacher": self.teacher_bytes}

    def feed(self, runtime: Runtime) -> Feed:
        """Return a source of batches of the decoded images."""
        images, size = MemoryImages(self.images), self.images.shape[-1]
        if self.parametrization.name == IDENTITY:
            return Feed(images, self.labels, size=size, mean=self.mean, std=self.std, runtime=runtime)
        return DecodedFeed(
            images,
            self.labels,
            coder=self.coder,
            size=size,
            mean=self.mean,
            std=self.std,
            runtime=runtime,
        )


def _check_shape(what: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape or tensor.dtype != dtype:
        raise DataError(
            f"distilled dataset: {what} must be {shape} {dtype}, not {tuple(tensor.shape)} {tensor.dtype}"
        )


def _check_images(data: DistilledDataset) -> None:
    images = data.images
    if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3) or not images.numel():
        raise DataError(
            "distilled dataset: images must be (n, C, H, W) uint8 with 1 or 3 channels and n > 0, "
            f"not {tuple(images.shape)} {images.dtype}"
        )
    if not len(data.mean) == len(data.std) == images.shape[1]:
        raise DataError(
            f"distilled dataset: mean and std need {images.shape[1]} values each, one per channel"
        )
    check_normalisation("distilled dataset", data.mean, data.std)


def _check_order(data: DistilledDataset) -> None:
    """Raise DataError if images are not in the order of their files.

    In that order, the rows of soft labels match ImageFolder's images, or the images decoded from them.
    """
    count, classes, per_class = len(data), len(data.classes), data.images_per_class
    if len(set(data.classes)) < classes:
        twice = next(name for name in data.classes if data.classes.count(name) > 1)
        raise DataError(f"distilled dataset: two classes are called {twice!r}; give each a name of its own")
    _check_shape("labels", data.labels, (count,), torch.int64)
    _check_shape("slots", data.slots, (count,), torch.int64)
    if int(data.labels.min()) < 0 or int(data.labels.max()) >= classes:
        raise DataError(
            f"distilled dataset: labels must lie in [0, {classes}), as there are {classes} classes"
        )
    if int(data.slots.min()) < 0 or int(data.slots.max()) >= per_class:
        raise DataError(f"distilled dataset: slots must lie in [0, {per_class}), as ipc is {data.ipc}")
    places = data.labels * per_class + data.slots
    if not bool((torch.diff(places) > 0).all()):
        raise DataError("distilled dataset: images must be ordered by class, then by slot, each slot once")
    if not torch.equal(places, data.coder.of_decoded(data.stored_labels * data.ipc + data.stored_slots)):
        raise DataError(
            "distilled dataset: all images of a stored image must follow each other, in its class"
        )
    empty = sorted(set(range(classes)) - set(data.labels.tolist()))
    if empty:
        raise DataError(f"distilled dataset: class {data.classes[empty[0]]!r} has no images")


def _check_weights(data: DistilledDataset) -> None:
    _check_shape("weights", data.weights, (len(data),), torch.float32)
    weights = data.weights.double()
    if not bool(torch.isfinite(weights).all()) or float(weights.min()) < 0:
        raise DataError("distilled dataset: weights must be finite and not negative")
    totals = torch.zeros(len(data.classes), dtype=torch.float64).index_add_(0, data.labels, weights)
    worst = int((totals - 1).abs().argmax())
    if abs(float(totals[worst]) - 1) > 1e-3:
        raise DataError(
            "distilled dataset: the weights of each class must sum to 1; "
            f"those of class {data.classes[worst]!r} sum to {float(totals[worst]):.6g}"
        )


def _check_soft_labels(data: DistilledDataset) -> None:
    if data.label_mode not in get_args(LabelMode):
        raise DataError(
            f"distilled dataset: label mode {data.label_mode!r} is none of {', '.join(get_args(LabelMode))}"
        )
    if (data.soft_labels is not None) != (data.label_mode == "soft"):
        raise DataError(
            "distilled dataset: soft labels, the logits of the teacher, belong to label mode 'soft' and to no other; "
            f"the mode is {data.label_mode!r}, and there are {'none' if data.soft_labels is None else 'some'}"
        )
    if data.soft_labels is not None:
        _check_shape("soft labels", data.soft_labels, (len(data), len(data.classes)), torch.float32)
        if not bool(torch.isfinite(data.soft_labels).all()):
            raise DataError("distilled dataset: some soft labels are not finite numbers")
