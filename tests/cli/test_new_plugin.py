"""`condense plugins new`: the package is written whole, works when it is installed, and takes no name that is taken."""

from __future__ import annotations

import importlib.util
import json
import os
import site
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from condense_cli.new_plugin import FILES

Invoke = Callable[..., Result]

# Runs the tests of the plugin, then the method, in one process, which imports torch once. The checks that start
# processes of their own are left to the tests of the kit.
TRY_IT = """
import sys
import pytest
from condense import testing
from condense_cli.main import cli

whole, quick = testing.check_plugin, [name for name in testing.CHECKS if name not in ("import", "resume")]
testing.check_plugin = lambda *names: whole(*names, checks=quick)
status = pytest.main(["-q", "-p", "no:cacheprovider", sys.argv[1]])
assert not status, f"its tests end with status {status}"
words = "run --method my-idea --ipc 1 --students 1 --no-reference --device cpu --iterations 2 --name one --json"
words += " --set teacher.model=convnet --set teacher.model.width=8 --set teacher.epochs=0 --set protocol.epochs=1"
cli(words.split(), prog_name="condense")
"""


def test_every_file_of_the_template_is_written_and_its_names_are_filled_in(
    condense: Invoke, tmp_path: Path
) -> None:
    result = condense("plugins", "new", "my-idea", "--out", "made", "--json")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "made" / "condense-my-idea"
    data = json.loads(result.stdout)
    assert data["path"] == str(Path("made") / "condense-my-idea")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert sorted(data["files"]) == sorted(found)
    assert len(found) == len(FILES)
    for name, path in found.items():
        text = path.read_text()
        assert "{{" not in text
        if name.endswith(".py"):
            compile(text, name, "exec")
            assert max(map(len, text.splitlines())) <= 120
    assert not [path for path in (tmp_path / "made").iterdir() if path != folder]


def test_what_to_do_next_is_said(condense: Invoke) -> None:
    text = condense("plugins", "new", "my-idea").stdout
    assert "pip install -e 'condense-my-idea[dev]'" in text
    assert "condense run --method my-idea" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("My_Idea", "lower-case words joined by hyphens, such as my-idea, not 'My_Idea'"),
        ("condense-my-idea", "the package is called condense-NAME anyway; write my-idea"),
        ("wmdd", "there is a plugin 'wmdd' already"),
        ("dm", "plugin 'baselines' offers a method 'dm' already; choose another name"),
        ("cli", "there is a Python package condense_cli already; choose another name"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused(
    condense: Invoke, tmp_path: Path, name: str, reason: str
) -> None:
    result = condense("plugins", "new", name)
    assert result.exit_code == 1
    assert reason in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(condense: Invoke, tmp_path: Path) -> None:
    (tmp_path / "condense-my-idea").mkdir()
    result = condense("plugins", "new", "my-idea")
    assert result.exit_code == 1
    assert "condense-my-idea" in result.stderr and "exist" in result.stderr
    assert list((tmp_path / "condense-my-idea").iterdir()) == []


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("hatchling") and not os.environ.get("CI"), reason="needs hatchling"
)
def test_the_package_works_in_a_fresh_environment(condense: Invoke, tmp_path: Path) -> None:
    """The environment has what is installed here, and the plugin besides; nothing is fetched."""
    assert condense("plugins", "new", "my-idea").exit_code == 0
    folder, fresh = tmp_path / "condense-my-idea", tmp_path / "fresh"
    venv.create(fresh, symlinks=os.name != "nt")
    python = fresh / ("Scripts" if os.name == "nt" else "bin") / "python"
    own = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    here = "".join(f"import site; site.addsitedir({path!r})\n" for path in site.getsitepackages())
    (Path(own.stdout.strip()) / "here.pth").write_text(here)
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index"]
    install += ["--disable-pip-version-check", "--no-deps", "--no-build-isolation", str(folder)]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    words = [str(python), "-c", TRY_IT, str(folder / "tests")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads((tmp_path / "runs" / "one" / "run.json").read_text())
    assert data["versions"]["plugin my-idea"] == "0.1.0"
    assert set(data["sources"]) == {"my-idea"}
