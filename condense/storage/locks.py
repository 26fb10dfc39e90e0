"""Locks on folders, so that one process at a time works in a folder."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from condense.errors import StorageError

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class HeldError(StorageError):
    """Another process has locked the folder."""


@contextmanager
def held(folder: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Create the folder and lock it inside the block against other processes.

    The lock also ends if the process is killed. It is a hidden file beside the folder, `.<name>.lock`, so
    that the folder itself stays empty. The file may remain; an old file locks nothing. On a file system
    without locks, the block runs unlocked.

    waiting: called once before waiting for another process to release the folder. If it is None, HeldError is
        raised instead.

    Raises StorageError if the folder or the lock cannot be created.
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
    """Return whether no other process holds the lock; True on a file system without locks."""
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
