"""Folders that one process at a time works in."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from condense.errors import StorageError

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class HeldError(StorageError):
    """Another process holds the folder."""


@contextmanager
def held(folder: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Make the folder and keep other processes from holding it too. The lock ends with the process, however it ends.

    The lock is a hidden file beside the folder, `.<name>.lock`, so that the folder itself stays empty. The file may
    stay behind; an old one locks nothing. A file system that supports no locks gets none: the block runs without.

    waiting: called once before the wait, when another process holds the folder. None raises HeldError instead.
    Raises StorageError if the folder or the lock cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {folder} ({error.strerror or error}); choose another with --out"
        ) from error
    real = folder.resolve()
    lock = FileLock(real.parent / f".{real.name}.lock", fallback_to_soft=False)
    if not _acquired(lock, folder, blocking=False):
        if waiting is None:
            raise HeldError(f"another process is working in {folder}; let it end, or choose another --name")
        waiting()
        _acquired(lock, folder, blocking=True)
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, folder: Path, *, blocking: bool) -> bool:
    """Return False if another process holds the lock. A file system that supports no locks counts as True."""
    try:
        lock.acquire(blocking=blocking)
    except Timeout:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise StorageError(
                f"cannot lock the folder {folder} ({error.strerror or error}); choose another with --out"
            ) from error
    return True
