"""Plugins of one file: how they are named, what runs, and what their hash stands for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from condense.errors import PluginError, StorageError, UnknownNameError
from condense.recipe.registry import FILES_VARIABLE, load_registry
from condense.recipe.resolve import configure
from condense.recipe.sources import files_of_run, sources_of_run

SOURCE = """
from dataclasses import dataclass
from condense import Method, Recover, hookimpl

@hookimpl
def condense_methods():
    return [Method(name="filed", summary="SUMMARY", recover=Recover(iterations=0))]
"""


def write(folder: Path, name: str = "my_idea.py", summary: str = "first") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(SOURCE.replace("SUMMARY", summary))
    return folder / name


def test_a_file_is_a_plugin_with_the_name_of_the_file(tmp_path: Path) -> None:
    file = write(tmp_path)
    registry = load_registry(files=[file])
    [status] = [status for status in registry.plugins if status.of_file]
    assert (status.name, status.file, status.version, status.problem) == ("my-idea", str(file), "", "")
    assert registry.plugin_of("method", "filed") == "my-idea"
    assert registry.chosen is not None and registry.chosen.files == (str(file),)
    with pytest.raises(UnknownNameError):
        load_registry().method("filed")


def test_the_environment_names_files_too_and_each_is_loaded_once(tmp_path: Path) -> None:
    first, second = write(tmp_path), tmp_path / "other.py"
    second.write_text("")
    environment = {FILES_VARIABLE: os.pathsep.join(map(str, (first, second)))}
    registry = load_registry(environment=environment, files=[first])
    assert [status.name for status in registry.plugins if status.of_file] == ["my-idea", "other"]
    assert not [status for status in registry.plugins if status.problem]


def test_an_edited_file_is_read_again_and_has_another_hash(tmp_path: Path) -> None:
    """Also if it has the same length and time, which Python's own cache of modules would not notice."""
    found = []
    for summary in ("first", "later", "first"):
        file = write(tmp_path, summary=summary)
        os.utime(file, (1, 1))
        registry = load_registry(files=[file])
        [status] = [status for status in registry.plugins if status.of_file]
        found.append((registry.method("filed").summary, status.source))
    assert [summary for summary, _ in found] == ["first", "later", "first"]
    assert found[0] == found[2]
    assert found[0][1] != found[1][1]
    assert not list(tmp_path.glob("__pycache__"))


def test_the_hash_does_not_depend_on_the_folder(tmp_path: Path) -> None:
    hashes = set()
    for folder in ("here", "there"):
        registry = load_registry(files=[write(tmp_path / folder)])
        config = configure(registry, method="filed", students=0)
        assert files_of_run(config, registry) == {"my-idea": str(tmp_path / folder / "my_idea.py")}
        hashes.add(sources_of_run(config, registry)["my-idea"])
    assert len(hashes) == 1
    assert files_of_run(configure(registry, method="random", students=0), registry) == {}


def test_a_file_that_fails_is_set_aside_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("one = 1\nimport beside\n")
    (tmp_path / "beside.py").write_text("")
    [status] = [status for status in load_registry(files=[file]).plugins if status.of_file]
    assert status.problem == "import failed (bad.py, line 2): ModuleNotFoundError: No module named 'beside'"


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("notes.txt", PluginError, "takes a Python file, such as my_loss.py, not "),
        ("größe.py", PluginError, "needs a name of letters and digits joined by underscores"),
        ("none.py", StorageError, "there is no file "),
        ("folder.py", StorageError, "cannot read "),
    ],
)
def test_what_cannot_be_a_plugin_is_refused(
    tmp_path: Path, name: str, error: type[Exception], text: str
) -> None:
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(error, match=text):
        load_registry(files=[tmp_path / name])


def test_a_file_with_the_name_of_an_installed_plugin(shelf: Any, tmp_path: Path) -> None:
    file = write(tmp_path, "good.py")
    registry = load_registry(files=[file])
    problems = [status.problem for status in registry.plugins if status.name == "good"]
    assert problems == [f"shelf_good and {file} both have this name; uninstall or rename one of them"] * 2
    assert load_registry(["good"], files=[file]).method("filed").name == "filed"
