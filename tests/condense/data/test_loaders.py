"""Work ahead of its reader: the same results in the same order by a thread and by processes, errors, and ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch
from torch import Tensor

from condense.data import loaders
from condense.data.loaders import ahead
from condense.errors import DataError, StorageError

PARTS = torch.arange(23).split(4)
EITHER = pytest.mark.parametrize("loaders", [0, 1, 3])


def squares(part: Tensor) -> Tensor:
    return part * part


@EITHER
def test_results_come_in_order_whoever_computes_them(loaders: int) -> None:
    before = torch.get_rng_state()
    found = list(ahead(squares, PARTS, loaders=loaders))
    assert torch.cat(found).tolist() == [index**2 for index in range(23)]
    assert torch.equal(torch.get_rng_state(), before)


@EITHER
def test_nothing_to_do(loaders: int) -> None:
    assert list(ahead(squares, [], loaders=loaders)) == []


def test_processes_compute_beside_this_one() -> None:
    found = {int(result) for result in ahead(lambda part: torch.tensor(os.getpid()), PARTS, loaders=2)}
    assert len(found) == 2
    assert os.getpid() not in found


@EITHER
def test_an_error_keeps_its_words_and_stops_the_rest(loaders: int) -> None:
    def task(part: Tensor) -> Tensor:
        if 13 in part.tolist():
            raise StorageError("cat/13.png cannot be read: Permission denied")
        return part

    found = []
    with pytest.raises(StorageError) as caught:
        found.extend(result.tolist() for result in ahead(task, PARTS, loaders=loaders))
    assert str(caught.value) == "cat/13.png cannot be read: Permission denied"
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert multiprocessing.active_children() == []


@EITHER
def test_a_mistake_in_a_task_is_not_hidden(loaders: int) -> None:
    def task(part: Tensor) -> Tensor:
        raise ZeroDivisionError("a mistake")

    with pytest.raises(ZeroDivisionError, match="a mistake") as caught:
        list(ahead(task, PARTS, loaders=loaders))
    assert multiprocessing.active_children() == []
    told = "".join(traceback.format_exception(caught.value))
    assert f'{__file__}", line' in told


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    class OwnError(Exception):
        def __reduce__(self) -> str:
            raise TypeError("not to be sent")

    def task(part: Tensor) -> Tensor:
        raise OwnError("a mistake")

    with pytest.raises(RuntimeError, match="OwnError: a mistake"):
        list(ahead(task, PARTS, loaders=1))


def test_a_process_that_dies_is_told_of() -> None:
    def task(part: Tensor) -> Tensor:
        if 13 in part.tolist():
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    with pytest.raises(DataError, match=r"a process that decodes images has died .*--loaders 0"):
        list(ahead(task, PARTS, loaders=2))
    assert multiprocessing.active_children() == []


def test_a_reader_may_stop_early() -> None:
    results = ahead(squares, PARTS, loaders=2)
    next(results)
    assert len(multiprocessing.active_children()) == 2
    results.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []


def test_a_process_is_silent_about_a_reader_that_has_gone_and_about_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error in (ConnectionResetError("reset by peer"), EOFError()):
        loaders._report(type(error), error, None)
    assert capsys.readouterr().err == ""
    loaders._report(ValueError, ValueError("something else"), None)
    assert "ValueError: something else" in capsys.readouterr().err


def test_ctrl_c_ends_every_process_without_noise(tmp_path: Path) -> None:
    """Ctrl-C reaches all processes of a terminal at once."""
    program = tmp_path / "reads.py"
    program.write_text(
        "import sys, time, multiprocessing\n"
        "import torch\n"
        "from condense.data.loaders import ahead\n"
        "def slow(part):\n"
        "    time.sleep(0.2)\n"
        "    return part\n"
        "try:\n"
        "    for _ in ahead(slow, torch.arange(1000).split(1), loaders=2):\n"
        "        print('reading', *(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    children = [int(word) for word in process.stdout.readline().split()[1:]]
    assert len(children) == 2
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    until = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
