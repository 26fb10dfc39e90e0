"""WMDD against random real images on the full Fashion-MNIST: the tables of docs/results.md.

    python benchmarks/fashion_mnist.py --data-dir DIR --out runs/results
    python benchmarks/fashion_mnist.py --data-dir DIR --out runs/tuning --tune --seeds 1

Every seed has its own teacher, synthetic images and student, so the standard deviations cover all three. Both
methods share the teacher of the seed and the initial weights of the student. With --tune, variants of WMDD's
losses and settings are compared on a held-out tenth of the training images, and the test images are not used.
A line of JSON is appended to results.jsonl for every student, and finished work is not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import condense

Settings = list[tuple[str, Any]]
WMDD = "regularizers.class-batchnorm"


def variants(tune: bool) -> dict[str, tuple[str, Settings]]:
    """Return (method, settings) by the name of the variant."""
    chosen: dict[str, tuple[str, Settings]] = {"random": ("random", []), "wmdd": ("wmdd", [])}
    if not tune:
        return chosen
    losses = (("squares", 10), ("squares", 100), ("norms", 1), ("norms", 3))
    for (form, weight), cross_entropy, weighted, lr in product(losses, (0, 1), (False, True), (0.05, 0.1)):
        settings: Settings = [
            ("targets.barycenter.form", form),
            (f"{WMDD}.form", form),
            (WMDD, weight),
            (f"{WMDD}.weighted", weighted),
            ("targets.cross-entropy", cross_entropy),
            ("recover.lr", lr),
        ]
        name = f"{form} bn={weight} ce={cross_entropy} weighted={int(weighted)} lr={lr}"
        chosen[name] = ("wmdd", settings)
    return chosen


def teacher_of(seed: int, arguments: argparse.Namespace) -> Path:
    """Return the weights of this seed's teacher, trained if they do not exist yet."""
    name = f"teacher-seed{seed}"
    weights = Path(arguments.out) / name / "teacher.safetensors"
    if not weights.exists():
        condense.run(
            method="wmdd",
            seed=seed,
            name=name,
            ipc=1,
            students=0,
            settings=[("iterations", 1)],
            **common(arguments),
        )
    return weights


def common(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments that every run gets."""
    return {
        "dataset": "fashion-mnist",
        "data_dir": arguments.data_dir,
        "out": arguments.out,
        "device": arguments.device,
        "validation": 0.1 if arguments.tune else 0.0,
    }


def condense_and_evaluate(
    name: str, ipc: int, seed: int, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Distil one dataset and train its students. Return a row for each label mode and training length."""
    method, settings = variants(arguments.tune)[name]
    teacher = teacher_of(seed, arguments)
    folder = f"{name.replace(' ', '_').replace('=', '')}-ipc{ipc}-seed{seed}"
    path = Path(arguments.out) / folder
    seconds: dict[str, float] = {}
    if not (path / "distilled").exists():
        made = condense.run(
            method=method,
            ipc=ipc,
            seed=seed,
            name=folder,
            students=0,
            settings=[*settings, *map(pair, arguments.set), ("teacher.checkpoint", str(teacher))],
            **common(arguments),
        )
        seconds = dict(made.seconds)
    rows = []
    for labels in arguments.labels:
        for epochs in arguments.epochs:
            began = time.perf_counter()
            found = condense.evaluate(
                path,
                protocol="fkd",
                students=1,
                teacher=teacher,
                data_dir=arguments.data_dir,
                device=arguments.device,
                settings=[("protocol.labels", labels), ("protocol.epochs", epochs)],
            )
            rows.append(
                {
                    "variant": name,
                    "ipc": ipc,
                    "seed": seed,
                    "labels": labels,
                    "epochs": epochs,
                    "accuracy": found.score.mean,
                    "train_seconds": round(time.perf_counter() - began, 1),
                    "seconds": seconds,
                }
            )
    return rows


def pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def table(rows: list[dict[str, Any]]) -> str:
    """Return accuracies in percent, mean ± standard deviation over seeds; a column for each label mode and length."""
    cells: dict[tuple[int, str], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[row["ipc"], row["variant"]][row["labels"], row["epochs"]].append(100 * row["accuracy"])
    columns = sorted({column for found in cells.values() for column in found}, reverse=True)
    heads = [f"{labels} {epochs}" for labels, epochs in columns]
    lines = ["| ipc | method | " + " | ".join(heads) + " |", "|---" * (len(columns) + 2) + "|"]
    for (ipc, name), found in sorted(cells.items()):
        texts = []
        for column in columns:
            values = found[column]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            texts.append(f"{statistics.fmean(values):.1f}{spread}" if values else "")
        lines.append(f"| {ipc} | {name} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", default="runs/results")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ipc", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--epochs", type=int, nargs="+", default=[200, 800])
    parser.add_argument("--labels", nargs="+", default=["online", "hard"])
    parser.add_argument("--only", nargs="*", help="names of variants")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE for every run")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side (timings want 1)")
    parser.add_argument("--tune", action="store_true")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    log = out / "results.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["variant"], row["ipc"], row["seed"]) for row in rows}
    wanted = arguments.only or list(variants(arguments.tune))
    jobs = [
        (name, ipc, seed)
        for ipc in arguments.ipc
        for seed in range(arguments.seeds)
        for name in wanted
        if (name, ipc, seed) not in done
    ]
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(teacher_of, range(arguments.seeds), [arguments] * arguments.seeds))
        futures = [pool.submit(condense_and_evaluate, *job, arguments) for job in jobs]
        for future in as_completed(futures):
            found = future.result()
            rows += found
            with log.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in found)
            print(json.dumps(found), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
