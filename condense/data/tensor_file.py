"""Images and labels that others published as a .pt file of tensors."""

from __future__ import annotations

import codecs
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy import dtypes
from torch import Tensor

from condense.errors import DataError
from condense.text import byte_size

# How the numbers of a file stand for pixels.
Values = Literal["auto", "bytes", "unit", "normalised"]
_IMAGES = ("images", "image", "image_syn", "images_syn", "syn_images", "x", "x_syn", "data")
_LABELS = ("labels", "label", "label_syn", "labels_syn", "syn_labels", "targets", "target", "y", "y_syn")
_ADVICE = "write it as torch.save({'images': images, 'labels': labels}, FILE) with images (N, C, H, W)"
# Numbers up to this far outside 0 to 1 are rounding.
_SLACK = 1e-3
# Bright pixels of 8 bits reach far beyond any normalised number.
_SURELY_BYTES = 20.0
# Above this fraction of impossible pixels, mean and deviation must be others.
_MOST_CLIPPED = 0.5


@dataclass(frozen=True)
class TensorFile:
    """What a file holds.

    images: (N, C, H, W), of any type of numbers.
    labels: (N,) int64, the class of each image.
    soft_labels: (N, K) float32 logits, or None.
    notes: messages to show to the user.
    """

    images: Tensor
    labels: Tensor
    soft_labels: Tensor | None
    notes: tuple[str, ...] = ()


def read_tensor_file(path: Path, classes: int, experiment: int | None = None) -> TensorFile:
    """Return the images and labels of a .pt file.

    It is a pair (images, labels), a dictionary of them (images and labels, image_syn and label_syn, x and y, ...), or
    what DC, DSA and DM write: {"data": [[images, labels], ...]}, one pair for each experiment. Images alone, as MTT
    writes them, have their labels in a file beside them: images_best.pt and labels_best.pt.

    classes: the number of classes, K.
    experiment: which of several, from 0 on; None takes the first.

    Nothing of the file is run. Raises DataError if it holds something else.
    """
    content = _load(path)
    notes: tuple[str, ...] = ()
    experiments = _experiments(content)
    if experiments is not None:
        number = experiment or 0
        if not 0 <= number < len(experiments):
            raise DataError(f"{path} holds {len(experiments)} experiments, 0 to {len(experiments) - 1}")
        content = experiments[number]
        if len(experiments) > 1:
            notes = (f"experiment {number} of {len(experiments)} is taken; --experiment chooses another",)
    elif experiment is not None:
        raise DataError(f"--experiment has no effect: {path} holds one set of images")
    images, labels = _pair(content, path)
    _check_claims(images, labels, path)
    if images.ndim != 4 or not len(images):
        raise DataError(f"{path}: the images are {tuple(images.shape)}, not (N, C, H, W)")
    if len(labels) != len(images):
        raise DataError(f"{path} holds {len(images)} images and {len(labels)} labels")
    hard, soft, said = _classes_of(labels, classes, path)
    return TensorFile(images, hard, soft, notes + said)


def to_pixels(
    images: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    values: Values = "auto",
    *,
    assumed: Sequence[str] = ("--mean", "--std"),
) -> tuple[Tensor, str]:
    """Return images (N, C, H, W) of any numbers as uint8, and how that was decided, for people.

    mean, std: per channel, of pixels in [0, 1], for numbers that are normalised.
    values: "bytes" 0 to 255, "unit" 0 to 1, "normalised" by mean and deviation; "auto" decides by type and range.
    assumed: the options that would say another mean or deviation, and that were not given.

    Raises DataError for numbers that are not finite or that these values cannot be.
    """
    if values not in get_args(Values):
        raise DataError(f"values must be one of {', '.join(get_args(Values))}, not {values!r}")
    if images.is_complex() or not bool(torch.isfinite(images).all()):
        raise DataError("some numbers of the images are not finite")
    lowest, highest = float(images.min()), float(images.max())
    span = f"numbers from {lowest:.3g} to {highest:.3g}"
    chosen = _guess(images, lowest, highest) if values == "auto" else values
    if chosen == "bytes":
        scaled = images.double()
        said = f"{span}: taken as pixels of 0 to 255"
    elif chosen == "unit":
        scaled = images.double() * 255
        said = f"{span}: taken as pixels of 0 to 1"
    else:
        shape = (1, -1, 1, 1)
        centre, spread = (torch.tensor(part, dtype=torch.float64).view(shape) for part in (mean, std))
        scaled = (images.double() * spread + centre) * 255
        others = f"; if their authors normalised by others, name those with {' and '.join(assumed)}"
        said = f"{span}: taken as normalised by mean {_listed(mean)} and deviation {_listed(std)}"
        said += others if assumed else ""
    outside = float(((scaled < -0.5) | (scaled > 255.5)).double().mean())
    if outside > _MOST_CLIPPED:
        raise DataError(
            f"{span}, {said.partition(': ')[2]}: {outside:.0%} of the pixels would lie outside 0 to 255. They may be "
            "whitened (ZCA), which cannot be undone without its matrix, or stand for something else (--values)"
        )
    clipped = f"; {outside:.1%} of the pixels lie outside 0 to 255 and are clipped" if outside else ""
    return scaled.round().clamp(0, 255).to(torch.uint8), said + clipped


