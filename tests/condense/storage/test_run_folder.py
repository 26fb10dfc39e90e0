"""Folders appear whole or not at all; a run folder spares what is there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from condense.errors import StorageError
from condense.storage import files as store
from condense.storage.files import write_json
from condense.storage.locks import held
from condense.storage.run_folder import RunFolder


def failing(code: int):
    """A stand-in for a system call that fails with this error."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    with store.replace_folder(path) as inside:
        (inside / "sub").mkdir()
        (inside / "sub" / "file").write_bytes(b"x")
        assert not path.exists()
    assert (path / "sub" / "file").read_bytes() == b"x"
    assert names(path.parent) == ["folder"]


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.replace_folder(tmp_path / "folder") as inside:
        (inside / "file").write_bytes(b"x")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_an_existing_folder_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_bytes(b"")
    with pytest.raises(StorageError, match="exists already"), store.replace_folder(path):
        pytest.fail("the block must not run")
    with pytest.raises(ZeroDivisionError), store.replace_folder(path, overwrite=True):
        raise ZeroDivisionError
    assert names(path) == ["old"]
    with store.replace_folder(path, overwrite=True) as inside:
        (inside / "new").write_bytes(b"")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_a_file_is_not_overwritten_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with (
        pytest.raises(StorageError, match="exists already"),
        store.replace_folder(tmp_path / "file", overwrite=True),
    ):
        pytest.fail("the block must not run")


def test_a_folder_that_cannot_take_its_place_restores_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_bytes(b"")
    rename = Path.rename

    def only_the_old(self: Path, target: Path) -> Path:
        if (self / "new").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_the_old)
    with (
        pytest.raises(StorageError, match="cannot write"),
        store.replace_folder(path, overwrite=True) as inside,
    ):
        (inside / "new").write_bytes(b"")
    assert names(tmp_path) == ["folder"]
    assert names(path) == ["old"]


@pytest.mark.parametrize(
    ("code", "text"), [(errno.ENOSPC, "no space left to write"), (errno.EACCES, "no permission to write")]
)
def test_a_folder_without_space_or_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code))
    with (
        pytest.raises(StorageError, match=text) as caught,
        store.replace_folder(tmp_path / "folder") as inside,
    ):
        (inside / "file").write_bytes(b"x")
    assert f"write {tmp_path / 'folder'};" in str(caught.value)
    assert names(tmp_path) == []


def test_places_in_a_run_folder(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "runs" / "mine")
    found = {
        str(path.relative_to(run.path))
        for path in (
            *(run.run_json, run.metrics, run.teacher, run.measurements, run.distilled, run.grid, run.report),
            *(run.chunk(3), run.student("random", 2)),
        )
    }
    assert found == {
        *("run.json", "metrics.jsonl", "teacher.safetensors", "measurements.safetensors", "distilled"),
        *("grid.png", "report.html", "chunks/00003.safetensors", "students/random-2.json"),
    }
    for label in ("../x", "a/b", "", ".hidden"):
        with pytest.raises(StorageError, match="cannot be in a file name"):
            run.student(label, 0)


def test_creating_a_run_folder_spares_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.mkdir()
    run = RunFolder.create(path)  # empty: nothing to lose
    with pytest.raises(StorageError, match=r"is not a run directory: it has no run\.json"):
        RunFolder.open(path)
    store.write_json(run.run_json, {})
    assert RunFolder.open(path) == run
    with pytest.raises(
        StorageError, match="mine exists already; choose another --name, or continue it with --resume"
    ):
        RunFolder.create(path)
    with pytest.raises(StorageError, match=r"run\.json exists already"):
        RunFolder.create(run.run_json)
    with pytest.raises(StorageError, match="there is not a run directory"):
        RunFolder.open(tmp_path / "other")


def test_creating_a_run_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(errno.EACCES))
    with pytest.raises(StorageError, match=r"no permission to write .*; choose another folder with --out"):
        RunFolder.create(tmp_path / "mine")


def test_a_part_of_the_first_file_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / ".run.json.0123456789ab.tmp").write_text("{")
    RunFolder.create(tmp_path / "one")
    (tmp_path / "one" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        RunFolder.create(tmp_path / "one")


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ({"status": "running"}, "was interrupted"),
        ({"status": "interrupted", "failure": ""}, "was interrupted"),
        ({"status": "failed", "failure": "no space left"}, "failed: no space left"),
        ({"status": "done", "failure": ""}, "is done"),
    ],
)
def test_the_lock_tells_whether_a_run_is_running(content: dict[str, str], state: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "one")
    write_json(folder.run_json, content)
    assert folder.state() == state
    with held(folder.path):
        assert folder.state() == "is running"
        with pytest.raises(StorageError, match="another process is working in"):
            RunFolder.create(folder.path)
    assert folder.state() == state
