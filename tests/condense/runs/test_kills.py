"""A run that is killed again and again, at any moment, ends with the same bytes as one that is left alone.

CONDENSE_KILLS sets the number of kills. The suite has a few; docs/reliability.md tells of a long test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A process that never computes starts a child for each attempt, so that torch is loaded once.
SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
import torch
import condense
import condense.runs.pipeline
from condense.storage.files import read_json
from condense.storage.run_folder import RunFolder

torch.set_num_threads(1)
out, wanted = Path(sys.argv[1]), int(sys.argv[2])
SETTINGS = {
    "teacher.model": "convnet", "teacher.model.width": 8, "teacher.epochs": 1, "protocol.epochs": 2,
    "recover.iterations": 4, "recover.batch": 4, "log_every": 1,
}
RESULTS = ("teacher.safetensors", "measurements.safetensors", "chunks", "distilled")

def attempt(name):
    resume = (out / name / "run.json").exists()
    condense.run(method="wmdd", ipc=1, students=2, device="cpu", out=out, name=name, resume=resume, settings=SETTINGS)

def forked(name, seconds):
    "Return whether the attempt was killed after this time."
    child = os.fork()
    if not child:
        try:
            attempt(name)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"{name} ended with {status}"
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True

def results(name):
    files = [file for piece in RESULTS for file in [out / name / piece, *(out / name / piece).rglob("*")]]
    found = {str(file.relative_to(out / name)): file.read_bytes() for file in files if file.is_file()}
    outcome = read_json(out / name / "run.json")["outcome"]
    return found, [row["accuracies"] for row in outcome["rows"]]

began = time.monotonic()
assert not forked("whole", 600)
whole, expected = time.monotonic() - began, results("whole")
moments, kills, number = random.Random(0), 0, 0
while kills < wanted:
    name = f"killed{number}"
    while kills < wanted and forked(name, moments.uniform(0, whole)):
        kills += 1
        if (out / name / "run.json").exists():
            assert RunFolder(out / name).state() in ("was interrupted", "is done")
    forked(name, 600)
    assert results(name) == expected, f"{name} has other bytes"
    number += 1
print(kills, "kills of", number, "runs")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    kills = os.environ.get("CONDENSE_KILLS", "6")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), kills], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{kills} kills of ")
