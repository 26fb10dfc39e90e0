"""Folders that one process at a time works in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from condense.errors import StorageError

try:
    import fcntl
except ImportError:  # Windows, where a folder cannot be locked: two processes must not share one there.
    fcntl = None  # type: ignore[assignment]

# Whether processes can be kept off each other's folders here.
POSSIBLE = fcntl is not None


class HeldError(StorageError):
    """A folder that another process holds."""


@contextmanager
def held(folder: Path, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Make the folder and keep other processes from holding it too. The lock ends with the process, however it ends.

    waiting: told when another process holds it, before waiting for that to end; None does not wait.
    Raises StorageError where the folder cannot be made, HeldError where it is held and `waiting` is None.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {folder} ({error.strerror or error}); choose another with --out"
        ) from error
    descriptor = _opened(folder)
    try:
        if descriptor is not None:
            _lock(descriptor, folder, waiting)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened(folder: Path) -> int | None:
    if fcntl is None:
        return None
    return os.open(folder, os.O_RDONLY)


def _lock(descriptor: int, folder: Path, waiting: Callable[[], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if waiting is None:
            raise HeldError(
                f"another process is working in {folder}; let it end, or choose another --name"
            ) from None
        waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return  # a file system that knows no locks
