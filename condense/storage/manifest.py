"""distilled.json: the description of a distilled dataset on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from condense.errors import StorageError
from condense.recipe.config import digest
from condense.recipe.method import IDENTITY, Use
from condense.recipe.misfits import converted
from condense.recipe.specs import Origin
from condense.storage import files

FORMAT = 2


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
    if not manifest.classes:
        raise StorageError(f"{path} names no classes")
    for entry in manifest.classes:
        if "/" in entry.folder or "\\" in entry.folder or entry.folder in ("", ".", ".."):
            raise StorageError(f"{path} names {entry.folder!r} as a folder of images; it was changed by hand")
        held = entry.images * manifest.images_per_stored
        if len(entry.weights) != held:
            raise StorageError(
                f"{path}: class {entry.name!r} has {len(entry.weights)} weights for {held} images"
            )
        if len(entry.sha256) not in (0, entry.images):
            raise StorageError(
                f"{path}: class {entry.name!r} has {len(entry.sha256)} checksums for {entry.images} images"
            )
    return manifest


def content_hash(folder: Path) -> str:
    """Return 32 digits of the SHA-256 of an artifact's images, their weights and the names of their classes.

    How images are stored counts too, if they are not stored as they are.
    """
    manifest = read_manifest(folder / "distilled.json")
    made_of: list[Any] = [
        [
            entry.name,
            entry.weights,
            [files.file_hash(image) for image in sorted((folder / "images" / entry.folder).glob("*.png"))],
        ]
        for entry in manifest.classes
    ]
    if manifest.parametrization.name != IDENTITY:
        made_of.append(manifest.parametrization)
    return digest(made_of)[:32]
