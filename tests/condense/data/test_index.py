"""The index: what it knows again, what it notices, and what it survives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from condense.data.index import FACTS, Index, index_file, look_up, save
from condense.data.paths import Paths
from condense.errors import StorageError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDENSE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for index in range(5):
        path = tmp_path / "files" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(index + 1))
    return tmp_path / "files"


def paths(root: Path) -> Paths:
    return Paths.of(root, sorted(os.fsencode(path.relative_to(root)) for path in root.rglob("*.png")))


def known(root: Path) -> dict[str, int]:
    """The files that a look into the index knows, with the shorter side that was noted of them."""
    index = look_up(paths(root))
    sides = index.facts["shorter"].tolist()
    assert index.unknown.tolist() == [row for row, side in enumerate(sides) if not side]
    return {path.name: side for path, side in zip(index.paths, sides, strict=True) if side}


def note(root: Path, *left_out: int) -> None:
    """Save an index that says of file i that its shorter side is 10 + i."""
    index = look_up(paths(root))
    for row in range(len(index.paths)):
        if row not in left_out:
            index.facts["shorter"][row] = index.facts["longer"][row] = 10 + row
    save(index)


ALL = {f"{index}.png": 10 + index for index in range(5)}


def test_nothing_is_known_before_anything_is_saved(files: Path) -> None:
    assert known(files) == {}
    note(files)
    assert known(files) == ALL


def test_a_removed_or_damaged_index_is_no_loss(files: Path) -> None:
    note(files)
    file = index_file(files)
    whole = file.read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:-1]):
        file.write_bytes(damaged)
        assert known(files) == {}
        file.unlink()
        assert known(files) == {}
    note(files)
    assert known(files) == ALL


@pytest.mark.parametrize("other", ["names", "ends", "facts"])
def test_an_index_of_another_form_is_not_used(files: Path, other: str) -> None:
    note(files)
    with np.load(index_file(files)) as stored:
        parts = dict(stored)
    parts[other] = parts[other][:-1]
    np.savez(index_file(files).with_suffix(""), **parts)
    assert known(files) == {}
    parts["facts"] = np.zeros(5)
    np.savez(index_file(files).with_suffix(""), **parts)
    assert known(files) == {}


def test_a_file_that_was_added_is_unknown(files: Path) -> None:
    note(files)
    (files / "15.png").touch()
    assert known(files) == ALL
    note(files)
    assert known(files) == {"0.png": 10, "1.png": 11, "15.png": 12, "2.png": 13, "3.png": 14, "4.png": 15}


def test_a_file_that_was_removed_is_forgotten(files: Path) -> None:
    note(files)
    (files / "2.png").unlink()
    del (rest := dict(ALL))["2.png"]
    assert known(files) == rest


def test_a_file_that_was_renamed_is_unknown(files: Path) -> None:
    note(files)
    (files / "2.png").rename(files / "9.png")
    del (rest := dict(ALL))["2.png"]
    assert known(files) == rest


def test_a_file_that_was_changed_is_unknown(files: Path) -> None:
    note(files)
    (files / "1.png").write_bytes(b"longer than before")
    changed = (files / "3.png").stat()
    os.utime(files / "3.png", ns=(changed.st_atime_ns, changed.st_mtime_ns + 1))
    assert known(files) == {"0.png": 10, "2.png": 12, "4.png": 14}


def test_files_that_change_places_are_unknown(files: Path) -> None:
    """Their sizes differ, and so do their names' sizes."""
    note(files)
    for before, after in (("0.png", "x"), ("1.png", "0.png"), ("x", "1.png")):
        (files / before).rename(files / after)
    assert known(files) == {"2.png": 12, "3.png": 13, "4.png": 14}


def test_what_was_not_read_stays_unknown(files: Path) -> None:
    note(files, 1, 4)
    assert known(files) == {"0.png": 10, "2.png": 12, "3.png": 13}


def test_a_folder_is_known_by_its_real_path(files: Path, tmp_path: Path) -> None:
    note(files)
    (tmp_path / "link").symlink_to(files)
    assert known(tmp_path / "link") == ALL
    files.rename(tmp_path / "moved")
    assert known(tmp_path / "moved") == {}


def test_files_that_are_gone_are_unknown(tmp_path: Path) -> None:
    index = look_up(Paths.of(tmp_path, [b"gone.png"]))
    assert index.unknown.tolist() == [0]
    assert index.facts.tolist() == [(0, 0, 0, 0, False)]


def test_a_cache_folder_that_cannot_be_written(files: Path, own_cache: Path) -> None:
    own_cache.write_text("a file in its place")
    assert known(files) == {}
    with pytest.raises(StorageError, match="cannot write"):
        save(Index(paths(files), np.zeros(5, FACTS)))
