"""Time the barycenter solvers against each other and against scikit-learn's KMeans, and measure their costs.

    python benchmarks/barycenter.py [--repeats 5] [--device cpu] [--quick]

The points look like a network's features: a mixture of Gaussians after a ReLU. The contestants of a problem
take turns in one process, so that a slow phase of the machine affects all of them; a first, untimed turn
warms them up. Seconds are medians over the repeats. A cost is W2² by POT's ot.emd2 from the atoms and weights
that a contestant found, in float64; it is the median over the repeats, whose seeds differ.

The ratios compare with `quantize`: seconds above 1 are slower, costs above 1 are worse.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import ot
import torch
from condense_wmdd.barycenter import Solver, wasserstein_barycenter
from sklearn.cluster import KMeans
from torch import Tensor

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


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the barycenter solvers and measure their costs.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="where the points of condense's solvers live")
    parser.add_argument("--quick", action="store_true", help="one repeat, and not the largest problem")
    options = parser.parse_args()
    repeats = 1 if options.quick else options.repeats

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
