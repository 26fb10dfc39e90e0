"""Find the weighted atoms closest to clouds of points in the 2-Wasserstein metric, with one of three solvers.

The problem is that of Liu et al., "Dataset Distillation via the Wasserstein Metric", ICCV 2025, arXiv
2311.18531: for points x (n, D), find k atoms b and weights w that minimise W2²(sum_j w_j δ(b_j), (1/n) sum_i
δ(x_i)). It is the free-support barycenter of Cuturi and Doucet, "Fast Computation of Wasserstein
Barycenters", ICML 2014, for a single measure.

`quantize` is the default and lives in `quantization.py`. `balanced` and `alternating` solve linear programmes
and live in `transport.py`, which is imported, with POT, only when one of them is used.

Many clouds, such as the classes of a dataset, are independent problems. `quantize` solves a batch of them with
the same kernels, because one class alone is too small to fill a GPU. POT solves one linear programme at a time
on one core, and lets other threads run meanwhile, so the other two solvers have a thread for each core.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from condense import NumericalError, OptionError, unknown_name
from condense_wmdd.quantization import kind_of, numbers_of, quantize

Solver = Literal["quantize", "balanced", "alternating"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)

# Maximum iterations. For `alternating` this is the paper's number of outer iterations; the others rarely reach it.
_ITERATIONS: dict[Solver, int] = {"quantize": 300, "balanced": 100, "alternating": 10}

# How many numbers the largest tensors of a batch of clouds may hold: 2**26 are about 2 GiB at the peak. On a CPU a
# batch saves the time of calls alone, which counts for small clouds (benchmarks/barycenter.py --together).
_TOGETHER = 2**26
_TOGETHER_ON_CPU = 2**21


@dataclass(frozen=True)
class Barycenter:
    """A measure of k weighted atoms.

    atoms: (k, D), on the device of the points; float64 if the points are, else float32.
    weights: (k,), same device and dtype, each above 0, summing to 1.
    cost: W2² between these weighted atoms and the uniform measure on the points, computed in float64.
    """

    atoms: Tensor
    weights: Tensor
    cost: float


@dataclass(frozen=True)
class _Search:
    """What is asked for, the same for every cloud. The fields are arguments of `wasserstein_barycenters`."""

    atoms: int
    solver: Solver
    restarts: int
    iterations: int | None
    tolerance: float

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise unknown_name("barycenter solver", str(self.solver), SOLVERS)
        if self.atoms < 1:
            raise OptionError(f"asked for {self.atoms} atoms; a barycenter needs at least 1.")
        if self.restarts < 1:
            raise OptionError(f"restarts must be at least 1; got {self.restarts}.")
        if self.iterations is not None and self.iterations < 1:
            raise OptionError(
                f"iterations must be at least 1, or None for the solver's own; got {self.iterations}."
            )
        if not self.tolerance >= 0:
            raise OptionError(f"tolerance must be at least 0; got {self.tolerance}.")

    def bound(self, solver: Solver) -> int:
        """Return the maximum iterations of a stage. The start of "balanced" has those of "quantize"."""
        if self.iterations is None or solver != self.solver:
            return _ITERATIONS[solver]
        return self.iterations


def wasserstein_barycenter(
    points: Tensor,
    atoms: int,
    *,
    solver: Solver = "quantize",
    generator: torch.Generator,
    restarts: int = 10,
    iterations: int | None = None,
    tolerance: float = 1e-6,
) -> Barycenter:
    """Return the `atoms` weighted atoms nearest in W2 to the uniform measure on `points` (n, D), any float dtype.

    This is `wasserstein_barycenters` for one cloud, with the same arguments and errors.
    """
    (found,) = wasserstein_barycenters(
        [points],
        atoms,
        solver=solver,
        generators=[generator],
        restarts=restarts,
        iterations=iterations,
        tolerance=tolerance,
    )
    return found


def wasserstein_barycenters(
    clouds: Sequence[Tensor],
    atoms: int,
    *,
    solver: Solver = "quantize",
    generators: Sequence[torch.Generator],
    restarts: int = 10,
    iterations: int | None = None,
    tolerance: float = 1e-6,
    together: int | None = None,
) -> list[Barycenter]:
    """Return for each cloud the `atoms` weighted atoms nearest in W2 to the uniform measure on its points.

    clouds: points (n, D) each, of one float dtype, D and device; n may differ.
    solver: "quantize": free weights, optimal quantisation, no linear programme. "balanced": every weight is
        1/atoms. "alternating": the algorithm of the paper.
    generators: the source of every draw for each cloud; CPU generators give the same draws for any device of the
        points.
    restarts: the number of starts that compete in "quantize", and in the start of "balanced". "alternating"
        has a single start and ignores this.
    iterations: maximum iterations of each stage; None: 300 for "quantize", 100 for "balanced" and the paper's
        10 for "alternating".
    tolerance: "quantize" and "balanced" stop when an iteration lowers the cost by this fraction or less.
        "alternating" runs all its iterations, as published, and ignores this.
    together: how many numbers the largest tensors of a batch of clouds may hold in "quantize", which bounds the memory
        of a batch; 0 takes one cloud at a time. None: what suits the device. The other solvers take one cloud at a
        time, in as many threads as PyTorch has.

    A cloud's outcome depends on its points and its generator. The clouds of its batch can change it by rounding alone.

    Raises OptionError for arguments that no solver can use, and NumericalError if a point is not finite or
    exact transport fails.
    """
    search = _Search(atoms, solver, restarts, iterations, tolerance)
    if len(generators) != len(clouds):
        raise OptionError(f"got {len(generators)} generators for {len(clouds)} clouds; give one for each.")
    _check(clouds, atoms)
    if together is None:
        together = _TOGETHER_ON_CPU if clouds and clouds[0].device.type == "cpu" else _TOGETHER
    batches = list(_batches(clouds, search, together if solver == "quantize" else 0))

    def solved(batch: list[int]) -> list[Barycenter]:
        return _solve([clouds[number] for number in batch], [generators[number] for number in batch], search)

    if solver == "quantize":
        found = [solved(batch) for batch in batches]
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            found = list(pool.map(solved, batches))
    by_cloud = {
        number: one
        for batch, barycenters in zip(batches, found, strict=True)
        for number, one in zip(batch, barycenters, strict=True)
    }
    return [by_cloud[number] for number in range(len(clouds))]


def _batches(clouds: Sequence[Tensor], search: _Search, together: int) -> Iterator[list[int]]:
    """Yield the numbers of the clouds that are solved together: of one kind, and of similar sizes, to pad little.

    together: the maximum of numbers that the largest tensors of a batch hold; a batch has at least one cloud.
    """

    def kind(number: int) -> Hashable:
        n, dim = clouds[number].shape
        return kind_of(n, dim, search.atoms, search.restarts)

    # The kinds of clouds of one D, atoms and restarts follow one another in the order of their sizes.
    for _, alike in groupby(sorted(range(len(clouds)), key=lambda number: len(clouds[number])), kind):
        batch: list[int] = []
        for number in alike:
            # The newest cloud is the largest, and all are padded to its size.
            n, dim = clouds[number].shape
            numbers = numbers_of(n, dim, search.atoms, search.restarts)
            if batch and numbers * (len(batch) + 1) > together:
                yield batch
                batch = []
            batch.append(number)
        yield batch


def _solve(
    clouds: Sequence[Tensor], generators: Sequence[torch.Generator], search: _Search
) -> list[Barycenter]:
    """Return the barycenters of clouds of one kind, which are solved side by side."""
    dtype = torch.float64 if clouds[0].dtype == torch.float64 else torch.float32
    sizes = [len(cloud) for cloud in clouds]
    # Subtract the mean in float64, so that points far from the origin keep their digits.
    exact = [cloud.detach().double() for cloud in clouds]
    centres = torch.stack([cloud.mean(0) for cloud in exact])  # (C, D)
    points = pad_sequence(
        [cloud - centre for cloud, centre in zip(exact, centres, strict=True)], batch_first=True
    )
    # Division by a power of two is exact, and the squares of the quotients cannot over- or underflow.
    scales = [
        2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0
        for largest in points.abs().amax((1, 2)).tolist()
    ]
    scale = torch.tensor(scales, dtype=torch.float64, device=points.device)[:, None, None]
    points /= scale

    if search.solver == "quantize":
        found, weights = _quantized(points, sizes, generators, search, dtype)
        rounded = (found * scale + centres[:, None]).to(dtype)
        # Every point goes to its nearest atom, so the weights are the fractions of points and no plan can cost less.
        nearest = _nearest_costs(points, sizes, (rounded.double() - centres[:, None]) / scale)
        costs = [cost * factor**2 for cost, factor in zip(nearest.tolist(), scales, strict=True)]
    else:
        from condense_wmdd.transport import alternating, balanced, transport_cost

        if search.solver == "balanced":
            starts, _ = _quantized(points, sizes, generators, search, dtype)
            solved = [
                balanced(cloud[:size], start, search.bound("balanced"), search.tolerance)
                for cloud, size, start in zip(points, sizes, starts, strict=True)
            ]
        else:
            solved = [
                alternating(cloud[:size], search.atoms, generator, search.bound("alternating"))
                for cloud, size, generator in zip(points, sizes, generators, strict=True)
            ]
        found, weights = (torch.stack(parts) for parts in zip(*solved, strict=True))
        rounded = (found * scale + centres[:, None]).to(dtype)
        costs = [
            transport_cost(cloud, atoms.double(), shares)
            for cloud, atoms, shares in zip(exact, rounded, weights, strict=True)
        ]
    return [
        Barycenter(atoms, shares, cost)
        for atoms, shares, cost in zip(rounded, weights.to(dtype), costs, strict=True)
    ]


def _quantized(
    points: Tensor,
    sizes: Sequence[int],
    generators: Sequence[torch.Generator],
    search: _Search,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    bound = search.bound("quantize")
    return quantize(points, sizes, search.atoms, generators, search.restarts, bound, search.tolerance, dtype)


def _nearest_costs(points: Tensor, sizes: Sequence[int], atoms: Tensor, block: int = 2**24) -> Tensor:
    """Return (C,): the mean over the points of each cloud of the squared distance to the nearest of its atoms.

    points: (C, N, D), of which the first `sizes` count, near the origin. atoms: (C, k, D).

    The nearest atom is found with the fast matrix form of the distance; its distance is then computed from
    differences. block: the maximum number of elements of a tensor.
    """
    count, n, dim = points.shape
    counted = torch.tensor(sizes, device=points.device)
    half = 0.5 * atoms.square().sum(2)[:, None]  # (C, 1, k)
    total = points.new_zeros(count)
    for start in range(0, n, size := max(1, block // (count * max(atoms.shape[1:])))):
        part = points[:, start : start + size]
        nearest = torch.baddbmm(half, part, atoms.mT, alpha=-1).argmin(2)
        away = part - atoms.gather(1, nearest[..., None].expand(-1, -1, dim))
        rows = torch.arange(start, start + part.shape[1], device=points.device)
        total += torch.where(rows < counted[:, None], away.square().sum(2), 0.0).sum(1)
    return total / counted


def _check(clouds: Sequence[Tensor], atoms: int) -> None:
    """Raise OptionError or NumericalError for clouds that no solver can use, before any work."""
    for number, points in enumerate(clouds):
        where = f" in cloud {number}" if len(clouds) > 1 else ""
        if points.ndim != 2 or 0 in points.shape:
            raise OptionError(
                f"points must be a matrix (n, D) with n and D at least 1; got the shape {tuple(points.shape)}{where}. "
                "Flatten each point to one row of features."
            )
        if not points.is_floating_point():
            raise OptionError(
                f"points must be of a float dtype; got {points.dtype}{where}. Convert them by .float()."
            )
        first = clouds[0]
        if (points.shape[1], points.dtype, points.device) != (first.shape[1], first.dtype, first.device):
            raise OptionError(
                f"all clouds must have the D, dtype and device of the first, {first.shape[1]}, {first.dtype} and "
                f"{first.device}; got {points.shape[1]}, {points.dtype} and {points.device}{where}."
            )
        if atoms > len(points):
            raise OptionError(
                f"asked for {atoms} atoms of {len(points)} points{where}; each atom needs a point of its own. "
                f"Ask for at most {len(points)} atoms or give more points."
            )
    finite = [torch.isfinite(points).all() for points in clouds]
    if finite and not bool(torch.stack(finite).all()):
        bad = [int((~torch.isfinite(points)).any(1).sum()) for points in clouds]
        number = next(number for number, rows in enumerate(bad) if rows)
        where = f" in cloud {number}" if len(clouds) > 1 else ""
        raise NumericalError(
            f"{bad[number]} of {len(clouds[number])} points{where} hold a NaN or an infinity. "
            "Look for the network or the images they come from, and drop them or mend their source."
        )
