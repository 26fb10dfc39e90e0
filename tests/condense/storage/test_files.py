"""Files appear whole or not at all, and errors say which file and what to do."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.errors import StorageError
from condense.storage import files as store


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


def test_a_folder_that_another_process_removes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is done removes the folder of unfinished work if nothing is in it, as another begins to write."""
    path, opening, removals = tmp_path / "unfinished" / "one", Path.open, [1, 2]

    def after_removal(self: Path, *more: object) -> object:
        if removals:
            removals.pop()
            self.parent.rmdir()
        return opening(self, *more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", after_removal)
    store.write_bytes(path, b"x")
    monkeypatch.undo()
    assert path.read_bytes() == b"x" and not removals


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
    with pytest.raises(StorageError, match=r"x\.json is not valid JSON"):
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


@pytest.mark.parametrize("links", [True, False])
def test_the_same_file_at_another_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    source, path = tmp_path / "source", tmp_path / "a" / "b" / "file"
    source.write_bytes(b"bytes")
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", failing(errno.EXDEV))
    for _ in range(2):  # the second time it is there already
        store.same_file(source, path)
        assert path.read_bytes() == b"bytes"
        assert source.samefile(path) is links
        assert names(path.parent) == ["file"]
    # Replacing one leaves the other as it was.
    store.write_bytes(source, b"others")
    assert path.read_bytes() == b"bytes"
    store.same_file(source, path)
    assert path.read_bytes() == b"others"


def test_the_same_file_of_one_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(StorageError) as caught:
        store.same_file(tmp_path / "gone", path)
    assert str(caught.value) == f"there is no file {tmp_path / 'gone'}"
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "no space left to write"),
        (errno.EACCES, "no permission to write"),
        (errno.EIO, "cannot write .*: Input/output error"),
    ],
)
def test_a_place_that_cannot_take_the_same_file_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, code: int, text: str
) -> None:
    source, path = tmp_path / "source", tmp_path / "b" / "file"
    source.write_bytes(b"new")
    store.write_bytes(path, b"old")
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", failing(errno.EXDEV))
    monkeypatch.setattr(os, "replace", failing(code))
    with pytest.raises(StorageError, match=text) as caught:
        store.same_file(source, path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["file"]


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert store.file_hash(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(StorageError, match="there is no file"):
        store.file_hash(tmp_path / "none")


def test_a_file_system_that_syncs_no_folders_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    store.write_bytes(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_a_file_is_looked_at_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(b"[1]")
    assert store.read_bytes(file, most=3) == b"[1]"
    for read in (store.read_bytes, store.read_json, store.file_hash):
        with pytest.raises(StorageError, match="has 3 B, and at most 2 B can be right there"):
            read(file, 2)
        with pytest.raises(StorageError, match="is not a file"):
            read(tmp_path)
    with pytest.raises(StorageError, match="is not the name of a file"):
        store.read_bytes(Path("a\0b"))


def test_texts_for_people_have_no_control_characters(tmp_path: Path) -> None:
    store.write_text(tmp_path / "t.md", "a\x1b[31m\tb\n\u202ec")
    assert (tmp_path / "t.md").read_text() == "a\\x1b[31m\tb\n\\u202ec"
