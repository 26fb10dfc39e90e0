"""Paths of many files, in about as many bytes as their names have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np


class Paths(Sequence[Path]):
    """Paths of files below one folder. A million `Path` objects would take half a gigabyte.

    root: the folder.
    names: the names relative to it, as bytes of the file system, one behind the other.
    ends: (n,) int64, where each name ends in `names`.
    """

    def __init__(self, root: Path, names: bytes, ends: np.ndarray) -> None:
        self.root, self.names, self.ends = root, names, ends
        self._base = os.fsencode(root)

    @classmethod
    def of(cls, root: Path, names: Iterable[bytes]) -> Paths:
        """Return the paths with these names below `root`."""
        listed = list(names)
        lengths = np.fromiter(map(len, listed), np.int64, len(listed))
        return cls(root, b"".join(listed), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.ends)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Paths)
            and (self.root, self.names) == (other.root, other.names)
            and np.array_equal(self.ends, other.ends)
        )

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Paths: ...

    def __getitem__(self, index: int | slice) -> Path | Paths:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return Path(os.fsdecode(os.path.join(self._base, self.name(index))))  # noqa: PTH118 - of bytes

    def name(self, index: int) -> bytes:
        """Return the name of one file relative to the folder. Raises IndexError as a sequence does."""
        position = range(len(self))[index]
        start = int(self.ends[position - 1]) if position else 0
        return self.names[start : int(self.ends[position])]

    def relative(self) -> list[str]:
        """Return every name relative to the folder, as text."""
        return [os.fsdecode(self.name(index)) for index in range(len(self))]

    def take(self, indices: np.ndarray) -> Paths:
        """Return the paths at these positions (m,)."""
        return Paths.of(self.root, [self.name(index) for index in indices.tolist()])

    def joined(self, other: Paths) -> Paths:
        """Return these paths followed by those of `other`, which lie below the same folder."""
        ends = np.concatenate([self.ends, other.ends + len(self.names)])
        return Paths(self.root, self.names + other.names, ends)
