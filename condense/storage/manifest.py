"""distilled.json: the description of a distilled dataset on disk."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from condense.errors import StorageError
from condense.recipe.config import digest
from condense.recipe.fields import shown
from condense.recipe.method import IDENTITY, Use
from condense.recipe.misfits import converted
from condense.recipe.specs import Origin
from condense.runtime import physical_memory
from condense.storage import files
from condense.text import byte_size

FORMAT = 2
# The maximum of each number, far above what anybody makes. Pillow takes images of `LONGEST` squared pixels.
LONGEST = 8192
_MOST = {"ipc": 10**6, "height": LONGEST, "width": LONGEST, "images_per_stored": 10**4}
_MOST_BYTES = 2**50
_LONGEST_TEXT = 2000
# The name of an image file: its slot.
_SLOT = re.compile(r"[0-9]{1,12}")
# Bytes of a file beside its pixels or numbers.
_ROOM = 2**20
# The name of one folder, as file systems and terminals take it.
_FOLDER = re.compile(r"[^/\\\x00-\x1f\x7f]{1,100}")


class ClassEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One class in the manifest.

    name: the class name.
    folder: its folder under images/.
    images: the number of images in the folder.
    weights: the weight of each decoded image, in slot order.
    sha256: of the bytes of each file, in slot order; empty in artifacts of earlier versions.
    """

    name: str
    folder: str
    images: int
    weights: list[float]
    sha256: list[str] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The content of distilled.json. Fields that are not listed are as in `DistilledDataset`.

    format: the version of the artifact format.
    channels, height, width: of every image, the last two in pixels.
    mean, std: per channel, of pixels in [0, 1].
    soft_labels: whether labels.safetensors exists.
    teacher_hash: SHA-256.
    bytes: see `DistilledDataset.sizes`.
    settings: of the run that made the images; "evaluation" contains the protocol to train on them with.
    parametrization: how images are stored. images_per_stored: how many images each file holds.
    classes: in label order.
    origin: "" in artifacts of earlier versions.
    labels_sha256: SHA-256 of labels.safetensors; "" without soft labels, and in artifacts of earlier versions.
    """

    format: int
    name: str
    method: str
    dataset: str
    ipc: int
    channels: int
    height: int
    width: int
    mean: list[float]
    std: list[float]
    label_mode: str
    soft_labels: bool
    teacher_hash: str
    teacher_bytes: int
    bytes: dict[str, int]
    licence: str
    source: str
    settings: dict[str, Any]
    classes: list[ClassEntry]
    parametrization: Use = Use(name=IDENTITY)
    images_per_stored: int = 1
    origin: Origin = ""
    labels_sha256: str = ""

    @property
    def images(self) -> int:
        """The number of stored images."""
        return sum(entry.images for entry in self.classes)

    @property
    def image_bytes(self) -> int:
        """The bytes of a decoded image."""
        return self.channels * self.height * self.width

    @property
    def most_of_image(self) -> int:
        """The maximum size in bytes of an image file: incompressible pixels, and room for the rest."""
        return 2 * self.image_bytes + _ROOM

    @property
    def most_of_labels(self) -> int:
        """The maximum size in bytes of the soft labels: a float32 for each decoded image and class, and a header."""
        return 4 * self.images * self.images_per_stored * len(self.classes) + _ROOM


def read_manifest(path: Path) -> Manifest:
    """Return what a distilled.json says. Raises StorageError if it is missing, damaged or of another version."""
    content = files.read_json(path)
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise StorageError(
            f"{path} has format version {version!r}, but this version of condense reads {FORMAT}; "
            "use the version of condense that wrote it"
        )
    try:
        manifest = converted(content, Manifest, "it")
    except ValueError as error:
        raise StorageError(f"{path} is not a description of a distilled dataset: {error}") from error
    try:
        _check_numbers(manifest)
        _check_settings(manifest)
        _check_classes(manifest)
        _check_memory(manifest)
    except ValueError as error:
        raise StorageError(f"{path}: {error}") from error
    return manifest


def _check_numbers(manifest: Manifest) -> None:
    """Raise ValueError for a number that no distilled dataset has."""
    for name, most in _MOST.items():
        value = getattr(manifest, name)
        if not 1 <= value <= most:
            raise ValueError(f"{name} must lie between 1 and {most}, not {shown(value)}")
    for text in (manifest.name, manifest.method, manifest.dataset, manifest.licence, manifest.source):
        _check_text(text)
    if manifest.channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {manifest.channels}")
    for name, value in {"teacher_bytes": manifest.teacher_bytes, **manifest.bytes}.items():
        if not 0 <= value <= _MOST_BYTES:
            raise ValueError(f"{shown(name)} is a number of bytes, and cannot be {shown(value)}")


def _check_text(text: str) -> None:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(
            f"{shown(text)} has {len(text)} characters, and at most {_LONGEST_TEXT} can be right"
        )


def _check_memory(manifest: Manifest) -> None:
    """Raise ValueError for images that this computer cannot hold."""
    needed, memory = 2 * manifest.images * manifest.image_bytes, physical_memory()
    if memory and needed > memory:
        raise ValueError(
            f"{manifest.images} images of {manifest.width}x{manifest.height} need {byte_size(needed)} of memory while "
            f"they are read, and this computer has {byte_size(memory)}"
        )


def _check_settings(manifest: Manifest) -> None:
    """Raise ValueError unless the settings are groups where groups are looked for. The rest is checked when used."""
    evaluation = manifest.settings.get("evaluation", {})
    groups = {"settings.recipe": manifest.settings.get("recipe", {}), "settings.evaluation": evaluation}
    if isinstance(evaluation, dict):
        groups["settings.evaluation.protocol"] = evaluation.get("protocol", {})
    for name, value in groups.items():
        if not isinstance(value, dict):
            raise ValueError(f"{name} must be a group of values by name, not {shown(value)}")


def _check_classes(manifest: Manifest) -> None:
    """Raise ValueError for classes that contradict each other or the rest, or that name a folder outside."""
    if not manifest.classes:
        raise ValueError("it names no classes")
    for what, names in (
        ("name", [entry.name for entry in manifest.classes]),
        ("folder", [entry.folder for entry in manifest.classes]),
    ):
        repeated, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} classes have the {what} {shown(repeated)}; it was changed by hand")
    for entry in manifest.classes:
        _check_text(entry.name)
        if not _FOLDER.fullmatch(entry.folder) or entry.folder in (".", ".."):
            raise ValueError(f"it names {shown(entry.folder)} as a folder of images; it was changed by hand")
        if not 1 <= entry.images <= manifest.ipc:
            raise ValueError(
                f"class {shown(entry.name)} must have between 1 and {manifest.ipc} images, as ipc says, not "
                f"{entry.images}"
            )
        held = entry.images * manifest.images_per_stored
        if len(entry.weights) != held:
            raise ValueError(f"class {shown(entry.name)} has {len(entry.weights)} weights for {held} images")
        if len(entry.sha256) not in (0, entry.images):
            raise ValueError(
                f"class {shown(entry.name)} has {len(entry.sha256)} checksums for {entry.images} images"
            )


def class_files(folder: Path, entry: ClassEntry) -> list[Path]:
    """Return the image files of one class, in slot order.

    Raises StorageError if there are more or fewer than the manifest says, or one that is not named by a slot.
    """
    place = folder / "images" / entry.folder
    found = sorted(place.glob("*.png"))
    if len(found) != entry.images:
        raise StorageError(
            f"{place} holds {len(found)} images, but distilled.json says {entry.images}; the folder is incomplete or "
            "was changed: copy it again"
        )
    for file in found:
        if not _SLOT.fullmatch(file.stem):
            raise StorageError(f"{file} is not named by a slot number; it does not belong there")
    return found


def content_hash(folder: Path) -> str:
    """Return 32 digits of the SHA-256 of an artifact's images, their weights and the names of their classes.

    How images are stored counts too, if they are not stored as they are.
    """
    manifest = read_manifest(folder / "distilled.json")
    made_of: list[Any] = [
        [
            entry.name,
            entry.weights,
            [
                files.file_hash(image, manifest.most_of_image)
                for image in sorted((folder / "images" / entry.folder).glob("*.png"))
            ],
        ]
        for entry in manifest.classes
    ]
    if manifest.parametrization.name != IDENTITY:
        made_of.append(manifest.parametrization)
    return digest(made_of)[:32]
