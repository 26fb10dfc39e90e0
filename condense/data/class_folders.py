"""Which class a folder of images belongs to, when others named the folders. Without torch."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

from condense.errors import DataError

_WORDNET = re.compile(r"n\d{8}")
# "00007" (RDED), "new007" (SRe2L), "class_7".
_NUMBERED = re.compile(r"(\D*)(\d+)")
# "7-frog", "07_frog", as condense itself writes folders.
_NUMBERED_NAME = re.compile(r"(\d+)[-_. ](.+)")


def match_folders(folders: Sequence[str], classes: Sequence[str]) -> tuple[dict[str, int], str]:
    """Return the class number of each folder, and how that was found, for people.

    folders: their names. classes: the names of the dataset's classes, in label order.

    A folder is named by its class, by the class's WordNet id, or by the class's number from 0 on, alone or before the
    name. Raises DataError if no way of reading the names gives every class one folder.
    """
    ways: tuple[tuple[str, Callable[[], Mapping[str, int] | None]], ...] = (
        ("by the names of the classes", lambda: _by_key(folders, classes, str)),
        ("by the names of the classes", lambda: _by_key(folders, classes, _plain)),
        ("by the WordNet ids of the classes", lambda: _by_wordnet(folders, classes)),
        ("by the numbers of the classes", lambda: _by_number(folders)),
        ("by the numbers and names of the classes", lambda: _by_number_and_name(folders, classes)),
    )
    for how, match in ways:
        found = match()
        if found is not None and sorted(found.values()) == list(range(len(classes))):
            return dict(found), how
    raise DataError(_complaint(folders, classes))


def _by_key(
    folders: Sequence[str], classes: Sequence[str], key: Callable[[str], str]
) -> Mapping[str, int] | None:
    numbers = {key(name): number for number, name in enumerate(classes)}
    keys = [key(folder) for folder in folders]
    if len(numbers) < len(classes) or any(one not in numbers for one in keys):
        return None
    return {folder: numbers[one] for folder, one in zip(folders, keys, strict=True)}


def _plain(name: str) -> str:
    """Return the letters and digits of a name, without case and accents."""
    text = unicodedata.normalize("NFKD", name).casefold()
    return "".join(letter for letter in text if letter.isalnum()) or name


def _by_wordnet(folders: Sequence[str], classes: Sequence[str]) -> Mapping[str, int] | None:
    """Match WordNet ids with those that the classes begin with, or else in their order.

    Datasets that are parts of ImageNet have their classes in the order of these ids.
    """
    if not all(_WORDNET.fullmatch(folder) for folder in folders):
        return None
    begins = [name.split()[0] if name.split() else "" for name in classes]
    if any(_WORDNET.fullmatch(begin) for begin in begins):
        return _by_key(folders, begins, str)
    return {folder: sorted(folders).index(folder) for folder in folders}


def _by_number(folders: Iterable[str]) -> Mapping[str, int] | None:
    found = {folder: _NUMBERED.fullmatch(folder) for folder in folders}
    if len({match[1] if match else None for match in found.values()}) != 1:
        return None
    return {folder: int(match[2]) for folder, match in found.items() if match}


def _by_number_and_name(folders: Iterable[str], classes: Sequence[str]) -> Mapping[str, int] | None:
    result = {}
    for folder in folders:
        match = _NUMBERED_NAME.fullmatch(folder)
        if not match or int(match[1]) >= len(classes):
            return None
        if _plain(match[2]) != _plain(classes[int(match[1])]):
            return None
        result[folder] = int(match[1])
    return result


def _complaint(folders: Sequence[str], classes: Sequence[str]) -> str:
    numbered = _by_number(folders)
    if numbered and len(folders) == len(classes) and min(numbered.values()) == 1:
        return (
            f"the class folders are numbered from 1 ({folders[0]}, ...), and classes are numbered from 0: whether "
            "1 is the first class is a guess; rename the folders"
        )
    plain = {_plain(name) for name in classes}
    strange = [folder for folder in folders if _plain(folder) not in plain]
    which = f"{strange[0]!r} is none of the classes" if strange else "some classes have no folder"
    listed = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return (
        f"{len(folders)} class folders do not fit the {len(classes)} classes of the dataset ({listed}): {which}. A "
        "folder is named by its class, by its WordNet id, or by its number from 0 on (00007, new007, 7-frog)"
    )
