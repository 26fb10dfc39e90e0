"""Downloads of datasets that are complete or leave nothing behind."""

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
    """Yield a fresh folder inside `data_dir` to download into; the block moves the files to their place.

    The folder is removed afterwards, so that an interrupted download leaves no partial dataset behind. Output
    of the downloader goes to stderr, so that stdout stays the caller's.

    what: the dataset and its address, for error messages.
    instead: what the user can do if the download fails, for error messages.

    Raises DataError if the download fails, and StorageError if `data_dir` cannot be written.
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
    # Downloaders raise any error of urllib, http, ssl, tarfile, gzip and torchvision.
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and not isinstance(error, URLError) and error.errno in _LOCAL_FAULTS:
            raise StorageError(f"{what} could not be stored in {data_dir}: {text}") from error
        raise DataError(f"{what} could not be fetched: {text}. {instead}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
