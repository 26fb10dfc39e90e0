"""The distilled dataset on disk, in files that can be read without condense.

    images/<class folder>/<slot>.png    the stored images, lossless; grey as mode L, colour as RGB
    metadata.csv                        one row per stored image, for Hugging Face's `imagefolder`
    labels.safetensors                  "logits" (n, K) of the decoded images, only if there are soft labels
    distilled.json                      everything else; see `Manifest`
    README.md                           dataset card, with code that trains on the images

A class folder is named `<index>-<slug of the class name>`, for two reasons. torchvision's ImageFolder numbers
classes in alphabetical order of their folders; with bare names, its labels would differ from ours, and from
the row order of labels.safetensors, for any dataset whose classes are not sorted. Class names may also
contain slashes. The names themselves are in distilled.json and metadata.csv.

The same dataset gives the same bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import struct
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from condense.data.parametrizations.base import Coder, coder_of
from condense.data.parametrizations.standard import AS_THEY_ARE
from condense.errors import OptionError, PluginError, StorageError, UnknownNameError, cannot_read
from condense.recipe.config import digest
from condense.recipe.method import IDENTITY
from condense.recipe.registry import Registry, default_registry
from condense.storage import files
from condense.storage.card import card_text
from condense.storage.checksums import DamagedError
from condense.storage.distilled import DistilledDataset
from condense.storage.encoding import PngFiles, encode_soft_labels, in_threads
from condense.storage.manifest import FORMAT, LONGEST, ClassEntry, Manifest, class_files, read_manifest
from condense.storage.run_folder import RunFolder
from condense.storage.tensors import read_tensors

# Where a PNG file has width and height.
_SIDES_AT = 16
# Hugging Face reads a folder with one of these words in its name as a split, and ignores the others.
_SPLIT_WORDS = re.compile(r"\b(train|training|test|testing|val|valid|validation|dev|eval|evaluation)\b")
# The fields that Manifest copies from DistilledDataset.
_COPIED = (
    *("name", "method", "dataset", "ipc", "label_mode"),
    *("teacher_hash", "teacher_bytes", "settings", "licence", "source", "origin"),
)


def class_folder(index: int, name: str, count: int) -> str:
    """Return the folder name of class `index` of `count`: ASCII without spaces. Folders sort by index."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", ascii_name)[:40].strip("-")
    slug = _SPLIT_WORDS.sub(r"\1s", slug)
    number = f"{index:0{len(str(count - 1))}d}"
    return f"{number}-{slug}" if slug else number


def save(data: DistilledDataset, path: Path | str, *, overwrite: bool = False) -> None:
    """Write the artifact folder `path`, completely or not at all.

    Raises StorageError if it cannot be written, or if `path` exists and `overwrite` is False.
    """
    manifest = _manifest(data)
    with files.replace_folder(Path(path), overwrite=overwrite) as folder:
        rows = _write_images(folder, data, manifest)
        (folder / "metadata.csv").write_text(_csv(rows), encoding="utf-8", newline="")
        if data.soft_labels is not None:
            (folder / "labels.safetensors").write_bytes(encode_soft_labels(data.soft_labels))
        (folder / "distilled.json").write_bytes(files.json_bytes(manifest))
        (folder / "README.md").write_text(card_text(manifest, data), encoding="utf-8", newline="\n")


def _manifest(data: DistilledDataset) -> Manifest:
    channels, height, width = map(int, data.images.shape[1:])
    entries = []
    hashes: list[list[str]] = [[] for _ in data.classes]
    for label, png in zip(data.stored_labels.tolist(), data.png_images, strict=True):
        hashes[label].append(hashlib.sha256(png).hexdigest())
    labels = b"" if data.soft_labels is None else encode_soft_labels(data.soft_labels)
    for index, name in enumerate(data.classes):
        weights = data.weights[data.labels == index].tolist()
        stored = len(weights) // data.coder.images_per_stored
        folder = class_folder(index, name, len(data.classes))
        entries.append(
            ClassEntry(name=name, folder=folder, images=stored, weights=weights, sha256=hashes[index])
        )
    return Manifest(
        format=FORMAT,
        channels=channels,
        height=height,
        width=width,
        mean=list(data.mean),
        std=list(data.std),
        soft_labels=data.soft_labels is not None,
        bytes=data.sizes(),
        classes=entries,
        parametrization=data.parametrization,
        images_per_stored=data.coder.images_per_stored,
        labels_sha256=hashlib.sha256(labels).hexdigest() if labels else "",
        **{name: getattr(data, name) for name in _COPIED},
    )


