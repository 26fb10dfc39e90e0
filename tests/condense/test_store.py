"""Files appear whole or not at all, and errors say which file and what to do."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense import store
from condense.errors import StorageError


def failing(code: int):
    """A stand-in for a system call that fails with this error."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    store.write_bytes(path, b"old")
    store.write_text(path, "nëw")
    assert path.read_text(encoding="utf-8") == "nëw"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "no space left to write"),
        (errno.EACCES, "no permission to write .*; choose another folder with --out"),
        (errno.EROFS, "no permission to write .*; choose another folder with --out"),
        (errno.EIO, "cannot write .*: Input/output error"),
    ],
)
def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, text: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, failing(code))
    with pytest.raises(StorageError, match=text) as caught:
        store.write_bytes(path, b"new")
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_no_folder_can_be_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        store.write_bytes(tmp_path / "file" / "below", b"")


def test_new_files_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        store.write_bytes(tmp_path / "file", b"")
        with store.replace_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o755


plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates are no text.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('abc[ ,1\n]"\\'), inner),
    max_leaves=12,
)


@given(plain_json)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert json.loads(store.json_bytes(value)) == value


def test_json_of_what_json_does_not_have(tmp_path: Path) -> None:
    @dataclasses.dataclass
    class Point:
        x: float

    value = {"where": tmp_path, "nan": float("nan"), "pair": (1, 2), "point": Point(0.5)}
    store.write_json(tmp_path / "x.json", value)
    assert store.read_json(tmp_path / "x.json") == {
        "where": str(tmp_path),
        "nan": None,
        "pair": [1, 2],
        "point": {"x": 0.5},
    }
    with pytest.raises(TypeError, match="Tensor cannot be written as JSON"):
        store.json_bytes({"t": torch.zeros(1)})


def test_numbers_share_a_line() -> None:
    assert store.json_bytes({"mean": [0.5, 0.25]}) == b'{\n  "mean": [0.5, 0.25]\n}\n'


def test_json_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no file .*x\.json"):
        store.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"half')
    with pytest.raises(StorageError, match=r"x\.json is no valid JSON"):
        store.read_json(tmp_path / "x.json")


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    store.append_line(path, {"loss": 1.5})
    store.append_line(path, {"loss": float("inf")})
    with path.open("a") as file:
        file.write('{"cut o')
    store.append_line(path, {"loss": 2})
    lines = path.read_text().splitlines()
    assert [json.loads(line) for line in (lines[0], lines[1], lines[3])] == [
        {"loss": 1.5},
        {"loss": None},
        {"loss": 2},
    ]
    with pytest.raises(StorageError, match="cannot write"):
        store.append_line(tmp_path / "run", {})


def test_tensors_of_any_layout_come_back(tmp_path: Path) -> None:
    base = torch.arange(48.0).view(2, 3, 2, 4)
    tensors = {
        "channels last": base.to(memory_format=torch.channels_last),
        "transposed": base.transpose(0, 3),
        "shared": base,
        "part": base[0],
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 2),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    store.write_tensors(tmp_path / "t.safetensors", tensors, {"ünï": '"quoted"\n'})
    found, metadata = store.read_tensors(tmp_path / "t.safetensors")
    assert metadata == {"ünï": '"quoted"\n'}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0)
    store.write_tensors(tmp_path / "bare.safetensors", {"x": base})
    assert store.read_tensors(tmp_path / "bare.safetensors")[1] == {}


def test_tensor_files_are_the_same_in_every_process() -> None:
    # safetensors itself orders metadata by a hash with a random seed per process.
    code = (
        "import sys, torch; from condense import store;"
        "sys.stdout.buffer.write(store.tensors_to_bytes("
        "{name: torch.ones(2) for name in 'cab'}, {name: name for name in 'zyxwvuts'}))"
    )
    made = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(2)]
    assert made[0].stdout == made[1].stdout
    header = made[0].stdout[8 : 8 + int.from_bytes(made[0].stdout[:8], "little")]
    assert list(json.loads(header)["__metadata__"]) == sorted("zyxwvuts")
    assert len(header) % 8 == 0


def test_tensors_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    with pytest.raises(StorageError, match="there is no file"):
        store.read_tensors(path)
    store.write_tensors(path, {"x": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StorageError, match=r"t\.safetensors is no valid safetensors file"):
        store.read_tensors(path)


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert store.file_hash(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(StorageError, match="there is no file"):
        store.file_hash(tmp_path / "none")


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


def test_a_file_system_that_syncs_no_folders_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    store.write_bytes(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_places_in_a_run_folder(tmp_path: Path) -> None:
    run = store.RunFolder.create(tmp_path / "runs" / "mine")
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
    run = store.RunFolder.create(path)  # empty: nothing to lose
    with pytest.raises(StorageError, match="is no run directory: it has no run.json"):
        store.RunFolder.open(path)
    store.write_json(run.run_json, {})
    assert store.RunFolder.open(path) == run
    with pytest.raises(
        StorageError, match="mine exists already; choose another --name, or continue it with --resume"
    ):
        store.RunFolder.create(path)
    with pytest.raises(StorageError, match=r"run\.json exists already"):
        store.RunFolder.create(run.run_json)
    with pytest.raises(StorageError, match="there is no run directory"):
        store.RunFolder.open(tmp_path / "other")


def test_creating_a_run_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", failing(errno.EACCES))
    with pytest.raises(StorageError, match="no permission to write .*; choose another folder with --out"):
        store.RunFolder.create(tmp_path / "mine")
