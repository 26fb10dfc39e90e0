"""Which plugins take part, and the hash of their source."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.recipe.sources import source_hash, sources_of_run


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    """The hash is kept for a process; here a file changes within one."""
    source_hash.cache_clear()
    yield
    source_hash.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package "hashed_plugin" with a module below it."""
    folder = tmp_path / "hashed_plugin"
    (folder / "losses").mkdir(parents=True)
    for name in ("__init__.py", "plugin.py", "losses/__init__.py", "losses/one.py"):
        (folder / name).write_text(f"name = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hashed_plugin", raising=False)
    return folder


def hashed(module: str = "hashed_plugin.plugin") -> str:
    source_hash.cache_clear()
    return source_hash(module)


def test_every_python_file_of_the_package_counts_and_nothing_else(package: Path) -> None:
    first = hashed()
    assert len(first) == 16 and hashed() == first
    (package / "README.md").write_text("words")
    assert hashed() == first
    seen = {first}
    for change in (
        lambda: (package / "losses" / "one.py").write_text("name = 1\n"),
        lambda: (package / "losses" / "two.py").write_text(""),
        lambda: (package / "losses" / "two.py").rename(package / "losses" / "three.py"),
    ):
        change()
        seen.add(hashed())
    assert len(seen) == 4


def test_a_module_of_one_file_and_one_without_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path
) -> None:
    (tmp_path / "hashed_alone.py").write_text("one = 1\n")
    (tmp_path / "beside.py").write_text("two = 2\n")
    first = hashed("hashed_alone")
    (tmp_path / "beside.py").write_text("two = 3\n")
    assert hashed("hashed_alone") == first != ""
    (tmp_path / "hashed_alone.py").write_text("one = 2\n")
    assert hashed("hashed_alone") != first
    monkeypatch.setitem(sys.modules, "made_by_hand", ModuleType("made_by_hand"))
    assert hashed("made_by_hand") == hashed("is_not_there.plugin") == ""


def test_the_plugins_that_take_part_in_a_run() -> None:
    registry = load_registry()

    def names(method: str, **settings: object) -> set[str]:
        return set(sources_of_run(configure(registry, method=method, settings=settings), registry))

    assert names("dm") == {"baselines"}
    assert names("wmdd", **{"select.students": 0}) == {"wmdd"}
    assert names("wmdd", **{"select.students": 0, "initializer": "herding"}) == {"wmdd", "baselines"}
