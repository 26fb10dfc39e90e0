"""A run that is killed again and again, at any moment, ends with the same bytes as one that is left alone.

So does an evaluation, with the same table.

CONDENSE_KILLS sets the number of kills; docs/reliability.md tells of a long test. Trainings are kept at every epoch,
so that most kills are in the middle of one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The tiny dataset is that of the other tests.
TOYS = Path(__file__).parents[2] / "conftest.py"

# A process that never computes starts a child for each attempt, so that torch is loaded once.
KILLING = """
import importlib, importlib.util, json, os, random, signal, sys, time
from pathlib import Path
import torch
import condense
import condense.runs.pipeline
from condense.storage.files import read_json
from condense.storage.run_folder import RunFolder

torch.set_num_threads(1)
out, wanted = Path(sys.argv[1]), int(sys.argv[2])
spec = importlib.util.spec_from_file_location("tiny", sys.argv[3])
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)
registry = tiny.registry_with(tiny.tiny_dataset())

class Telling(condense.runtime.SilentReporter):
    def note(self, text):
        if "goes on after" in text:
            print(text, flush=True)

def forked(attempt, name, seconds, sign=None):
    "Return whether the attempt was killed after this time, or as soon as a file `sign` was there."
    child = os.fork()
    if not child:
        try:
            attempt(name)
            (out / "modules").write_text(json.dumps(list(sys.modules)))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not (sign and list((out / name).glob(sign))):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, f"{name} ended with {status}"
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True

def kill(attempt, results, signs, look=lambda name: None):
    "Kill attempts, first as soon as each of some files is there and then at random; each ends with the same results."
    assert not forked(attempt, "first", 600)
    for module in json.loads((out / "modules").read_text()):  # so that no attempt spends its time on imports
        if module.partition(".")[0] in ("condense", "condense_wmdd", "condense_baselines"):
            importlib.import_module(module)
    began = time.monotonic()
    assert not forked(attempt, "whole", 600)
    whole, expected = time.monotonic() - began, results("whole")
    moments, kills, number = random.Random(0), 0, 0
    while kills < wanted:
        name = f"killed{number}"
        while kills < wanted and forked(
            attempt, name, 600 if signs else moments.uniform(0, whole), signs.pop(0) if signs else None
        ):
            kills += 1
            look(name)
        forked(attempt, name, 600)
        assert results(name) == expected, f"{name} has other results"
        number += 1
    print(kills, "kills of", number, "attempts at the same")
"""

RUNS = """
SETTINGS = {
    "teacher.epochs": 16, "protocol.epochs": 16, "recover.iterations": 4, "recover.batch": 2, "log_every": 1,
    "select.students": 1, "select.epochs": 8, "select.snapshots": 1, "protocol.labels": "soft",
}
RESULTS = ("teacher.safetensors", "measurements.safetensors", "chunks", "candidates", "distilled")

def attempt(name):
    resume = (out / name / "run.json").exists()
    condense.run(
        method="wmdd", dataset="tiny", ipc=2, students=1, reference=False, device="cpu", out=out, name=name,
        resume=resume, settings=SETTINGS, registry=registry, keep_minutes=0, reporter=Telling(),
    )

def results(name):
    files = [file for piece in RESULTS for file in [out / name / piece, *(out / name / piece).rglob("*")]]
    files = [file for file in files if file.is_file() and not file.match("candidates/*.json")]
    found = {str(file.relative_to(out / name)): file.read_bytes() for file in files}
    outcome = read_json(out / name / "run.json")["outcome"]
    assert not (out / name / "unfinished").exists(), f"{name} left what it kept of a training"
    return found, [row["accuracies"] for row in outcome["rows"]]

def look(name):
    if (out / name / "run.json").exists():
        assert RunFolder(out / name).state() in ("was interrupted", "is done")

# The first three are in the middle of the training of a teacher, of the recovery of a chunk, and of a student.
kill(attempt, results, [f"unfinished/{name}.training" for name in ("teacher", "chunk-*", "method-*")], look)
"""

EVALUATIONS = """
condense.run(
    method="random", dataset="tiny", ipc=2, students=0, device="cpu", out=out, name="judged", registry=registry,
    settings={"protocol.labels": "hard", "protocol.epochs": 6, "protocol.batch_size": 4},
)

def attempt(name):
    networks = ["convnet(width=4,depth=1)", "convnet(width=8,depth=2)"]
    condense.evaluate(
        out / "judged", student=networks, students=2, device="cpu", out=out / name, registry=registry,
        keep_minutes=0, reporter=Telling(),
    )

def results(name):
    [table] = (out / name).glob("*.json")
    [page] = (out / name).glob("*.md")
    assert not (out / name / "unfinished").exists(), f"{name} left what it kept of a training"
    found = read_json(table)
    times = [row.pop("seconds") for row in found["rows"]]
    assert len(times) == 2 and found.pop("table")
    return found, page.read_text()

# The first is in the middle of the training of a student.
kill(attempt, results, ["unfinished/*/*.training"])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
@pytest.mark.parametrize(
    "script", [RUNS, pytest.param(EVALUATIONS, marks=pytest.mark.thorough)], ids=["run", "evaluate"]
)
def test_what_is_killed_ends_with_the_same_results(script: str, tmp_path: Path) -> None:
    kills = os.environ.get("CONDENSE_KILLS", "12" if os.environ.get("CONDENSE_THOROUGH") else "4")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLING + script, str(tmp_path), kills, str(TOYS)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *going_on, last = done.stdout.splitlines()
    assert last.startswith(f"{kills} kills of ")
    assert going_on, "no kill was in the middle of a training"
