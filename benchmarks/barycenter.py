"""Time the barycenter solvers against each other and against scikit-learn's KMeans, and measure their costs.

    python benchmarks/barycenter.py [--repeats 5] [--device cpu] [--quick]
    python benchmarks/barycenter.py --together [--repeats 5] [--device cpu] [--quick]

The points look like a network's features: a mixture of Gaussians after a ReLU. The contestants of a problem
take turns in one process, so that a slow phase of the machine affects all of them; a first, untimed turn
warms them up. Seconds are medians over the repeats. A cost is W2² by POT's ot.emd2 from the atoms and weights
that a contestant found, in float64; it is the median over the repeats, whose seeds differ.

The ratios compare with `quantize`: seconds above 1 are slower, costs above 1 are worse.

With --together, the classes of a dataset are quantised one after the other and in batches of several sizes, which take
turns too. Seconds are those of the processor on a CPU, and of the clock elsewhere; medians over the repeats. Calls are
operations on tensors, views included; most of them start a kernel or a few on a GPU. "Equal" counts the classes
whose atoms and weights are, to the bit, those of the class alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ot
import torch
from condense_wmdd.barycenter import Barycenter, Solver, wasserstein_barycenter, wasserstein_barycenters
from sklearn.cluster import KMeans
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Found = tuple[Tensor, Tensor]  # atoms (k, D), weights (k,)
Contestant = Callable[[int], Found]  # from a seed


def features(n: int, dim: int, seed: int = 0, modes: int = 20) -> Tensor:
    """Return points (n, D), float32, none negative, with many zeros, as after a network's last ReLU."""
    source = torch.Generator().manual_seed(seed)
    centres = 0.5 * torch.randn(modes, dim, generator=source)
    chosen = torch.randint(modes, (n,), generator=source)
    return (centres[chosen] + 0.7 * torch.randn(n, dim, generator=source) - 0.2).relu()


def ours(points: Tensor, k: int, solver: Solver) -> Contestant:
    def run(seed: int) -> Found:
        found = wasserstein_barycenter(
            points, k, solver=solver, generator=torch.Generator().manual_seed(seed)
        )
        return found.atoms, found.weights

    return run


def kmeans(points: Tensor, k: int, starts: int) -> Contestant:
    matrix = points.cpu().numpy()

    def run(seed: int) -> Found:
        fitted = KMeans(k, n_init=starts, random_state=seed).fit(matrix)
        counts = np.bincount(fitted.labels_, minlength=k)
        return torch.from_numpy(fitted.cluster_centers_), torch.from_numpy(counts / len(matrix))

    return run


def exact_cost(points: Tensor, found: Found) -> float:
    """Return W2² by POT between the uniform measure on points (n, D) and the weighted atoms."""
    x, atoms, weights = (tensor.double().cpu().numpy() for tensor in (points, *found))
    costs = ((x**2).sum(1)[:, None] + (atoms**2).sum(1) - 2 * x @ atoms.T).clip(min=0)
    return float(ot.emd2(np.full(len(x), 1 / len(x)), weights / weights.sum(), costs, numItermax=50_000_000))


def timed(run: Contestant, seed: int, points: Tensor) -> tuple[float, Found]:
    if points.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    found = run(seed)
    if points.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start, found


def compare(name: str, points: Tensor, contestants: dict[str, Contestant], repeats: int) -> None:
    """Print the rows of one problem."""
    seconds: dict[str, list[float]] = {label: [] for label in contestants}
    costs: dict[str, list[float]] = {label: [] for label in contestants}
    for repeat in range(-1, repeats):
        for label, run in contestants.items():
            taken, found = timed(run, max(repeat, 0), points)
            if repeat >= 0:
                seconds[label].append(taken)
                costs[label].append(exact_cost(points, found))
    base_time, base_cost = (statistics.median(table["quantize"]) for table in (seconds, costs))
    for label in contestants:
        taken, cost = statistics.median(seconds[label]), statistics.median(costs[label])
        print(
            f"| {name} | {label} | {taken:.3f} | {taken / base_time:.1f} | {cost:.3f} | {cost / base_cost:.4f} |"
        )