def _guess(images: Tensor, lowest: float, highest: float) -> Values:
    if not images.is_floating_point():
        return "bytes"
    if lowest >= -_SLACK and highest <= 1 + _SLACK:
        return "unit"
    return "bytes" if lowest >= -_SLACK and highest > _SURELY_BYTES else "normalised"


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:.4g}" for number in numbers)


def _load(path: Path) -> Any:
    """Return what a .pt file holds: tensors, arrays, numbers, texts, lists and dictionaries of them."""
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_of_numpy()):
            warnings.simplefilter("ignore")  # torch warns about odd files before it fails
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than tensors, and loading it could run code, so that it is not loaded; where you "
            f"trust it, {_ADVICE}"
        ) from error
    except Exception as error:  # unpickling a damaged file can raise any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as a .pt file of tensors: {reason}") from error


def _of_numpy() -> list[Any]:
    """Return what numbers and arrays of numpy are made of: DC and others save accuracies beside the images."""
    made: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]]
    names = [
        (function, f"numpy.{core}.multiarray.{function.__name__}")
        for function in made
        for core in ("core", "_core")
    ]
    types = [dtypes.Float32DType, dtypes.Float64DType, dtypes.Int32DType, dtypes.Int64DType]
    return [*names, *types, dtypes.UInt8DType, dtypes.BoolDType, np.dtype, np.ndarray, codecs.encode]


def _experiments(content: Any) -> list[Any] | None:
    """Return the pairs of several experiments, or None for a file of another form."""
    data = content.get("data") if isinstance(content, Mapping) else None
    return data if isinstance(data, list) and data and isinstance(data[0], (list, tuple)) else None


def _pair(content: Any, path: Path) -> tuple[Tensor, Tensor]:
    if isinstance(content, Mapping):
        images = next((content[key] for key in _IMAGES if key in content), None)
        labels = next((content[key] for key in _LABELS if key in content), None)
        if images is None or labels is None:
            found = ", ".join(map(str, content)) or "nothing"
            raise DataError(
                f"{path} has no images and labels under names that are known, but {found}; {_ADVICE}"
            )
    elif isinstance(content, (list, tuple)) and len(content) == 2:
        images, labels = content
    elif isinstance(content, Tensor):
        images, labels = content, _labels_beside(path)
    else:
        raise DataError(f"{path} holds a {type(content).__name__} and not images and labels; {_ADVICE}")
    try:
        return torch.as_tensor(images).detach(), torch.as_tensor(labels).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: images and labels are no tensors ({error}); {_ADVICE}") from error


def _check_claims(images: Tensor, labels: Tensor, path: Path) -> None:
    """Raise DataError for tensors that are not plain, or that claim more numbers than lie in files.

    A tensor can repeat the few numbers of a small file a billion times, and would fill the memory when it is used.
    """
    for what, tensor in (("images", images), ("labels", labels)):
        plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not plain or tensor.is_complex():
            raise DataError(f"{path}: the {what} are no plain tensor of real numbers; {_ADVICE}")
        claimed = tensor.numel() * tensor.element_size()
        if claimed > tensor.untyped_storage().nbytes():
            raise DataError(
                f"{path}: the {what} claim {byte_size(claimed)}, more than the file holds for them; {_ADVICE}"
            )


def _labels_beside(path: Path) -> Any:
    other = path.with_name(path.name.replace("image", "label"))
    if other == path or not other.is_file():
        raise DataError(
            f"{path} holds images alone, and there is no file of labels beside it, as labels_best.pt is beside "
            f"images_best.pt; {_ADVICE}"
        )
    return _load(other)


def _classes_of(labels: Tensor, classes: int, path: Path) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    """Return the class of each image, the soft labels as logits or None, and notes."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 1:
        numbers = labels.long()
        if not torch.equal(numbers.to(labels.dtype), labels):
            wrong = float(labels[numbers.to(labels.dtype) != labels][0])
            raise DataError(f"{path}: labels are whole numbers, and one is {wrong:g}")
        if int(numbers.min()) < 0 or int(numbers.max()) >= classes:
            raise DataError(
                f"{path}: labels reach from {int(numbers.min())} to {int(numbers.max())}, and the dataset has "
                f"{classes} classes, 0 to {classes - 1}"
            )
        return numbers, None, ()
    if labels.ndim != 2 or labels.shape[1] != classes:
        raise DataError(
            f"{path}: labels are {tuple(labels.shape)}; wanted are (N,) class numbers or (N, {classes}) soft labels"
        )
    soft = labels.float()
    if not bool(torch.isfinite(soft).all()):
        raise DataError(f"{path}: some soft labels are not finite")
    hard = soft.argmax(dim=1)
    if torch.equal(soft, torch.nn.functional.one_hot(hard, classes).float()):
        return hard, None, ()
    if bool((soft >= 0).all()) and torch.allclose(soft.sum(1), torch.ones(len(soft)), atol=1e-3):
        # The logarithm of a probability is a logit of it; the minimum keeps it finite.
        return hard, soft.clamp(min=1e-8).log(), ("soft labels: taken as probabilities",)
    return hard, soft, ("soft labels: taken as logits, because they are not probabilities",)
