"""Time from real images to an equally accurate student: condense against the plain way.

    python benchmarks/to_accuracy.py --data-dir DIR --out runs/to-accuracy [--seeds 3] [--device auto]
    python benchmarks/to_accuracy.py --only resnet18 [--folder DIR] [--set teacher.epochs=5]
    python benchmarks/to_accuracy.py --quick

The ways are condense.run followed by a student, and benchmarks/plain_way.py, which has the structure of published
code. Both get the same teacher, trained before and not timed, and the same settings: losses and weights, images per
class, iterations, learning rates, protocol, seed and initial weights of the student. condense finds barycenters with
its own solver and chooses its own precision.

The problems are Fashion-MNIST with a ConvNet and photographs at 64 pixels with a ResNet-18: those in a folder, or
generated ones. --quick is fashion-mini with short trainings, to see that both ways work.

A way's clock runs from the real images to its recovered images, and through the training of its student. It stands
still while the student is tested, every few epochs, and while condense tests the teacher. A way has arrived when its
student reaches 99 % of the final accuracy of the plain way's student of the same seed. condense's clock also has the
loading of the dataset and the pages that a run writes in it.

The ways take turns. The table has medians over seeds; DIR/to_accuracy.json has every test.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from images import noise
from ways import Problem, Trial

from condense.runtime import make_runtime
from condense.storage.encoding import encode_png
from condense.storage.files import write_json

ENOUGH = 0.99  # of the final accuracy of the plain way
WAYS = ("plain", "condense")
# Equal weights of images, as in the published code, so that both ways have the same losses.
SETTINGS: Mapping[str, Any] = {"preset": "fashion-mnist", "regularizers.class-batchnorm.weighted": False}
RESNET: Mapping[str, Any] = {"teacher.model": "resnet18", "teacher.epochs": 20, "teacher.batch_size": 64}
QUICK: Mapping[str, Any] = {
    "teacher.model.width": 32,
    "teacher.epochs": 4,
    "recover.iterations": 100,
    "protocol.epochs": 200,
}


def photographs(folder: Path) -> Path:
    """Write generated images of 10 classes, 64 pixels, into a folder, and return it."""
    made = noise(10, 250, 3, 64)
    for number, label in enumerate(made.train.labels.tolist()):
        place = folder / ("test" if number % 5 == 4 else "train") / f"{label}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = made.train.images.read(torch.tensor([number]))[0]
        (place / f"{number:05d}.png").write_bytes(encode_png(pixels))
    return folder


def problems(options: argparse.Namespace, out: Path) -> list[Problem]:
    """Return what is asked for. Settings of the user come last, for both ways."""
    own = dict(text.split("=", 1) for text in options.set)
    if options.quick:
        return [Problem(name="fashion-mini", dataset="fashion-mini", settings={**SETTINGS, **QUICK, **own})]
    found = []
    if options.only != "resnet18":
        found.append(Problem(name="Fashion-MNIST", dataset="fashion-mnist", settings={**SETTINGS, **own}))
    if options.only != "fashion":
        folder = Path(options.folder) if options.folder else photographs(out / "generated")
        settings = {**SETTINGS, **RESNET, "dataset.size": 64, **own}
        found.append(Problem(name="ResNet-18, 64x64", dataset=f"folder:{folder}", settings=settings))
    return found


def measured(problem: Problem, out: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each way and seed."""
    rows = []
    for seed in range(options.seeds):
        trial = Trial(problem, seed, out / problem.dataset.partition(":")[0], options)
        found = {way: getattr(trial, way)() for way in (WAYS if seed % 2 == 0 else WAYS[::-1])}
        wanted = ENOUGH * found["plain"].final
        for way in WAYS:
            arrived = found[way].until(wanted)
            rows.append(
                {"problem": problem.name, "seed": seed, "way": way, "wanted": wanted, "seconds": arrived}
                | {"accuracy": found[way].final, **asdict(found[way])}
            )
            print(f"{problem.name}, seed {seed}, {way}: {found[way].final:.1%}, {arrived} s", flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return medians over seeds as Markdown."""
    lines = [
        "| problem | way | s until images | s until 99 % | final accuracy | times as fast as plain |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for problem in dict.fromkeys(row["problem"] for row in rows):
        arrivals = {}
        for way in WAYS:
            mine = [row for row in rows if (row["problem"], row["way"]) == (problem, way)]
            reached = [row["seconds"] for row in mine]
            arrivals[way] = None if None in reached else statistics.median(reached)
            images = statistics.median(row["until_images"] for row in mine)
            final = statistics.median(row["accuracy"] for row in mine)
            arrived = arrivals[way]
            ratio = f"{arrivals['plain'] / arrived:.1f}" if arrived else ""
            text = f"{arrived:.1f}" if arrived else "not reached"
            lines.append(f"| {problem} | {way} | {images:.1f} | {text} | {final:.1%} | {ratio} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time both ways from real images to an accurate student.")
    parser.add_argument("--data-dir", default="", help="the folder of Fashion-MNIST")
    parser.add_argument(
        "--out", help="where runs and to_accuracy.json are kept; by default a temporary folder"
    )
    parser.add_argument("--only", choices=["fashion", "resnet18"])
    parser.add_argument(
        "--folder", help="photographs for ResNet-18, in class folders; generated ones otherwise"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--every", type=int, default=10, help="epochs of the student between tests")
    parser.add_argument("--workers", type=int, default=0, help="processes of the plain way's loaders")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of condense run")
    parser.add_argument("--quick", action="store_true", help="fashion-mini, one seed, short trainings")
    options = parser.parse_args()
    if options.quick:
        options.seeds = 1

    with tempfile.TemporaryDirectory() as temporary:
        out = Path(options.out or temporary)
        described = make_runtime(options.device, "auto").describe()
        rows = [row for problem in problems(options, out) for row in measured(problem, out, options)]
        print(f"\n{described}, {torch.get_num_threads()} threads, median of {options.seeds} seeds\n")
        print(table(rows))
        if options.out:
            found = {"machine": described, "threads": torch.get_num_threads(), "options": vars(options)}
            write_json(out / "to_accuracy.json", {**found, "rows": rows})


if __name__ == "__main__":
    main()
