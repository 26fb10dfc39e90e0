"""Reading and writing of files and folders.

A write is complete or does not happen. A read looks at kind and size first, because a file may come from anybody.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from condense.errors import StorageError, cannot_read, cannot_write
from condense.text import byte_size, escaped

# The largest JSON file that is read, in bytes. The description of a million images has about 100 MB.
LARGEST_JSON = 256 * 2**20
# How many lists and groups may lie inside each other in a JSON file.
DEEPEST_JSON = 64
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


# How often a file is created whose folder another process removes at that moment.
_ATTEMPTS = 5


def _sibling(path: Path) -> Path:
    """Return an unused hidden name beside `path`. Files made by tempfile would ignore the umask."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def is_part(path: Path) -> bool:
    """Return whether a file is what a process that was killed left of a write."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _created(path: Path) -> BinaryIO:
    """Create a file to write to, and the folders above it."""
    for _ in range(_ATTEMPTS - 1):
        # Another process may remove the folder as an empty one, right after it was made or found.
        with suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
            return path.open("xb")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def write_bytes(path: Path, *parts: bytes) -> None:
    """Write a file completely or not at all, also across a crash or a power cut. Create the folders above it.

    parts: its content, one behind the other.

    Raises StorageError if that fails; the earlier content of `path` then remains.
    """
    temporary = _sibling(path)
    try:
        try:
            with _created(temporary) as file:
                for part in parts:
                    file.write(part)
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
    """Write text for people in UTF-8, with `write_bytes`. Control characters become escapes, as in `escaped`."""
    write_bytes(path, escaped(text).encode())


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


@contextmanager
def opened(path: Path, most: int | None = None) -> Iterator[io.BufferedReader]:
    """Yield an open file to be read.

    most: the maximum size in bytes; None allows any.

    Raises StorageError if it cannot be read, is larger, or is something else than a file: a pipe would block forever.
    """
    # Opening a pipe waits for its other end without this flag, which regular files ignore.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise StorageError(f"{path} is not the name of a file: {error}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError(f"{path} is not a file; put the file itself there")
        if most is not None and found.st_size > most:
            raise StorageError(
                f"{path} has {byte_size(found.st_size)}, and at most {byte_size(most)} can be right there; it was "
                "damaged or changed by hand"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise cannot_read(path, error) from error
    finally:
        os.close(descriptor)


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Return the content of a file. most: the maximum size in bytes. Raises what `opened` raises."""
    with opened(path, most) as file:
        return file.read()


def check_size(path: Path, most: int | None) -> None:
    """Raise what `opened` raises for a file that is missing, something else than a file, or larger than `most`."""
    with opened(path, most):
        pass


def read_json(path: Path, most: int = LARGEST_JSON) -> Any:
    """Return the content of a JSON file.

    most: its maximum size in bytes.

    Raises StorageError if the file is missing, larger, not valid JSON, or more than `DEEPEST_JSON` deep.
    """
    content = read_bytes(path, most)
    try:
        found = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{path} is not valid JSON ({error}); it was cut off or changed by hand"
        ) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    level = [found]
    for _ in range(DEEPEST_JSON + 1):
        level = [child for part in level for child in _groups_in(part)]
    if level:
        raise _too_deep(path)
    return found


def _groups_in(value: Any) -> list[Any]:
    """Return the lists and groups directly inside a value of JSON."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [part for part in parts if isinstance(part, dict | list)]


def _too_deep(path: Path) -> StorageError:
    return StorageError(
        f"{path} has more than {DEEPEST_JSON} lists and groups inside each other; it was changed by hand"
    )


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
    check_size(source, None)
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


def file_hash(path: Path, most: int | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal. most: as in `opened`. Raises what `opened` raises."""
    with opened(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_links_out(folder: Path) -> None:
    """Raise StorageError for a link in a folder, at any depth, that leads out of the folder.

    In the cache of the Hugging Face hub, the files of a snapshot are links into the folder `blobs` beside it, which
    is allowed. Missing folders have no links.
    """
    top = Path(os.path.realpath(folder))
    homes = [top, top.parent.parent / "blobs"] if top.parent.name == "snapshots" else [top]
    left = [top] if top.is_dir() else []
    try:
        while left:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    if entry.is_symlink():
                        real = Path(os.path.realpath(path))
                        if not any(real.is_relative_to(home) for home in homes):
                            raise StorageError(
                                f"{path} is a link that leads out of {folder}, to {real}; put the file itself there"
                            )
                    elif entry.is_dir(follow_symlinks=False):
                        left.append(path)
    except OSError as error:
        raise cannot_read(folder, error) from error


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


def cache_dir(environment: Mapping[str, str]) -> Path:
    """Return $CONDENSE_CACHE_DIR, or the folder of the user's caches: ~/.cache/condense on Linux."""
    from platformdirs import user_cache_path

    return Path(environment.get("CONDENSE_CACHE_DIR") or user_cache_path("condense"))
