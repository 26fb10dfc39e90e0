"""checksums.jsonl: the SHA-256 of every finished piece in a folder, by which a flipped bit is noticed.

A file that is replaced again and again has its SHA-256 inside: it is sealed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from condense.errors import StorageError, cannot_read
from condense.storage.files import LARGEST_JSON, append_line, file_hash, read_bytes, same_file, write_bytes

FILE = "checksums.jsonl"
_SEAL_BYTES = hashlib.sha256().digest_size


class DamagedError(StorageError):
    """A file whose bytes are not those that were written."""


class _Line(msgspec.Struct):
    """One line: the path of a file in the folder, with slashes, and its SHA-256. The last line of a file counts."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Checksums:
    """The checksums of the files in a folder and below it.

    A line is written before its file, so that a process that is killed between the two leaves a file that is made
    again, and never a changed file that passes. A file without a line, as of an earlier version, passes.
    """

    folder: Path

    def write(self, path: Path, data: bytes) -> None:
        """Write a file with `write_bytes`, and its line. Raises StorageError if that fails."""
        self._record(path, hashlib.sha256(data).hexdigest())
        write_bytes(path, data)

    def link(self, source: Path, path: Path) -> None:
        """Make `path` the same file as `source`, with `same_file`, and write its line."""
        self._record(path, file_hash(source))
        same_file(source, path)

    def usable(self, path: Path, note: Callable[[str], None]) -> bool:
        """Return whether a file is there and has the bytes that were written.

        note: told about a file that is damaged.
        """
        if not path.exists():
            return False
        known = self.recorded(path)
        if known is None or file_hash(path) == known:
            return True
        note(f"{path} is damaged: its bytes are not those that were written. It is made again")
        return False

    def recorded(self, path: Path) -> str | None:
        """Return the SHA-256 that was written down for a file, or None."""
        file = self.folder / FILE
        lines = read_bytes(file, LARGEST_JSON).splitlines() if file.exists() else []
        name, found = self._name(path), None
        for line in lines:
            try:
                entry = msgspec.json.decode(line, type=_Line)
            # A line that was cut off or changed; its file passes, as one without a line.
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            found = entry.sha256 if entry.file == name else found
        return found

    def _record(self, path: Path, sha256: str) -> None:
        if self.recorded(path) != sha256:
            append_line(self.folder / FILE, _Line(self._name(path), sha256))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()


def write_sealed(path: Path, data: bytes) -> None:
    """Write a file that begins with the SHA-256 of the rest, with `write_bytes`. Raises StorageError if that fails.

    So the two change at once: a process that is killed meanwhile leaves the earlier file, whole and known.
    """
    write_bytes(path, hashlib.sha256(data).digest(), data)


def read_sealed(path: Path) -> bytes | None:
    """Return what `write_sealed` wrote, or None if the bytes are others. Raises StorageError if it cannot be read."""
    try:
        with path.open("rb") as file:
            seal, data = file.read(_SEAL_BYTES), file.read()
    except OSError as error:
        raise cannot_read(path, error) from error
    return data if hashlib.sha256(data).digest() == seal else None
