"""A folder is held by one at a time, and free again however its holder ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from condense.errors import StorageError
from condense.storage.locks import held

HOLD = """
import sys, time
from pathlib import Path
from condense.storage.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> subprocess.Popen[str]:
    """Another process that holds tmp_path/folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "folder")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process  # type: ignore[misc]
    process.kill()
    process.stdout.close()
    process.wait()


def test_a_held_folder_is_refused_or_waited_for(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(StorageError, match="another process is working in"), held(folder):
        pytest.fail("it was held twice")
    with held(folder, waiting=lambda: other.send_signal(signal.SIGKILL)):
        pass
    assert other.wait() == -signal.SIGKILL
    with held(folder):
        pass


def test_the_folder_is_made_and_freed_on_errors(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(KeyError), held(folder):
        raise KeyError
    with held(folder):
        assert folder.is_dir()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make the folder"), held(tmp_path / "file" / "below"):
        pass
