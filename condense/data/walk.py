"""The files below a folder, in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from condense.errors import CondenseError, DataError, StorageError
from condense.text import shown_path

TEST_NAMES = ("val", "test")
# What operating systems leave in folders that somebody looked at, in lower case. Other such names begin with a dot.
_OF_THE_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx")

# Is told what cannot be walked, and raises it or remembers it.
Refuse = Callable[[CondenseError], None]


def check_root(root: Path) -> list[str]:
    """Return the names of the test splits below the root of class folders. Raises DataError if it is no such root."""
    if not root.exists():
        raise DataError(f"{shown_path(root)} does not exist{layout(root)}")
    if not root.is_dir():
        raise DataError(f"{shown_path(root)} is a file, not a folder{layout(root)}")
    tests = [name for name in TEST_NAMES if (root / name).is_dir()]
    if not (root / "train").is_dir() and tests:
        raise DataError(f"{shown_path(root)} has {tests[0]}/ but no train/{layout(root)}")
    return tests


def class_folders(root: Path, split: str) -> list[str]:
    """Return the names of the class folders of a split, "" for the root itself. Raises DataError for fewer than two."""
    folder = root / split
    names = folders_in(folder)
    if not names:
        raise DataError(f"{shown_path(folder)} has no class folders{layout(root)}")
    if len(names) == 1:
        raise DataError(
            f"{shown_path(folder)} has one class folder, {shown_path(names[0])!r}; condensing needs at least two "
            "(is the path that was given one level too high?)"
        )
    return names


def layout(root: Path) -> str:
    """Return the end of a message: how images have to lie below a folder."""
    name = shown_path(root)
    return (
        f"; expected {name}/train/CLASS/*.jpg and {name}/val/CLASS/*.jpg, or {name}/CLASS/*.jpg to be split"
    )


def pass_over(_error: CondenseError) -> None:
    """Pass over what cannot be walked: loading the dataset reports it."""


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in `folder`, sorted. Raises StorageError if it cannot be read."""
    return [entry.name for entry in _entries(str(folder)) if _is_dir(entry)]


def files_below(root: Path, name: str, refuse: Refuse) -> Iterator[str]:
    """Yield the files in root/name and all folders below it, as names relative to `root`.

    Links are followed. Names that begin with a dot, and what operating systems leave behind (Thumbs.db), are passed
    over. `refuse` is told of folders that cannot be read, and of links to a folder that they lie in, which would lead
    round in circles.
    """
    yield from _below(str(root), name, (), refuse)


def _below(root: str, name: str, around: tuple[str, ...], refuse: Refuse) -> Iterator[str]:
    """Do what `files_below` does. around: the real folders in which the links on the way here lie."""
    folder = os.path.join(root, name)  # noqa: PTH118 - a million names: Path would be slow
    try:
        entries = _entries(folder)
    except StorageError as error:
        refuse(error)
        return
    for entry in entries:
        below = f"{name}/{entry.name}"
        if not _is_dir(entry):
            yield below
        elif not entry.is_symlink():
            yield from _below(root, below, around, refuse)
        else:
            here, target = os.path.realpath(folder), os.path.realpath(entry.path)
            if any(f"{place}/".startswith(f"{target.rstrip('/')}/") for place in (*around, here)):
                refuse(
                    DataError(
                        f"{shown_path(entry.path)} is a link to a folder that it lies in, {shown_path(target)}: "
                        "remove the link"
                    )
                )
            else:
                yield from _below(root, below, (*around, here), refuse)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(
                (entry for entry in found if not _is_passed_over(entry.name)), key=lambda entry: entry.name
            )
    except OSError as error:
        raise StorageError(f"{shown_path(folder)} cannot be read: {error.strerror}") from error


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in _OF_THE_SYSTEM


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
