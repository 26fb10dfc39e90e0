"""Running the command in this process, and a run that several tests look at."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from condense_cli.main import cli

Invoke = Callable[..., Result]
AddPlugins = Callable[..., None]

# The smallest run of every stage.
SMALL = ["run", "--method", "wmdd", "--ipc", "1", "--students", "2", "--iterations", "2", "--device", "cpu"]
SMALL += ["--set", "teacher.model=convnet", "--set", "teacher.model.width=8", "--set", "teacher.epochs=1"]
SMALL += ["--set", "protocol.epochs=1"]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONDENSE_TRACEBACK", "CONDENSE_DISABLE_PLUGINS", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def condense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run `condense` with these words, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return invoke


def invoke(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": None, "FORCE_COLOR": None}).invoke(
        cli, list(words), prog_name="condense"
    )


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run of WMDD in a pipe, and what it printed."""
    out = tmp_path_factory.mktemp("runs")
    return out / "small", invoke(*SMALL, "--out", str(out), "--name", "small")


@pytest.fixture
def add_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AddPlugins:
    """Install modules as plugins beside the real ones: name to source text."""

    def add(**sources: str) -> None:
        folder = tmp_path / "site"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        find = importlib.metadata.entry_points
        points: Sequence[importlib.metadata.EntryPoint] = list(find(group="condense"))
        for name, source in sources.items():
            (folder / f"plugin_{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, f"plugin_{name}", raising=False)
            points = [*points, importlib.metadata.EntryPoint(name, f"plugin_{name}", "condense")]

        def found(**wanted: Any) -> Any:
            # Others look for theirs: without them, what is imported while this lasts stays broken.
            return points if wanted.get("group") == "condense" else find(**wanted)

        monkeypatch.setattr(importlib.metadata, "entry_points", found)

    return add
