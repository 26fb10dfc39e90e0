"""A run on a Ray cluster of two computers, one of which is killed, leaves the bytes of a run in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra [ray] is not installed")
pytest.importorskip("condense_ray", reason="this installation is older than the plugin")

# In a process of its own, because Ray leaves threads and warns.
SCRIPT = """
import itertools, sys
from pathlib import Path
import numpy, torch
from PIL import Image
from ray.cluster_utils import Cluster
import ray
import condense
from condense.recipe.registry import default_registry
from condense.recipe.resolve import configure
from condense.runs.pipeline import run
from condense.runtime import SilentReporter
from condense_ray.executor import Ray
from condense_ray.options import RayOptions

torch.set_num_threads(1)
out = Path(sys.argv[1])
draws = numpy.random.default_rng(0)
for split, label, number in itertools.product(("train", "val"), "abc", range(4)):
    folder = out / "images" / split / label
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draws.integers(0, 256, (8, 8), dtype=numpy.uint8)).save(folder / f"{number}.png")
settings = {
    "dataset.size": 8, "teacher.model": "convnet", "teacher.model.width": 4, "teacher.epochs": 0,
    "protocol.epochs": 2, "recover.iterations": 60, "recover.batch": 1, "log_every": 1, "select.students": 0,
}
registry = default_registry()
config = configure(
    registry, method="wmdd", dataset=f"folder:{out / 'images'}", ipc=2, students=1, device="cpu", settings=settings
)
RESULTS = ("teacher.safetensors", "measurements.safetensors", "chunks", "distilled")

def left_by(result):
    files = [file for name in RESULTS for file in [result.path / name, *(result.path / name).rglob("*")]]
    found = {str(file.relative_to(result.path)): file.read_bytes() for file in files if file.is_file()}
    return found, [score.to_dict()["accuracies"] for score in result.scores]

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)

class Killer(SilentReporter):
    "Kills the second computer while two workers recover chunks, and starts another one."
    now, killed, notes = "", False, []

    def start(self, stage, detail, total, unit):
        self.now = stage

    def advance(self, count, values=None):
        busy = sum(actor["State"] == "ALIVE" for actor in actors()) if self.now == "recover" else 0
        if busy == 2 and not self.killed:
            self.killed = True
            cluster.remove_node(second, allow_graceful=False)
            cluster.add_node(num_cpus=1)

    def note(self, text):
        self.notes.append(text)

def actors():
    from ray._private.state import actors
    return list(actors().values())

killer = Killer()
executor = Ray(RayOptions(address=cluster.address, cores=1, threads=1))
two = run(config, out / "ray", registry=registry, reporter=killer, executor=executor)
ray.shutdown()
cluster.shutdown()
one = run(config, out / "local", registry=registry)
assert left_by(one) == left_by(two)
print("killed" if killer.killed else "not killed", *killer.notes, sep="\\n")
"""


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters for tests need Linux or macOS")
def test_a_killed_computer_changes_no_byte(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.strip().splitlines()
    assert said[-1].startswith("a worker of Ray went (") or any(
        "a worker of Ray went" in line for line in said
    )
    assert "killed" in said


ROWS = ["random", "medoids"]
COMMAND = ["--seeds", "2", "--ipc", "1", "--students", "1", "--epochs", "2", "--no-scores", "--device", "cpu"]
COMMAND += ["--set", "teacher.epochs=0", "--set", "teacher.model=convnet", "--set", "teacher.model.width=8"]


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes that Ray starts there are not tested")
def test_a_comparison_on_the_ray_of_this_computer_has_the_accuracies_of_one_process(tmp_path: Path) -> None:
    found = []
    for executor in ("local", "ray(cores=1,workers=2)"):
        folder = tmp_path / executor.partition("(")[0]
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "condense_cli", "compare", *ROWS, *COMMAND, "--executor", executor],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        [table] = folder.glob("runs/*/compare.json")
        cells = json.loads(table.read_text())["cells"]
        found.append([(cell["row"], cell["seed"], cell["column"], cell["accuracies"]) for cell in cells])
    assert len(found[0]) == 4
    assert found[0] == found[1]
