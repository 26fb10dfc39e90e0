"""Time a comparison made by one process against the same one made by several.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/jobs.py [--repeats 3] [--jobs 2] [--width 64] [--epochs 100] [--seeds 4]

It compares WMDD with random real images on fashion-mini under `fkd`. Teacher and dataset exist before the
timing starts. Everything else is timed, also the start of more processes and the writing of the page. The
contestants take turns, each in a folder of its own, so that a slow phase of the machine affects all of them.
Seconds are medians over the turns, and a ratio is a ratio of medians. Both must find nearly the same
accuracies: sums of several threads differ in their last bits from those of one. OMP_WAIT_POLICY is what the
command line sets.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import condense
from condense.comparison.work import ComparisonResult

TOLERANCE = 0.05  # of the mean accuracies, which lie in [0, 1]


def mean_accuracies(result: ComparisonResult) -> list[float]:
    """Return the mean accuracy of each row over its seeds."""
    assert not result.failures, result.failures
    by_row: dict[str, list[float]] = {}
    for cell in result.outcome.cells:
        by_row.setdefault(cell.row, []).extend(cell.accuracies)
    return [statistics.fmean(by_row[row.label]) for row in result.outcome.rows]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a comparison made by one process and by several.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    terms: dict[str, Any] = {
        "seeds": options.seeds,
        "epochs": options.epochs,
        "scores": False,
        "device": options.device,
        "settings": {"teacher.epochs": 1, "teacher.model.width": options.width},
    }
    print(f"{torch.get_num_threads()} threads in all, median of {options.repeats} turns\n")
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "trained"
        condense.compare("random", out=trained, **{**terms, "seeds": 1, "epochs": 1})
        found: dict[int, list[float]] = {}
        seconds: dict[int, list[float]] = {1: [], options.jobs: []}
        for turn in range(options.repeats):
            for jobs in seconds:
                out = Path(folder) / f"{turn}-{jobs}"
                shutil.copytree(trained / "teachers", out / "teachers")
                start = time.perf_counter()
                found[jobs] = mean_accuracies(
                    condense.compare(["wmdd", "random"], out=out, jobs=jobs, **terms)
                )
                seconds[jobs].append(time.perf_counter() - start)
        for one, other in zip(found[1], found[options.jobs], strict=True):
            assert abs(one - other) < TOLERANCE, found
    base = statistics.median(seconds[1])
    print("| jobs | seconds | times as fast as one |")
    print("|---:|---:|---:|")
    for jobs, taken in seconds.items():
        print(f"| {jobs} | {statistics.median(taken):.0f} | {base / statistics.median(taken):.2f} |")


if __name__ == "__main__":
    main()
