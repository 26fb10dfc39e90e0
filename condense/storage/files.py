"""Reading and writing of files and folders. A write is complete or does not happen."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from condense.errors import StorageError, cannot_read, cannot_write

_NUMBERS = re.compile(r"\[\n[-+\d.eE,\s]*\]")


def _sync(path: Path) -> None:
    """Make the content of a file, or the entries of a folder, durable if the system supports it."""
    if os.name == "nt":  # Windows cannot open folders, nor sync files opened for reading
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


def _sibling(path: Path) -> Path:
    """Return an unused hidden name beside `path`. Files made by tempfile would ignore the umask."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def is_part(path: Path) -> bool:
    """Return whether a file is what a process that was killed left of a write."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, also across a crash or a power cut. Create the folders above it.

    Raises StorageError if that fails; the earlier content of `path` then remains.
    """
    temporary = _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - tests replace this function
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, with `write_bytes`."""
    write_bytes(path, text.encode())


def _plain(value: Any) -> Any:
    """Return a path or a mapping as a type that msgspec encodes. Raises TypeError for any other value."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def json_bytes(value: object) -> bytes:
    """Return indented JSON, with lists of numbers on one line.

    NaN and infinities become null, because JSON has neither.
    """
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()
    # A JSON string never contains a raw newline, so this changes lists of numbers only.
    text = _NUMBERS.sub(lambda match: "[" + " ".join(match[0][1:-1].split()) + "]", text)
    return text.encode() + b"\n"


def write_json(path: Path, value: object) -> None:
    """Write dicts, lists, numbers, text, None, paths and dataclasses as `json_bytes`, with `write_bytes`."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises StorageError if the file is missing or not valid JSON."""
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise cannot_read(path, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{path} is not valid JSON ({error}); it was cut off or changed by hand"
        ) from error


def append_line(path: Path, value: object) -> None:
    """Append one line of JSON, with `append_lines`."""
    append_lines(path, msgspec.json.encode(value, enc_hook=_plain) + b"\n")


def append_lines(path: Path, lines: bytes) -> None:
    """Append whole lines. If a crash cut off the last line, the new ones start on a line of their own.

    Raises StorageError if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                lines = lines if file.read(1) == b"\n" else b"\n" + lines
            file.write(lines)
    except OSError as error:
        raise cannot_write(path, error) from error


def same_file(source: Path, path: Path) -> None:
    """Make `path` a hard link to `source`, or a copy if the file system does not support hard links.

    A hard link saves space. It is safe because files here are replaced and never changed in place.
    Raises StorageError if `source` is missing or `path` cannot be written; the earlier content of `path` then
    remains.
    """
    if not source.is_file():
        raise StorageError(f"there is no file {source}")
    temporary = _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                temporary.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, temporary)
                _sync(temporary)
            os.replace(temporary, path)  # noqa: PTH105 - tests replace this function
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal. Raises StorageError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_read(path, error) from error


@contextmanager
def replace_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `path` when the block ends, but not if the block raises.

    The folder lies beside `path`. Files written into it need no syncing: everything is synced at the end.
    Raises StorageError if it cannot be written, or if `path` exists, unless it is a folder and `overwrite` is
    True.
    """
    if os.path.lexists(path) and not (overwrite and path.is_dir()):
        raise StorageError(f"{path} exists already; remove it, or choose another place")
    temporary, old = _sibling(path), _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            yield temporary
            for entry in [*temporary.rglob("*"), temporary]:
                _sync(entry)
            _swap(temporary, path, old)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    shutil.rmtree(old, ignore_errors=True)


def _swap(new: Path, path: Path, old: Path) -> None:
    """Rename `path`, if it exists, to `old`, and `new` to `path`.

    If the second rename fails, undo the first.
    """
    existed = os.path.lexists(path)
    if existed:
        path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        if existed:
            old.rename(path)
        raise
