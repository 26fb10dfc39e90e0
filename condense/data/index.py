"""The index of a dataset of files: what was found out about each file, kept in the cache folder.

A file is known again by its name below the dataset's folder, its size and the time of its last change. So files that
were added, removed, renamed or changed are noticed, and only these are read again. Files that cannot be read are not
kept: they are looked at again every time. An index may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from condense.data.paths import Paths
from condense.storage.files import cache_dir, write_bytes

# Size in bytes, time of the last change in nanoseconds, side lengths in pixels (0 if the file has not been read), and
# whether the file says that it has no colour.
FACTS = np.dtype([("size", "<i8"), ("changed", "<i8"), ("shorter", "<u4"), ("longer", "<u4"), ("grey", "?")])
_FORMAT = 1


@dataclass(frozen=True)
class Index:
    """Files and what is known about them.

    paths: n files below one folder.
    facts: (n,) of the type FACTS.
    """

    paths: Paths
    facts: np.ndarray

    @property
    def unknown(self) -> np.ndarray:
        """The positions (m,) int64 of the files that have not been read."""
        return np.flatnonzero(self.facts["shorter"] == 0)


def index_file(root: Path) -> Path:
    """Return where the index of a folder is kept. Its real path decides."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:32]
    return cache_dir(os.environ) / "indexes" / f"{name}-{_FORMAT}.npz"


def look_up(paths: Paths) -> Index:
    """Return the files as they are now, with the facts about those that the saved index knows unchanged."""
    facts = _now(paths)
    known = _saved(paths.root)
    if known is None:
        return Index(paths, facts)
    if known.paths.names == paths.names and np.array_equal(known.paths.ends, paths.ends):
        rows = np.arange(len(paths))
    else:
        at = {known.paths.name(row): row for row in range(len(known.paths))}
        rows = np.fromiter((at.get(paths.name(row), -1) for row in range(len(paths))), np.int64, len(paths))
    same = rows >= 0
    for column in ("size", "changed"):
        same[same] = known.facts[column][rows[same]] == facts[column][same]
    facts[same] = known.facts[rows[same]]
    return Index(paths, facts)


def save(index: Index) -> None:
    """Keep the index. Raises StorageError if it cannot be written. Of several writers, the last one wins."""
    stored = io.BytesIO()
    names = np.frombuffer(index.paths.names, np.uint8)
    np.savez(stored, names=names, ends=index.paths.ends, facts=index.facts)
    write_bytes(index_file(index.paths.root), stored.getvalue())


def _now(paths: Paths) -> np.ndarray:
    facts = np.zeros(len(paths), FACTS)
    base = os.fsencode(paths.root)
    sizes, changed = facts["size"], facts["changed"]
    for position in range(len(paths)):
        try:
            found = os.stat(os.path.join(base, paths.name(position)))  # noqa: PTH116, PTH118 - a million files
        except OSError:
            continue
        sizes[position] = found.st_size
        changed[position] = found.st_mtime_ns
    return facts


def _saved(root: Path) -> Index | None:
    """Return the saved index of a folder, or None if there is none that can be used."""
    try:
        with index_file(root).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names, ends, facts = stored["names"].tobytes(), stored["ends"], stored["facts"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    fits = facts.dtype == FACTS and ends.dtype == np.int64 and facts.shape == ends.shape == (len(ends),)
    if not fits or (len(ends) and ends[-1] != len(names)):
        return None
    return Index(Paths(root, names, ends), facts)
