"""Walking through folders: order, hidden files, links, circles and what cannot be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from condense.data.walk import files_below, folders_in
from condense.errors import CondenseError, DataError, StorageError


def walk(root: Path, name: str = "a") -> tuple[list[str], list[CondenseError]]:
    refused: list[CondenseError] = []
    return list(files_below(root, name, refused.append)), refused


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_come_by_name_folder_by_folder_without_hidden_ones(tmp_path: Path) -> None:
    touch(tmp_path, "a/c.png", "a/b/2", "a/b/10", "a/a.png", "a/.hidden", "a/.folder/x", "b/other")
    assert walk(tmp_path) == (["a/a.png", "a/b/10", "a/b/2", "a/c.png"], [])
    assert folders_in(tmp_path) == ["a", "b"]


def test_what_operating_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "a/1.png",
        "a/Thumbs.db",
        "a/desktop.ini",
        "a/b/thumbs.db",
        "a/__MACOSX/1.png",
        "__MACOSX/1.png",
    )
    assert walk(tmp_path) == (["a/1.png"], [])
    assert folders_in(tmp_path) == ["a"]


def test_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1", "a/2")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "twice").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "file").symlink_to(tmp_path / "elsewhere" / "1")
    (tmp_path / "a" / "gone").symlink_to("nowhere")
    (tmp_path / "a" / "self").symlink_to("self")
    found, refused = walk(tmp_path)
    assert found == ["a/2", "a/file", "a/gone", "a/link/1", "a/self", "a/twice/1"]
    assert refused == []


@pytest.mark.parametrize("target", [".", "..", "/", "../a"])
def test_a_link_to_a_folder_around_it_is_a_circle(tmp_path: Path, target: str) -> None:
    touch(tmp_path, "a/1")
    (tmp_path / "a" / "loop").symlink_to(target)
    found, [refused] = walk(tmp_path)
    assert found == ["a/1"]
    assert isinstance(refused, DataError)
    assert "/a/loop is a link to a folder that it lies in, /" in str(refused)


def test_two_links_that_lead_to_each_other(tmp_path: Path) -> None:
    touch(tmp_path, "a/1", "b/2", "similar/3")
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "y").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "z").symlink_to(tmp_path / "similar")
    found, [refused] = walk(tmp_path)
    assert found == ["a/1", "a/x/2", "a/x/z/3"]
    assert "/a/x/y is a link" in str(refused)


def test_a_name_that_begins_like_the_target_is_no_circle(tmp_path: Path) -> None:
    touch(tmp_path, "ab/1", "a/2")
    (tmp_path / "ab" / "link").symlink_to(tmp_path / "a")
    assert walk(tmp_path, "ab") == (["ab/1", "ab/link/2"], [])


def test_a_folder_that_cannot_be_read_is_refused_and_the_others_are_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a/closed/1", "a/open/2")
    scan = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found, [refused] = walk(tmp_path)
    assert found == ["a/open/2"]
    assert isinstance(refused, StorageError)
    assert str(refused) == f"{tmp_path}/a/closed cannot be read: Permission denied"
