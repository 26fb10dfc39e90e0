"""`condense run --compile on`: the same bytes in any process, and by any executor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = ["run", "--method", "wmdd", "--ipc", "1", "--students", "1", "--epochs", "2", "--no-reference"]
RUN += ["--device", "cpu", "--name", "one", "--compile", "on"]
RUN += ["--set", "recover.iterations=4", "--set", "select.students=0", "--set", "teacher.epochs=0"]
RUN += ["--set", "teacher.model=convnet", "--set", "teacher.model.width=4"]


def left_by(executor: str, folder: Path) -> tuple[dict[str, bytes], dict[tuple[str, int], float]]:
    """The files of the images, and the students' losses in each epoch, of a command that compiles everything anew."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "condense_cli", *RUN, "--executor", executor],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")},
        check=True,
        timeout=600,
    )
    run = folder / "runs" / "one"
    assert json.loads((run / "run.json").read_text())["host"]["compiled"] == "recover, evaluate"
    images = run / "distilled" / "images"
    found = {str(file.relative_to(images)): file.read_bytes() for file in images.rglob("*.png")}
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {(line["detail"], line["done"]): line["loss"] for line in logged if line["stage"] == "evaluate"}
    return found, losses


@pytest.mark.slow
@pytest.mark.thorough
def test_compiled_runs_have_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    one = left_by("local", tmp_path / "one")
    assert (len(one[0]), len(one[1])) == (10, 2)  # a student with two epochs
    assert left_by("processes(workers=2,threads=1)", tmp_path / "workers") == one
