"""Make an artifact of a distilled dataset that others published: class folders of images, or a .pt of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from condense.data.class_folders import match_folders
from condense.data.dataset import RealDataset
from condense.data.headers import read_header
from condense.data.images import FolderImages
from condense.data.load import load_dataset
from condense.data.parametrizations.base import Coder, coder_of
from condense.data.tensor_file import Values, read_tensor_file, to_pixels
from condense.engine.real import real_dataset
from condense.errors import DataError, OptionError, cannot_read
from condense.models.pretrained import preprocessing_of
from condense.recipe.config import Machine, RunConfig, dataset_label, public_settings
from condense.recipe.method import IMPORTED
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.settings import Pair
from condense.storage.distilled import DistilledDataset
from condense.text import counted

_SUFFIXES = (".pt", ".pth")
# The file of images that MTT, and others after it, write for the best step.
_BEST = "images_best.pt"
# The sections whose settings say on what, and how, the images are judged, and in which form they are stored.
_JUDGED = ("dataset", "teacher", "student", "protocol", "evaluator", "parametrization")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read what others published.

    values: how numbers of a .pt stand for pixels; see `condense.data.tensor_file.to_pixels`.
    mean, std: per channel, of numbers that are normalised; () for those of the dataset.
    experiment: which of several in a .pt, from 0 on; None takes the first.

    Raises OptionError for values that do not exist, and for a mean or a deviation without effect.
    """

    values: Values = "auto"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    experiment: int | None = None

    def __post_init__(self) -> None:
        if self.values not in get_args(Values):
            raise OptionError(f"values must be one of {', '.join(get_args(Values))}, not {self.values!r}")
        if not all(map(math.isfinite, self.mean)) or not all(0 < part < math.inf for part in self.std):
            raise OptionError(f"mean and std must be finite and std above 0, not {self.mean} and {self.std}")
        if (self.mean or self.std) and self.values in ("bytes", "unit"):
            raise OptionError(f"mean and std have no effect on values={self.values}; leave them out")

    @property
    def chosen(self) -> Values:
        """The values; whoever names a mean or a deviation says that they are normalised."""
        return "normalised" if self.mean or self.std else self.values


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """The outcome of an import.

    path: the artifact.
    distilled: what it holds.
    notes: how the images were read.
    """

    path: Path
    distilled: DistilledDataset
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = self.distilled
        return {
            "path": str(self.path),
            "method": data.method,
            "dataset": data.dataset,
            "images": len(data.images),
            "classes": len(data.classes),
            "ipc": data.ipc,
            "labels": data.label_mode,
            "protocol": dict(data.protocol),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Found:
    """Images (N, C, H, W) uint8 with their classes (N,) int64, perhaps soft labels (N, K), and notes."""

    images: Tensor
    labels: Tensor
    soft_labels: Tensor | None
    notes: tuple[str, ...]


def read_published(
    source: Path,
    registry: Registry,
    *,
    dataset: str,
    method: str,
    ipc: int | None,
    protocol: str | None,
    reading: Reading,
    settings: Sequence[Pair],
    machine: Machine,
) -> tuple[DistilledDataset, tuple[str, ...]]:
    """Return the distilled dataset in a folder or a file, and notes on how it was read.

    source: a folder of class folders, a .pt file, or a folder with images_best.pt and labels_best.pt.
    dataset: the name of the real dataset that it stands for.
    method: the label of the images in tables.
    ipc: images per class, to be checked; None takes what is there.

    Raises DataError if the images do not fit the dataset, and OptionError for a setting without effect.
    """
    if not method.strip() or "\n" in method:
        raise OptionError(f"the method needs a name of one line for tables, not {method!r}")
    for key, _ in settings:
        if key.partition(".")[0] not in _JUDGED:
            raise OptionError(
                f"{key!r} has no effect on images of others; there are settings under: {', '.join(_JUDGED)}"
            )
    file = _tensors_of(source)
    asked = configure(registry, method=IMPORTED, dataset=dataset, ipc=ipc or 10, settings=settings)
    real = real_dataset(asked.recipe, machine, registry)
    if not file:
        found = _read_folder(source, real, reading)
    elif preprocessing_of(asked.recipe.teacher.model, registry) is None:
        found = _read_file(file, real, reading)
    else:  # The authors normalised by the dataset's own numbers, and not by those of the teacher's weights.
        found = _read_file(file, load_dataset(asked.recipe, machine, registry), reading)
    counts = torch.bincount(found.labels, minlength=len(real.classes)).tolist()
    _check(found, real, counts, ipc)
    most = max(counts)
    own_labels = [("protocol.labels", "soft")] if found.soft_labels is not None and not protocol else []
    config = configure(
        registry,
        method=IMPORTED,
        dataset=dataset,
        ipc=most,
        protocol=protocol,
        settings=[*own_labels, *settings],
    )
    coder = coder_of(config.recipe.parametrization, registry)
    coder.check(real.channels, real.size)
    distilled = _assembled(found, counts, real, method, config, source.name, coder)
    few = min(counts)
    uneven = (f"classes have {few} to {most} images; ipc is the larger number",) if few < most else ()
    return distilled, (*real.notes, *found.notes, *uneven)


def _assembled(
    found: _Found,
    counts: Sequence[int],
    real: RealDataset,
    method: str,
    config: RunConfig,
    source: str,
    coder: Coder,
) -> DistilledDataset:
    """Return the images in the order of classes, with equal weights. source: the name of the file or folder.

    All images that one of them holds have its label.
    """
    order, held = torch.argsort(found.labels, stable=True), coder.images_per_stored
    labels = found.labels[order].repeat_interleave(held)
    starts = torch.tensor([0, *counts]).cumsum(0) * held
    weights = 1 / (torch.tensor(counts, dtype=torch.float32) * held)
    soft = found.soft_labels
    public, ipc = dataset_label(real.name), max(counts)
    return DistilledDataset(
        images=found.images[order],
        labels=labels,
        slots=torch.arange(len(labels)) - starts[labels],
        weights=weights[labels],
        classes=real.classes,
        mean=real.mean,
        std=real.std,
        ipc=ipc,
        coder=coder,
        label_mode="hard" if soft is None else "soft",
        soft_labels=None if soft is None else soft[order].repeat_interleave(held, dim=0),
        name=f"{method}-{public}-{ipc}ipc",
        method=method,
        dataset=public,
        settings={
            **public_settings(config.recipe, config.evaluation),
            "imported": {"from": source, "notes": list(found.notes)},
        },
        licence=real.licence,
        source=real.source,
    )


def _tensors_of(source: Path) -> Path | None:
    """Return the file of tensors that is meant, or None for a folder of class folders."""
    if not source.exists():
        raise DataError(f"{source} does not exist; wanted is a folder of class folders, or a .pt file")
    if source.is_file():
        if source.suffix in _SUFFIXES:
            return source
        raise DataError(f"{source} is neither a folder nor a file of tensors ({', '.join(_SUFFIXES)})")
    if (source / "distilled.json").is_file() or (source / "run.json").is_file():
        raise DataError(
            f"{source} is an artifact of condense already: `condense evaluate {source}` judges it"
        )
    if (source / _BEST).is_file():
        return source / _BEST
    files = sorted(path for path in source.iterdir() if path.suffix in _SUFFIXES)
    if files and not any(path.is_dir() for path in source.iterdir()):
        raise DataError(
            f"{source} has files of tensors ({', '.join(path.name for path in files[:5])}); name one of them"
        )
    return None


def _read_file(file: Path, real: RealDataset, reading: Reading) -> _Found:
    for name, values in (("mean", reading.mean), ("std", reading.std)):
        if values and len(values) != real.channels:
            raise OptionError(f"{name} needs {counted(real.channels, 'number')}, not {len(values)}")
    found = read_tensor_file(file, len(real.classes), reading.experiment)
    if found.images.shape[1] != real.channels:
        raise DataError(
            f"{file}: the images have {counted(int(found.images.shape[1]), 'channel')}, and {real.name} has "
            f"{real.channels}"
        )
    mean, std = reading.mean or real.mean, reading.std or real.std
    assumed = [option for option, given in (("--mean", reading.mean), ("--std", reading.std)) if not given]
    images, said = to_pixels(found.images, mean, std, reading.chosen, assumed=assumed)
    return _Found(images, found.labels, found.soft_labels, (*found.notes, said))


def _read_folder(source: Path, real: RealDataset, reading: Reading) -> _Found:
    if reading != Reading():
        raise OptionError(
            "values, mean, std and experiment have no effect: the images are files, not tensors"
        )
    root = source / "train" if (source / "train").is_dir() else source
    folders = {path.name: _files(path) for path in _entries(root) if path.is_dir()}
    if not folders:
        raise DataError(f"{root} has neither class folders nor a file of tensors ({', '.join(_SUFFIXES)})")
    numbers, how = match_folders(list(folders), real.classes)
    files = [file for paths in folders.values() for file in paths]
    labels = [numbers[name] for name, paths in folders.items() for _ in paths]
    sides = {read_header(file).sides for file in files}
    if sides != {(real.size, real.size)}:
        shown = ", ".join(f"{a}x{b}" for a, b in sorted(sides)[:3])
        raise DataError(_wrong_size(shown, real))
    images = FolderImages(files, real.size, real.channels).read(torch.arange(len(files)))
    return _Found(images, torch.tensor(labels), None, (f"class folders are matched {how}",))


def _files(folder: Path) -> list[Path]:
    """Return the files below a folder, by name."""
    return [file for entry in _entries(folder) for file in (_files(entry) if entry.is_dir() else [entry])]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise cannot_read(folder, error) from error


def _check(found: _Found, real: RealDataset, counts: Sequence[int], ipc: int | None) -> None:
    height, width = map(int, found.images.shape[2:])
    if (height, width) != (real.size, real.size):
        raise DataError(_wrong_size(f"{height}x{width}", real))
    if 0 in counts:
        raise DataError(f"class {real.classes[counts.index(0)]!r} has no images")
    if ipc is not None and set(counts) != {ipc}:
        have = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        raise DataError(f"{ipc} images per class were asked for, and there are {have}; leave --ipc out")


def _wrong_size(shown: str, real: RealDataset) -> str:
    return (
        f"the images are {shown}, and {real.name} is looked at as {real.size}x{real.size}; if the dataset has an "
        "option size, set it: --set dataset.size=..."
    )
