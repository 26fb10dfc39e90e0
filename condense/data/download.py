"""Downloads of datasets that are complete or leave nothing behind."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.error import URLError

from condense.data.fetching import may_fetch
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


def fetch(
    data_dir: Path,
    names: Sequence[str],
    get: Callable[[Path], object],
    *,
    title: str,
    address: str,
    allowed: bool,
    instead: str,
) -> None:
    """Download files or folders into `data_dir`, all of them or none.

    names: where they belong below `data_dir`.
    get: downloads them into a folder that it is given, under these names.
    title, address: of the dataset, for error messages.
    allowed: the option download.
    instead: what the user can do if the download is off or fails, for error messages.

    Raises DataError if the download is off or fails, and StorageError if `data_dir` cannot be written.
    """
    if not allowed:
        raise DataError(f"{title} is not in {data_dir} and the option download is off. {instead}")
    if not may_fetch():
        raise DataError(
            f"{title} is not in {data_dir}, and nothing is fetched that nobody named: name it with --dataset, or say "
            f"--yes. {instead}"
        )
    with fetching(data_dir, f"{title} ({address})", instead) as folder:
        get(folder)
        for name in names:
            target = data_dir / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                (folder / name).replace(target)
            except OSError as error:
                # Another run may have downloaded it in the meantime.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise


def check_file(path: Path, md5: str | None, instead: str) -> None:
    """Raise DataError unless the file is there and is the published one, and StorageError if it may not be read.

    md5: the MD5 sum of the published file; None stands for any.
    instead: what the user can do, for error messages.
    """
    from torchvision.datasets.utils import calculate_md5

    if not path.is_file():
        raise DataError(f"{path} is missing. {instead}")
    try:
        found = md5 and calculate_md5(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    if found != md5:
        raise DataError(f"{path} is not the published file: its MD5 sum is {found}, not {md5}. {instead}")