class Calls(TorchDispatchMode):
    """Counts the operations on tensors inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def batched(clouds: list[Tensor], k: int, together: int | None) -> list[Barycenter]:
    generators = [torch.Generator().manual_seed(number) for number in range(len(clouds))]
    return wasserstein_barycenters(clouds, k, generators=generators, together=together)


def clock(device: str) -> float:
    """Return seconds of the processor for a CPU, and of the clock for a device that has done its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.process_time() if device == "cpu" else time.perf_counter()


def compare_batches(classes: int, n: int, dim: int, k: int, device: str, repeats: int) -> None:
    """Print the rows of classes of 80% to 100% of n points each."""
    clouds = [features(n - number % 5 * n // 20, dim, seed=number).to(device) for number in range(classes)]
    limits: dict[str, int | None] = {
        "one class": 0,
        "2^19 numbers": 2**19,
        "2^26 numbers": 2**26,
        "default": None,
    }
    seconds: dict[str, list[float]] = {label: [] for label in limits}
    found: dict[str, list[Barycenter]] = {}
    for repeat in range(-1, repeats):
        for label, together in limits.items():
            start = clock(device)
            found[label] = batched(clouds, k, together)
            if repeat >= 0:
                seconds[label].append(clock(device) - start)
    alone = found["one class"]
    for label, together in limits.items():
        with Calls() as calls:
            batched(clouds, k, together)
        taken = statistics.median(seconds[label])
        equal = sum(
            torch.equal(one.atoms, other.atoms) and torch.equal(one.weights, other.weights)
            for one, other in zip(alone, found[label], strict=True)
        )
        print(
            f"| {classes} x {n} x {dim}, {k} atoms | {label} | {1e3 * taken / classes:.1f} | "
            f"{statistics.median(seconds['one class']) / taken:.1f} | {calls.count / classes:.0f} | {equal} |",
            flush=True,
        )


def together(device: str, repeats: int, quick: bool) -> None:
    print(f"{device}, {torch.get_num_threads()} threads, median of {repeats}\n")
    print("| classes x points x D | at once | ms for a class | faster | calls for a class | equal |")
    print("|---|---|---:|---:|---:|---:|")
    for classes, n, dim, k in [(100, 50, 64, 1), (100, 50, 64, 5), (50, 200, 256, 10), (100, 500, 512, 10)]:
        compare_batches(max(10, classes // 5) if quick else classes, n, dim, k, device, repeats)
    if device != "cpu":
        for k in (10, 50):
            compare_batches(100 if quick else 1000, 1300, 512, k, device, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the barycenter solvers and measure their costs.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where the points of condense's solvers live")
    parser.add_argument(
        "--quick", action="store_true", help="one repeat, and not the largest problem, or fewer classes"
    )
    parser.add_argument(
        "--together", action="store_true", help="time classes one after the other and in batches instead"
    )
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats
    if options.together:
        together(options.device, repeats, options.quick)
        return

    print(f"{options.device}, {torch.get_num_threads()} threads, median of {repeats}\n")
    print("| points | solver | seconds | time ratio | W2² | cost ratio |")
    print("|---|---|---:|---:|---:|---:|")
    for n, dim, k in [(1300, 512, 10), (1300, 512, 100), (6000, 2048, 50)]:
        large = n > 2000
        if large and options.quick:
            continue
        points = features(n, dim).to(options.device)
        contestants: dict[str, Contestant] = {"quantize": ours(points, k, "quantize")}
        if not large:
            contestants["balanced"] = ours(points, k, "balanced")
            contestants["alternating"] = ours(points, k, "alternating")
        contestants["KMeans, 10 starts"] = kmeans(points, k, 10)
        contestants["KMeans, 1 start"] = kmeans(points, k, 1)
        compare(f"{n} x {dim}, {k} atoms", points, contestants, repeats)


if __name__ == "__main__":
    main()
