"""Artifacts on the Hugging Face hub: push one, and fetch one that somebody pushed."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense.data.hub_packages import hub_package
from condense.errors import CondenseError, StorageError, checked_path
from condense.recipe.config import HUB, is_path
from condense.recipe.registry import Registry
from condense.runtime import physical_memory
from condense.storage import artifact
from condense.storage.files import LARGEST_JSON, file_hash, read_bytes, same_file
from condense.storage.manifest import Manifest, read_manifest
from condense.text import byte_size

TEACHER = "teacher.safetensors"
# The files of an artifact beside its images; the first three always exist.
_FILES = ("distilled.json", "README.md", "metadata.csv", "labels.safetensors")
_PREFIX = f"{HUB}:"
# A path, alone or behind the kind of a dataset: "/home/me/w.pt", "folder:/home/me/pets". An address is none.
_LOCAL = re.compile(r"(\w+:)?(/(?!/)|~|\\\\|\.\./|\./.*/|[A-Za-z]:[\\/](?!/))")


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """An artifact on the hub.

    name: OWNER/NAME.
    url: of its page.
    private: whether only its owner sees it.
    images: how many it has.
    teacher: whether the teacher lies beside them.
    needs_teacher: whether its labels come from the teacher during training.
    licence: of the real images; "" if it is not known.
    """

    name: str
    url: str
    private: bool
    images: int
    teacher: bool
    needs_teacher: bool
    licence: str


def push(
    path: Path,
    name: str,
    *,
    private: bool | None = None,
    teacher: bool = True,
    message: str = "",
    registry: Registry | None = None,
) -> Pushed:
    """Upload the artifact at `path`, or the one inside a run directory, as the dataset `name` of the hub.

    The arguments are those of `condense.push`. An artifact that was there before is replaced.

    Raises StorageError if the artifact is incomplete or names a folder of this machine, if the name is taken by
    something else, or if the hub refuses.
    """
    folder = artifact.find(path)
    data = artifact.load(folder, registry)
    manifest = read_manifest(folder / "distilled.json")
    for file in _FILES[:3]:
        if not (folder / file).is_file():
            raise StorageError(f"{folder} is incomplete: it has no {file}; load it and save it again")
    _check_public(folder, manifest)
    beside = _teacher_beside(path, folder, manifest) if teacher else None
    name = name.removeprefix(_PREFIX)
    api = hub_api()
    with _talking(name):
        api.whoami()
        repository = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        known = api.repo_info(repository.repo_id, repo_type="dataset")
        _check_repository(known, api.list_repo_files(known.id, repo_type="dataset"), private)
        with tempfile.TemporaryDirectory() as staged:
            _stage(folder, manifest, beside, Path(staged))
            api.upload_folder(
                repo_id=known.id,
                folder_path=staged,
                repo_type="dataset",
                commit_message=message or f"{manifest.name or 'A distilled dataset'}, made by condense",
                delete_patterns=["images/**", *_FILES, TEACHER],
            )
    return Pushed(
        name=known.id,
        url=str(repository),
        private=bool(known.private),
        images=len(data.images),
        teacher=beside is not None,
        needs_teacher=data.label_mode == "online",
        licence=data.licence,
    )


def located(path: str | Path) -> Path:
    """Return the folder of an artifact: a path as it is, and "hf:OWNER/NAME" or "hf:OWNER/NAME@REVISION" downloaded.

    What is in Hugging Face's cache is not downloaded again. Raises StorageError if it cannot be had, or if its files
    are larger than those of an artifact can be.
    """
    text = str(path)
    if not text.startswith(_PREFIX):
        return checked_path(path)
    name, _, revision = text.removeprefix(_PREFIX).partition("@")
    if is_path(name):
        raise StorageError(f"{text} is a path; write it without {_PREFIX}")
    with _talking(name):
        folder = _fetched(hub_api(), name, revision or None)
    if not (folder / "distilled.json").is_file():
        raise _no_artifact(name)
    return folder


def _fetched(api: Any, name: str, revision: str | None) -> Path:
    """Return the folder of a dataset of the hub in the cache, with the files of an artifact.

    Where the hub does not answer or refuses, it is what the cache has. Raises StorageError for files that are larger
    than those of an artifact can be, before they are fetched, and what the client raises.
    """
    where: dict[str, Any] = {"repo_type": "dataset", "revision": revision}
    wanted = ["images/**", *_FILES, TEACHER]
    try:
        known = api.repo_info(name, files_metadata=True, **where)
    except Exception:
        with contextlib.suppress(hub_package("huggingface_hub.errors").LocalEntryNotFoundError):
            return Path(api.snapshot_download(name, allow_patterns=wanted, local_files_only=True, **where))
        raise
    sizes = {file.rfilename: file.size for file in known.siblings or () if _is_wanted(file.rfilename)}
    if "distilled.json" not in sizes:
        raise _no_artifact(name)
    _check_file(name, "distilled.json", sizes["distilled.json"], LARGEST_JSON)
    folder = Path(api.snapshot_download(name, allow_patterns=["distilled.json"], **where))
    if folder.name != known.sha:  # the sizes are those of another commit
        raise StorageError(f"{_PREFIX}{name} was changed while it was looked at; try again")
    _check_sizes(name, sizes, read_manifest(folder / "distilled.json"))
    return Path(api.snapshot_download(name, repo_type="dataset", revision=known.sha, allow_patterns=wanted))


def _is_wanted(file: str) -> bool:
    return file.startswith("images/") or file in (*_FILES, TEACHER)


def _check_sizes(name: str, sizes: Mapping[str, int | None], manifest: Manifest) -> None:
    """Raise StorageError for files of a dataset of the hub that no artifact of this manifest has. sizes: in bytes."""
    memory = physical_memory()
    most = {
        "labels.safetensors": manifest.most_of_labels,
        TEACHER: manifest.teacher_bytes or memory or None,
        **dict.fromkeys(_FILES[:3], LARGEST_JSON),
    }
    for file, size in sizes.items():
        _check_file(name, file, size, most.get(file, manifest.most_of_image))
    together = sum(size or 0 for size in sizes.values())
    if memory and together > memory:
        raise StorageError(
            f"{_PREFIX}{name} has {byte_size(together)} in {len(sizes)} files, more than the memory of this computer, "
            f"{byte_size(memory)}; it was not fetched"
        )


def _check_file(name: str, file: str, size: int | None, most: int | None) -> None:
    if size is None:
        raise StorageError(f"the hub does not say how large {file} of {_PREFIX}{name} is; it was not fetched")
    if most is not None and size > most:
        raise StorageError(
            f"{file} of {_PREFIX}{name} has {byte_size(size)}, and at most {byte_size(most)} can be right there; "
            "it was not fetched"
        )


def _no_artifact(name: str) -> StorageError:
    return StorageError(
        f"{_PREFIX}{name} is not a distilled dataset of condense: it has no distilled.json; `condense import` takes "
        "the images that others published"
    )


def hub_api() -> Any:
    """Return the client of the hub. Tests put a stand-in here."""
    return hub_package("huggingface_hub").HfApi(library_name="condense")


def _teacher_beside(path: Path, folder: Path, manifest: Manifest) -> Path | None:
    """Return the teacher that answers during training if it lies beside the artifact, else None."""
    if manifest.label_mode != "online":
        return None
    files = [place / TEACHER for place in (path, folder, folder.parent)]
    # A link could lead to any file of this computer.
    own = [file for file in files if file.is_file() and not file.is_symlink()]
    return next((file for file in own if file_hash(file) == manifest.teacher_hash), None)


def _stage(folder: Path, manifest: Manifest, teacher: Path | None, staged: Path) -> None:
    """Put links to the files that go up into the folder `staged`, and nothing else that lies beside them."""
    for name in _FILES:
        if (folder / name).is_file():
            same_file(folder / name, staged / name)
    for entry in manifest.classes:
        for image in sorted((folder / "images" / entry.folder).glob("*.png")):
            same_file(image, staged / "images" / entry.folder / image.name)
    if teacher:
        same_file(teacher, staged / TEACHER)


def _check_public(folder: Path, manifest: Manifest) -> None:
    """Raise StorageError if the description or the card holds a path of this machine."""
    home = str(Path.home())
    for file in _FILES[:2]:
        if len(home) > 1 and home in _text(folder / file):
            raise StorageError(
                f"{folder / file} names the folder {home}, which would become public; remove it"
            )
    for text in _texts([manifest.name, manifest.dataset, manifest.source, manifest.settings]):
        if _LOCAL.match(text):
            raise StorageError(
                f"{folder / 'distilled.json'} names {text!r}, a path of this machine that would become public; "
                "remove it"
            )


def _text(file: Path) -> str:
    return read_bytes(file, LARGEST_JSON).decode("utf-8", "replace")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _check_repository(known: Any, files: list[str], private: bool | None) -> None:
    """Raise StorageError if the repository was there before and is something else than what is asked for."""
    others = [name for name in files if name != ".gitattributes"]
    if others and "distilled.json" not in others:
        raise StorageError(
            f"{known.id} is on the hub already and is not a distilled dataset of condense: it holds {others[0]}; "
            "choose another name"
        )
    if private is not None and bool(known.private) != private:
        now, wanted = ("private", "public") if known.private else ("public", "private")
        raise StorageError(
            f"{known.id} is on the hub already and is {now}; choose another name, or make it {wanted} in its settings"
        )


@contextlib.contextmanager
def _talking(name: str) -> Iterator[None]:
    """Turn what the client of the hub raises into a StorageError that says what to do."""
    errors = hub_package("huggingface_hub.errors")
    try:
        yield
    except (CondenseError, KeyboardInterrupt):
        raise
    # The client raises errors of its own, of the file system and of the library that talks HTTP.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, errors.HFValidationError):
            raise StorageError(f"{name!r} is not a name on the hub, which is OWNER/NAME: {reason}") from error
        if isinstance(error, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
            raise StorageError(
                f"there is no dataset {name!r} on the hub, or it is private and you are not logged in "
                "(`hf auth login`)"
            ) from error
        if isinstance(error, errors.LocalTokenNotFoundError) or status == 401:
            raise StorageError(
                f"the hub does not know who you are: log in with `hf auth login`, or set HF_TOKEN, so that {name!r} "
                "can be reached"
            ) from error
        if status == 403:
            raise StorageError(
                f"the hub does not let you write to {name!r}: choose a name below your own account or organisation, "
                "and a token that may write"
            ) from error
        if _is_offline(error):
            raise StorageError(
                f"the hub cannot be reached, and {name!r} is not in Hugging Face's cache: try again with a network "
                f"and without HF_HUB_OFFLINE ({reason.partition('. ')[0][:100]})"
            ) from error
        raise StorageError(f"{name!r} on the hub: {reason}") from error


def _is_offline(error: BaseException) -> bool:
    """Return whether an error, or one that it came from, says that there is no network."""
    errors = hub_package("huggingface_hub.errors")
    of_http = type(error).__module__.startswith(("httpx", "httpcore", "requests"))
    here = isinstance(error, ConnectionError | errors.LocalEntryNotFoundError) or of_http
    return here or (error.__cause__ is not None and _is_offline(error.__cause__))