def _write_images(folder: Path, data: DistilledDataset, manifest: Manifest) -> list[tuple[object, ...]]:
    """Write the PNG files and return the rows of metadata.csv."""
    for entry in manifest.classes:
        (folder / "images" / entry.folder).mkdir(parents=True)
    rows: list[tuple[object, ...]] = []
    pngs: list[tuple[Path, bytes]] = []
    digits = max(3, len(str(data.ipc - 1)))
    # The weight of a file is that of all images in it.
    weights = data.weights.view(len(data.images), -1).sum(dim=1)
    columns = (data.stored_labels.tolist(), data.stored_slots.tolist(), weights.tolist(), data.png_images)
    for label, slot, weight, png in zip(*columns, strict=True):
        entry = manifest.classes[label]
        file_name = f"images/{entry.folder}/{slot:0{digits}d}.png"
        pngs.append((folder / file_name, png))
        # Nine digits restore every float32 exactly.
        rows.append((file_name, label, entry.name, slot, f"{weight:.9g}"))
    with in_threads() as each:
        list(each(lambda written: written[0].write_bytes(written[1]), pngs))
    return rows


def _csv(rows: list[tuple[object, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file_name", "label", "class", "slot", "weight"))
    writer.writerows(rows)
    return text.getvalue()


def find(path: Path) -> Path:
    """Return the artifact folder: `path` or the one inside it.

    Raises StorageError if there is none, or if anything in `path` is a link that leads out of it: an artifact comes
    from anybody, and must not make its reader open or push other files.
    """
    try:
        for folder in (path, path / "distilled"):
            if (folder / "distilled.json").is_file():
                files.refuse_links_out(path)
                return folder
        if not path.is_dir():
            raise StorageError(f"there is no folder {path}")
        unfinished = (path / "run.json").is_file()
    except OSError as error:
        raise cannot_read(path, error) from error
    if unfinished:
        state = RunFolder(path).state()
        further = "let it end" if state == "is running" else "continue it with --resume"
        raise StorageError(f"the run in {path} has no distilled dataset yet. It {state}; {further}")
    raise StorageError(
        f"{path} is not a distilled dataset: it has neither distilled.json nor distilled/distilled.json"
    )


def load(path: Path | str, registry: Registry | None = None) -> DistilledDataset:
    """Return the distilled dataset in an artifact folder, or in the one inside a run directory.

    registry: offers the parametrization of the images; by default what is installed.

    Raises StorageError if files are missing, do not fit each other or come from another version, and PluginError if no
    plugin is there that decodes the images.
    """
    folder = find(Path(path))
    manifest = read_manifest(folder / "distilled.json")
    coder = _coder(folder, manifest, registry)
    _check_bytes(folder, manifest)
    labels, slots, weights = [], [], []
    pngs: list[Path] = []
    for label, entry in enumerate(manifest.classes):
        found = class_files(folder, entry)
        labels += [label] * len(found)
        slots += [int(file.stem) for file in found]
        weights += entry.weights
        pngs += found
    with in_threads() as each:
        read = list(each(lambda file: _read_png(file, manifest), pngs))
    images = torch.stack([pixels for pixels, _ in read])
    places = torch.tensor(labels) * manifest.ipc + torch.tensor(slots)
    shown, per_class = coder.of_decoded(places), manifest.ipc * coder.images_per_stored
    copied: dict[str, Any] = {name: getattr(manifest, name) for name in _COPIED}
    return DistilledDataset(
        images=images,
        labels=shown // per_class,
        slots=shown % per_class,
        weights=torch.tensor(weights, dtype=torch.float32),
        classes=tuple(entry.name for entry in manifest.classes),
        mean=tuple(manifest.mean),
        std=tuple(manifest.std),
        soft_labels=_read_soft_labels(folder, manifest) if manifest.soft_labels else None,
        coder=coder,
        files=PngFiles(images, [file for _, file in read]),
        **copied,
    )


def holds(folder: Path, data: DistilledDataset, note: Callable[[str], None]) -> bool:
    """Return whether an artifact of these settings is in a folder, with images and labels as they were written.

    note: told what is damaged.
    """
    if not (folder / "distilled.json").exists():
        return False
    try:
        manifest = read_manifest(folder / "distilled.json")
        if digest(manifest.settings) != digest(data.settings):
            return False
        _check_bytes(folder, manifest)
    except StorageError as error:
        note(f"{error}. It is made again")
        return False
    return True


def _check_bytes(folder: Path, manifest: Manifest) -> None:
    """Raise DamagedError for a file whose bytes are not those that were written, as far as distilled.json tells."""
    pairs: list[tuple[Path, str]] = []
    for entry in manifest.classes:
        found = class_files(folder, entry)
        pairs += zip(found, entry.sha256, strict=True) if entry.sha256 else ()
    if manifest.soft_labels and manifest.labels_sha256:
        pairs.append((folder / "labels.safetensors", manifest.labels_sha256))
    for file, written in pairs:
        most = manifest.most_of_labels if file.suffix == ".safetensors" else manifest.most_of_image
        if files.file_hash(file, most) != written:
            raise DamagedError(
                f"{file} is damaged: its bytes are not those that were written (SHA-256 in distilled.json); copy the "
                "folder again, or let --resume make it again in the run that it comes from"
            )


def _coder(folder: Path, manifest: Manifest, registry: Registry | None) -> Coder:
    """Return what decodes the images. Raises PluginError or OptionError, naming the artifact, if nothing does."""
    if manifest.parametrization.name == IDENTITY:
        return AS_THEY_ARE
    what = f"the images in {folder} are stored by the parametrization {manifest.parametrization.name!r}"
    try:
        coder = coder_of(manifest.parametrization, registry or default_registry())
    except UnknownNameError as error:
        raise PluginError(f"{what}; install the plugin that decodes it ({error})") from error
    except OptionError as error:
        raise OptionError(f"{what} of another version: {error}") from error
    if coder.images_per_stored != manifest.images_per_stored:
        raise StorageError(
            f"{what}, and each is said to hold {manifest.images_per_stored} images, where {coder.text} holds "
            f"{coder.images_per_stored}; distilled.json was changed by hand"
        )
    return coder


def _read_png(path: Path, manifest: Manifest) -> tuple[Tensor, bytes]:
    """Return a PNG file as (C, H, W) uint8, and its bytes. Raises StorageError if it does not fit the manifest.

    The side lengths in its header are compared first: a small file can hold an image that fills the memory.
    """
    content = files.read_bytes(path, manifest.most_of_image)
    wanted = ("L" if manifest.channels == 1 else "RGB", manifest.width, manifest.height)
    found, pixels = ("an image", 0, 0), None
    try:
        found = ("an image", *struct.unpack_from(">II", content, _SIDES_AT))
        if max(found[1:]) <= LONGEST:  # Pillow warns of larger ones.
            with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                found = (image.mode, *image.size)
                pixels = np.array(image) if found == wanted else None
    # Pillow raises these for broken streams, headers, fields and compressed data.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise StorageError(f"{path} is not a readable PNG image ({error}); copy the folder again") from error
    if pixels is None:
        said = " but distilled.json says ".join("{} {}x{}".format(*what) for what in (found, wanted))
        raise StorageError(f"image {path} is {said}")
    planes = torch.from_numpy(pixels.reshape(manifest.height, manifest.width, -1)).permute(2, 0, 1)
    return planes.contiguous(), content


def _read_soft_labels(folder: Path, manifest: Manifest) -> Tensor:
    file = folder / "labels.safetensors"
    tensors, _ = read_tensors(file, manifest.most_of_labels)
    if "logits" not in tensors:
        raise StorageError(f"{file} holds no 'logits' but {sorted(tensors)[:5]}")
    return tensors["logits"]
