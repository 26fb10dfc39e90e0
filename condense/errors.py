"""The errors that the library raises on purpose.

Each message says what was wanted, what came and what to do next.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
# Bytes of one name and of a whole path that file systems take, with room for the names of locks and parts of writes.
_LONGEST_NAME, _LONGEST_PATH = 220, 4000
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class CondenseError(Exception):
    """The base class of all errors raised on purpose. Its message is written for users."""


class UnknownNameError(CondenseError):
    """An unknown name. The message lists the valid names and the nearest one."""


class OptionError(CondenseError):
    """A setting with a key or a value that cannot be used."""


class UnknownSettingError(OptionError):
    """A setting that does not exist, whatever its value."""


class DataError(CondenseError):
    """Images or labels that cannot be used as a dataset."""


class PluginError(CondenseError):
    """A plugin that the run needs and that cannot be loaded, or two plugins that contradict each other."""


class InputChangedError(PluginError):
    """A component that changed in place what it was shown."""


class ModelError(CondenseError):
    """A network that does not fit the task, or a checkpoint that does not fit the network."""


class NumericalError(CondenseError):
    """A NaN or an infinity where a number was needed."""


class StorageError(CondenseError):
    """A file or folder that cannot be read or written."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name most similar to `name`, or None if none is similar."""
    matches = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> UnknownNameError:
    """Return the error for an unknown name.

    kind: a singular noun, such as "method".
    valid: the names that would have worked.
    """
    names = sorted(valid)
    close = nearest(name, names)
    guess = f" Did you mean {close!r}?" if close else ""
    listing = ", ".join(names) if names else "(none)"
    return UnknownNameError(f"unknown {kind} {name!r}.{guess} There are: {listing}")


def no_checkpoint(path: Path) -> ModelError:
    """Return the error for a file of weights that is not there."""
    return ModelError(
        f"there is no checkpoint {path}; --teacher takes a .safetensors file or a saved state dict"
    )


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that somebody named. Raises StorageError for one that no file system takes."""
    text = os.fsencode(path)
    if b"\0" in text:
        raise StorageError(f"{os.fspath(path)!r} cannot be a path: it holds a zero byte")
    longest = max(text.replace(b"\\", b"/").split(b"/"), key=len)
    if len(text) > _LONGEST_PATH or len(longest) > _LONGEST_NAME:
        raise StorageError(
            f"the path {os.fsdecode(text[:60])}... is too long: a name in it has {len(longest)} bytes of at most "
            f"{_LONGEST_NAME}, the whole {len(text)} of at most {_LONGEST_PATH}; choose a shorter one"
        )
    return Path(path)


def cannot_write(path: Path, error: OSError) -> StorageError:
    """Return the error for a file or folder that could not be written."""
    if error.errno in _NO_SPACE:
        return StorageError(f"no space left to write {path}; free some, or choose another folder with --out")
    if error.errno in _NO_PERMISSION:
        return StorageError(f"no permission to write {path}; choose another folder with --out")
    return StorageError(f"cannot write {path}: {error.strerror or error}")


def cannot_read(path: Path, error: OSError) -> StorageError:
    """Return the error for a file or folder that could not be read."""
    if isinstance(error, FileNotFoundError):
        return StorageError(f"there is no file {path}")
    if error.errno in _NO_PERMISSION:
        return StorageError(f"no permission to read {path}")
    return StorageError(f"cannot read {path}: {error.strerror or error}")
