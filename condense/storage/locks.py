"""Locks on folders, so that one process at a time works in a folder."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from condense.errors import StorageError, cannot_write

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class HeldError(StorageError):
    """Another process has locked the folder."""


@contextmanager
def held(folder: Path, *, part: str = "", waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Create the folder and lock it inside the block against other processes.

    The lock also ends if the process is killed. It is a hidden file beside the folder, `.<name>.lock`, so
    that the folder itself stays empty. The file may remain; an old file locks nothing. On a file system
    without locks, as some network file systems are, the hidden file `.<name>.owner` names the process that has the
    lock; if that process has gone, another one of the same computer takes the lock over.

    part: what in the folder is locked, for processes that work in it on different things; "" for all of it. The lock of
        a part and that of the folder do not exclude each other.
    waiting: called once before waiting for another process to release the folder. If it is None, HeldError is
        raised instead.

    Raises StorageError if the folder or the lock cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    lock = _acquired(folder, part, blocking=False)
    if lock is None:
        if waiting is None:
            raise HeldError(f"another process is working in {folder}; let it end, or choose another --name")
        waiting()
        lock = _acquired(folder, part, blocking=True)
        assert lock is not None, "it waits as long as it takes"
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Return whether a process has locked the folder now. False if that cannot be told."""
    if not folder.is_dir() or not any(file.exists() for file in _files(folder)):
        return False
    try:
        with held(folder):
            return False
    except HeldError:
        return True
    except StorageError:
        return False


def _files(folder: Path, part: str = "") -> tuple[Path, Path]:
    """Return the paths of the lock and of the file that replaces it on a file system without locks."""
    real = folder.resolve()
    name = f"{real.name}-{part}" if part else real.name
    return real.parent / f".{name}.lock", real.parent / f".{name}.owner"


def _acquired(folder: Path, part: str, *, blocking: bool) -> BaseFileLock | None:
    """Return the lock, or None if another process has it."""
    usual, soft = _files(folder, part)
    lock: BaseFileLock = FileLock(usual, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=blocking)
        except OSError as error:
            if isinstance(error, Timeout) or error.errno not in _NO_LOCKS:
                raise
            lock = SoftFileLock(soft)
            lock.acquire(blocking=blocking)
    except Timeout:
        return None
    except OSError as error:
        raise StorageError(
            f"cannot lock the folder {folder} ({error.strerror or error}); choose another with --out"
        ) from error
    return lock
