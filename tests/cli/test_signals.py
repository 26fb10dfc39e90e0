"""Signals end a command at a safe point, with a line about how to go on, and nothing of it stays behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")

OTHERS = [pytest.param(one, marks=pytest.mark.thorough) for one in (signal.SIGTERM, signal.SIGHUP)]
# No stage but training takes long, and that does not end while the test runs.
ENDLESS = ["--ipc", "1", "--device", "cpu", "--set", "teacher.epochs=0"]
ENDLESS += ["--set", "teacher.model=convnet", "--set", "teacher.model.width=8"]
RUN = [
    "run",
    "--method",
    "random",
    "--name",
    "one",
    "--students",
    "1",
    "--set",
    "protocol.epochs=1000000",
    *ENDLESS,
]
COMPARE = ["compare", "random", "--seeds", "2", "--students", "1", "--epochs", "1000000", "--jobs", "2"]
COMPARE += ["--no-scores", *ENDLESS]
PROCESSES = ["--executor", "processes", "--workers", "2"]
GO_ON = ["condense", "run", "--resume", "--from", "runs/one"]


@contextmanager
def started(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A `condense` in its own process, with what it prints in pipes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "condense_cli", *words],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # The group outlives the process if a helper stayed behind.
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for(what: str, folder: Path, process: subprocess.Popen[str], count: int = 1) -> None:
    """Wait until `count` files of a name exist. Folders may come and go meanwhile, as those of unfinished writes do."""
    until = time.monotonic() + 120
    while sum(what in files for _, _, files in os.walk(folder)) < count:
        assert time.monotonic() < until and process.poll() is None, f"no {what} below {folder}"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, *OTHERS])
def test_a_comparison_leaves_no_helper_behind(number: signal.Signals, tmp_path: Path) -> None:
    with started(*COMPARE, cwd=tmp_path) as process:
        wait_for("grid.png", tmp_path, process, 2)  # of two cells: the helper works on one of them
        process.send_signal(number)
        # The helper has the same pipes, so this returns only when it has ended as well.
        _, errors = process.communicate(timeout=60)
    killed = number == signal.SIGKILL
    assert process.returncode == (-number if killed else 128 + number)
    assert killed or f"Ended by {number.name}. What is done is kept; go on with: condense compare" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, *OTHERS])
def test_a_run_says_how_to_go_on(number: signal.Signals, tmp_path: Path) -> None:
    with started(*RUN, cwd=tmp_path) as process:
        wait_for("distilled.json", tmp_path, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    says_how_to_go_on(process, number, errors, GO_ON, tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("seconds", "number"), [(0, signal.SIGINT), (15, signal.SIGINT), (15, signal.SIGTERM)]
)
def test_so_does_a_run_by_processes(seconds: float, number: signal.Signals, tmp_path: Path) -> None:
    """A terminal sends its signals to the workers as well: while they start, or while they train students."""
    with started(*RUN, "--students", "2", "--compile", "off", *PROCESSES, cwd=tmp_path) as process:
        wait_for("distilled.json", tmp_path, process)
        time.sleep(seconds)
        os.killpg(process.pid, number)
        # Workers have the same pipes, so this returns only when they have ended as well.
        _, errors = process.communicate(timeout=60)
    says_how_to_go_on(process, number, errors, [*GO_ON, *PROCESSES], tmp_path)


def says_how_to_go_on(
    process: subprocess.Popen[str], number: signal.Signals, errors: str, command: list[str], folder: Path
) -> None:
    assert process.returncode == 128 + number
    said, _, words = errors.strip().partition("go on with: ")
    begin = "Interrupted" if number == signal.SIGINT else f"Ended by {number.name}"
    assert said == f"{begin}. What is done is kept; "
    assert shlex.split(words) == command
    assert '"status": "interrupted"' in (folder / "runs" / "one" / "run.json").read_text()


@pytest.mark.parametrize(
    "seconds", [0.3, *(pytest.param(one, marks=pytest.mark.thorough) for one in (0.8, 1.5))]
)
def test_an_interruption_during_imports_shows_no_traceback(seconds: float, tmp_path: Path) -> None:
    with started(*RUN, cwd=tmp_path) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors.strip()) in [
        (130, "Interrupted. Nothing was written yet."),
        (130, "Interrupted."),
        (-signal.SIGINT, ""),  # before the command had handlers of its own
    ]


def test_an_interruption_before_the_first_import_has_ended_shows_nothing(tmp_path: Path) -> None:
    """A module in place of click, which the command imports first, interrupts itself."""
    kill = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    (tmp_path / "click.py").write_text(kill)
    done = subprocess.run(
        [sys.executable, "-m", "condense_cli", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    code = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from condense_cli import signals
signals.install()
os.kill(os.getpid(), signal.SIGHUP)
try:
    os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt as error:
    print(signals.exit_status(error), signals.cause(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("143 Ended by SIGTERM\n", "")


@pytest.mark.parametrize("times", [1, 2])
def test_an_import_is_finished_first_unless_a_second_signal_comes(times: int, tmp_path: Path) -> None:
    (tmp_path / "heavy.py").write_text(
        "import os, signal, time\n"
        + "os.kill(os.getpid(), signal.SIGTERM)\n" * times
        + "time.sleep(0.3)\nprint('imported', flush=True)\n"
    )
    code = """
import time
from condense_cli import signals
signals.install()
try:
    import heavy
    time.sleep(60)
except KeyboardInterrupt:
    print("safe point")
"""
    # The signal that waited also ends the sleep at once.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=30
    )
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == [(0, "imported\nsafe point\n"), (143, "")][times - 1]
