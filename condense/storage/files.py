"""Files and folders, written whole or not at all, and read with errors that say what to do."""

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
    """Make a file's bytes or a folder's names durable, where the system can do that."""
    if os.name == "nt":  # opens no folders, and syncs no file opened for reading
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems sync no folders
            raise
    finally:
        os.close(descriptor)


def _sibling(path: Path) -> Path:
    """A hidden name beside `path` that nothing else uses. Made here, not by tempfile, to obey the umask."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, also across a crash or a power cut. Makes the folders above it.

    Raises StorageError where it cannot; what was at `path` before is then still there.
    """
    temporary = _sibling(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - one name for the step that makes it visible
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of the text in UTF-8."""
    write_bytes(path, text.encode())


def _plain(value: Any) -> Any:
    """What msgspec does not encode by itself."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def json_bytes(value: object) -> bytes:
    """Indented JSON, lists of numbers on one line. NaN and infinities become null: JSON has neither."""
    text = msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2).decode()
    # A raw newline never stands inside a JSON string, so this touches lists of numbers only.
    text = _NUMBERS.sub(lambda match: "[" + " ".join(match[0][1:-1].split()) + "]", text)
    return text.encode() + b"\n"


def write_json(path: Path, value: object) -> None:
    """`write_bytes` of `json_bytes`. Takes dicts, lists, numbers, text, None, paths and dataclasses."""
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises StorageError where it is missing or no JSON."""
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise cannot_read(path, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"{path} is no valid JSON ({error}); it was cut off or changed by hand") from error


def append_line(path: Path, value: object) -> None:
    """Append one line of JSON. A line that a crash cut off stays alone: the next one starts below it."""
    line = msgspec.json.encode(value, enc_hook=_plain) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
    except OSError as error:
        raise cannot_write(path, error) from error


def same_file(source: Path, path: Path) -> None:
    """Put the bytes of `source` at `path` too, without using the space twice where the file system can do that.

    Files here are replaced and never changed in place, so two names for one file do no harm.
    Raises StorageError where there is no `source`, or `path` cannot be written; what was there is then still there.
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
            os.replace(temporary, path)  # noqa: PTH105 - one name for the step that makes it visible
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error


def file_hash(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise cannot_read(path, error) from error


@contextmanager
def replace_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder that appears at `path` whole, when the block ends, or not at all, when it raises.

    Yields an empty folder beside `path`; write into it plainly, everything is synced at the end.
    Raises StorageError where something is at `path` already, unless it is a folder and `overwrite` is True.
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
    """Rename `new` to `path`; what was there goes to `old`, and back where the second rename fails."""
    existed = os.path.lexists(path)
    if existed:
        path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        if existed:
            old.rename(path)
        raise
