"""One process at a time holds a folder, and the folder is free again however that process ends."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from condense.errors import StorageError
from condense.storage.locks import HeldError, held, is_held
from condense.storage.run_folder import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from condense.storage.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds tmp_path/folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "folder")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.stdout.close()
    process.wait()


def test_a_held_folder_is_refused_or_waited_for(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(HeldError, match="another process is working in"), held(folder):
        pytest.fail("two processes held it")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(HeldError), held(tmp_path / "link"):
        pytest.fail("two processes held it by two names")
    waits = 0

    def kill() -> None:
        nonlocal waits
        waits += 1
        other.kill()

    with held(folder, waiting=kill):
        pass
    assert (waits, other.wait()) == (1, -signal.SIGKILL)
    with held(folder, waiting=kill):
        pass
    assert waits == 1


def test_one_process_holds_a_folder_once(tmp_path: Path) -> None:
    with held(tmp_path / "a"), held(tmp_path / "b"):
        for _ in range(2):
            with pytest.raises(HeldError), held(tmp_path / "a"):
                pytest.fail("it was held twice")
    with held(tmp_path / "a"):
        pass


def test_the_folder_is_made_and_freed_on_errors(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(KeyError), held(folder):
        raise KeyError
    with held(folder):
        assert folder.is_dir()


def test_the_lock_lies_beside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with held(folder):
        RunFolder.create(folder)
        assert list(folder.iterdir()) == []
        assert {path.name for path in tmp_path.iterdir()} == {"folder", ".folder.lock"}
    (tmp_path / ".folder.lock").write_text("left behind")
    with held(folder):
        pass


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"), held(tmp_path / "file" / "below"):
        pass


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".folder.lock").mkdir()
    with (
        pytest.raises(StorageError, match=r"cannot lock the folder .*choose another"),
        held(tmp_path / "folder"),
    ):
        pass


def failing(code: int) -> Callable[[int, int], None]:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(code, "no locks here")

    return flock


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_on_a_file_system_without_locks_a_file_names_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr("fcntl.flock", failing(code))
    folder = tmp_path / "folder"
    with held(folder):
        assert is_held(folder)
        with pytest.raises(HeldError), held(folder):
            pytest.fail("it was held twice")
    assert not is_held(folder)
    with held(folder):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_an_owner_that_was_killed_is_succeeded_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    without = (
        "import errno, fcntl\ndef flock(*_):\n    raise OSError(errno.ENOLCK, 'none')\nfcntl.flock = flock\n"
    )
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    process = subprocess.Popen(
        [sys.executable, "-c", without + HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    assert is_held(folder)
    process.kill()
    process.communicate()
    assert (tmp_path / ".folder.owner").exists()
    assert not is_held(folder)
    with held(folder):
        pass


def test_whether_a_folder_is_held_can_be_asked(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    assert is_held(tmp_path / "folder")
    other.kill()
    other.wait()
    assert not is_held(tmp_path / "folder")
    assert not is_held(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
