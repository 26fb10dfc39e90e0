"""Work that is done ahead of its reader, by a thread of this process or by other processes.

The reader gets the same results in the same order in either case: nothing random happens here.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from condense.data.transfer import Transfer
from condense.errors import CondenseError, DataError

T = TypeVar("T")

# Items for which it is worth starting processes, which takes about as long as decoding 200 images.
WORTHWHILE = 2048
# Items of one result of a process. Results lie in shared memory, of which containers often have only 64 MB.
PIECE = 32


def ahead(
    task: Callable[[Tensor], T], parts: Sequence[Tensor], *, loaders: int, transfer: Transfer | None = None
) -> Iterator[T]:
    """Yield task(part) for each part in order. The following ones are computed while the caller works.

    task: takes indices (B,) int64. With `loaders` it must not use the device.
    loaders: the number of processes; 0: a thread of this process, which is one part ahead.
    transfer: by which the caller places the tensors on a device. They are staged for it.

    Raises what `task` raises, and DataError if a process dies.
    """
    if not parts:
        return iter(())
    return _by_processes(task, parts, loaders, transfer) if loaders else _by_thread(task, parts, transfer)


def _by_thread(
    task: Callable[[Tensor], T], parts: Sequence[Tensor], transfer: Transfer | None
) -> Iterator[T]:
    def work(part: Tensor) -> T:
        result = task(part)
        return transfer.staged(result) if transfer and isinstance(result, Tensor) else result  # type: ignore[return-value]

    with ThreadPoolExecutor(max_workers=1) as reader:
        pending = reader.submit(work, parts[0])
        for index in range(len(parts)):
            result = pending.result()
            if index + 1 < len(parts):
                pending = reader.submit(work, parts[index + 1])
            yield result


def _by_processes(
    task: Callable[[Tensor], T], parts: Sequence[Tensor], loaders: int, transfer: Transfer | None
) -> Iterator[T]:
    with _quiet():
        results = iter(
            DataLoader(
                _Results(task),
                batch_sampler=[part.tolist() for part in parts],
                num_workers=min(loaders, len(parts)),
                collate_fn=_as_they_are,
                worker_init_fn=_begin,
                # A thread of torch stages results by itself.
                pin_memory=transfer is not None and transfer.pin is not None,
                multiprocessing_context="fork" if sys.platform == "linux" else None,
                # One of its own: torch draws a seed for each process, and must leave the global generator alone.
                generator=torch.Generator(),
            )
        )
    try:
        for _ in parts:
            result = _next(results)
            if isinstance(result, _Failed):
                raise result.error
            yield result
    finally:
        # Without a reference left, torch ends the processes.
        del results


def _next(results: Iterator[Any]) -> Any:
    try:
        return next(results)
    except RuntimeError as error:
        text = str(error)
        if "DataLoader worker" in text and ("exited unexpectedly" in text or "is killed" in text):
            raise DataError(
                f"a process that decodes images has died ({text.splitlines()[0]}); there may be too little "
                "memory, or too little shared memory in a container. Use fewer processes, or none: --loaders 0"
            ) from error
        raise


@dataclass(frozen=True)
class _Failed:
    """An error on its way to the reader. torch would replace its message, and keep the processes while it is known."""

    error: Exception


class _Results(Dataset[Any], Generic[T]):
    """The results of a task, as a dataset that is read in whole parts."""

    def __init__(self, task: Callable[[Tensor], T]) -> None:
        self._task = task

    def __getitems__(self, indices: list[int]) -> T | _Failed:
        try:
            return self._task(torch.tensor(indices, dtype=torch.int64))
        except CondenseError as error:
            return _Failed(error)
        except Exception as error:
            return _Failed(_portable(error))


def _portable(error: Exception) -> Exception:
    """Return the error with its traceback in a note, or one that can be sent to another process."""
    where = f"in a process that decodes images:\n{traceback.format_exc()}"
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error of a plugin may be of any form
        return RuntimeError(where)
    error.add_note(where)
    return error


def _as_they_are(result: T) -> T:
    return result


def _begin(_worker: int) -> None:
    """Leave Ctrl-C to the process that started this one, and end with it."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error of this process as usual, unless it says that the reader has gone.

    The thread that hands results over prints its errors itself. If Ctrl-C ends the reader in the middle of that, the
    broken connection is no news to anybody.
    """
    if not isinstance(error, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out two warnings: of more processes than cores, which was asked for, and of forking beside threads.

    A process that decodes touches nothing that threads of its parent may have locked: it starts no threads, uses no
    device and prints nothing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
        yield
