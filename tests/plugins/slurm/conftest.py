"""Orders that jobs can build without torch, and programs that stand in for those of SLURM."""

from __future__ import annotations

import importlib
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# A job finds it by its name, as it does a plugin.
ORDERS = """
import os, signal, time
from contextlib import contextmanager
from pathlib import Path
from condense import OptionError

class Site:
    def __init__(self, folder):
        self.folder = Path(folder)

    def do(self, piece, reporter):
        with (self.folder / "began").open("a") as file:
            file.write(f"{piece.index} {os.getpid()}\\n")
        reporter.start("recover", "chunk", 2, "step")
        reporter.advance(2, {"loss": 0.5})
        if piece.index == 9:
            raise OptionError("it cannot be done")
        first = not (self.folder / "killed").exists()
        if piece.index == 7 and first:
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if piece.index == 8:
            time.sleep(600)
        return {"index": piece.index, "job": os.environ.get("SLURM_JOB_ID", ""), "pid": os.getpid()}

class Order:
    probe = ""

    def __init__(self, folder, refuses="", kind="cpu"):
        self.folder, self.refuses, self.kind = folder, refuses, kind

    @contextmanager
    def site(self, placement):
        if self.refuses:
            raise OptionError(self.refuses)
        (Path(self.folder) / f"site {placement.device} {placement.threads} {os.getpid()}").touch()
        yield Site(self.folder)
"""
# Each job is a process group of its own, and its state is a file.
PROGRAMS = {
    "sbatch": """
if [ -n "$REFUSED" ]; then echo "sbatch: error: $REFUSED" >&2; exit 1; fi
mkdir -p "$STATE"
number=$$  # submitit remembers the states of jobs by their numbers
cp "$1" "$STATE/$number"
SLURM_JOB_ID=$number setsid bash "$1" </dev/null >/dev/null 2>&1 &
echo $! > "$STATE/../pid-$number"
echo "Submitted batch job $number"
""",
    "srun": """
while [ "${1#--}" != "$1" ]; do
  case $1 in
    --output) out=${2//%j/$SLURM_JOB_ID}; shift 2;;
    --error) err=${2//%j/$SLURM_JOB_ID}; shift 2;;
    *) shift;;
  esac
done
exec "$@" >>"${out//%t/0}" 2>>"${err//%t/0}"
""",
    "scancel": 'echo $1 >> "$STATE/../cancelled"; kill -TERM -- -$(cat "$STATE/../pid-$1")',
    "sacct": """
echo "JobID|State|NodeList"
for number in $(ls "$STATE"); do
  if kill -0 $(cat "$STATE/../pid-$number") 2>/dev/null; then state=RUNNING; else state=NODE_FAIL; fi
  echo "$number|$state|here"
done
""",
}


@pytest.fixture
def orders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module with an `Order`, which jobs find too."""
    name = f"orders_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(ORDERS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(name)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Programs that do as SLURM's do, on this computer. Returns what was handed in, by the job's number."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        program = folder / name
        program.write_text(f"#!/bin/bash\n{text}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STATE", str(tmp_path / "slurm" / "scripts"))
    (tmp_path / "slurm").mkdir()
    return lambda: {
        file.name: file.read_text() for file in sorted((tmp_path / "slurm" / "scripts").iterdir())
    }
