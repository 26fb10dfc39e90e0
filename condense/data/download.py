"""Fetching a dataset so that it arrives whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

from condense.errors import CondenseError, DataError, StorageError

_LOCAL_FAULTS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST}
)


@contextlib.contextmanager
def fetching(data_dir: Path, what: str, instead: str) -> Iterator[Path]:
    """A fresh folder inside `data_dir` to download into; the block moves what arrived to its place.

    The folder is removed afterwards, so a download that breaks off leaves no half dataset behind.
    what: what is fetched and from where. instead: what the user can do where that fails. Both end up in the
    text of the DataError that a failing download turns into. Raises StorageError where `data_dir` cannot be
    written. Whatever the downloader prints goes to stderr, so that stdout stays the caller's.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".fetching-", dir=data_dir))
    except OSError as error:
        raise StorageError(
            f"{data_dir} cannot be written ({error.strerror}), so {what} was not fetched"
        ) from error
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield folder
    except CondenseError:
        raise
    # Downloaders raise what urllib, http, ssl, tarfile, gzip and torchvision raise: there is no shorter list.
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and not isinstance(error, URLError) and error.errno in _LOCAL_FAULTS:
            raise StorageError(f"{what} could not be stored in {data_dir}: {text}") from error
        raise DataError(f"{what} could not be fetched: {text}. {instead}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
