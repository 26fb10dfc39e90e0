"""Find the weighted atoms closest to a cloud of points in the 2-Wasserstein metric, with one of three solvers.

The problem is that of Liu et al., "Dataset Distillation via the Wasserstein Metric", ICCV 2025, arXiv
2311.18531: for points x (n, D), find k atoms b and weights w that minimise W2²(sum_j w_j δ(b_j), (1/n) sum_i
δ(x_i)). It is the free-support barycenter of Cuturi and Doucet, "Fast Computation of Wasserstein
Barycenters", ICML 2014, for a single measure.

`quantize` is the default and lives in `quantization.py`. `balanced` and `alternating` solve linear programmes
and live in `transport.py`, which is imported, with POT, only when one of them is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from condense import NumericalError, OptionError, unknown_name
from condense_wmdd.quantization import quantize

Solver = Literal["quantize", "balanced", "alternating"]
SOLVERS: tuple[Solver, ...] = get_args(Solver)

# Maximum iterations. For `alternating` this is the paper's number of outer iterations; the others rarely reach it.
_ITERATIONS: dict[Solver, int] = {"quantize": 300, "balanced": 100, "alternating": 10}


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

    solver: "quantize": free weights, optimal quantisation, no linear programme. "balanced": every weight is
        1/atoms. "alternating": the algorithm of the paper.
    generator: the source of every draw; a CPU generator gives the same draws for any device of `points`.
    restarts: the number of starts that compete in "quantize", and in the start of "balanced". "alternating"
        has a single start and ignores this.
    iterations: maximum iterations of each stage; None: 300 for "quantize", 100 for "balanced" and the paper's
        10 for "alternating".
    tolerance: "quantize" and "balanced" stop when an iteration lowers the cost by this fraction or less.
        "alternating" runs all its iterations, as published, and ignores this.

    Raises OptionError for arguments that no solver can use, and NumericalError if a point is not finite or
    exact transport fails.
    """
    if solver not in SOLVERS:
        raise unknown_name("barycenter solver", str(solver), SOLVERS)
    _check(points, atoms, restarts, iterations, tolerance)
    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    # Subtract the mean in float64, so that points far from the origin keep their digits.
    exact = points.detach().double()
    centre = exact.mean(0)
    centred = exact - centre
    # Division by a power of two is exact, and the squares of the quotients cannot over- or underflow.
    largest = float(centred.abs().max())
    scale = 2.0 ** math.floor(math.log2(largest)) if largest > 0 else 1.0
    centred = centred / scale

    bound = _ITERATIONS[solver] if iterations is None else iterations
    if solver == "alternating":
        from condense_wmdd.transport import alternating

        found, weights = alternating(centred, atoms, generator, bound)
    else:
        free_bound = bound if solver == "quantize" else _ITERATIONS["quantize"]
        found, weights = quantize(centred, atoms, generator, restarts, free_bound, tolerance, dtype)
        if solver == "balanced":
            from condense_wmdd.transport import balanced

            found, weights = balanced(centred, found, bound, tolerance)
    return _finish(exact, found * scale + centre, weights, dtype, solver)


def _finish(exact: Tensor, found: Tensor, weights: Tensor, dtype: torch.dtype, solver: Solver) -> Barycenter:
    """Round the float64 atoms (k, D) to `dtype` and compute the rounded atoms' cost against the points (n, D)."""
    rounded = found.to(dtype)
    if solver == "quantize":
        # Every point goes to its nearest atom, so the weights are the fractions of points and no plan can cost less.
        cost = _nearest_cost(exact, rounded.double())
    else:
        from condense_wmdd.transport import transport_cost

        cost = transport_cost(exact, rounded.double(), weights)
    return Barycenter(atoms=rounded, weights=weights.to(dtype), cost=cost)


def _nearest_cost(points: Tensor, atoms: Tensor, block: int = 2**24) -> float:
    """Return the mean over points (n, D) of the squared distance to the nearest of atoms (k, D).

    The nearest atom is found with the fast matrix form of the distance; its distance is then computed from
    differences. block: the maximum number of elements of a matrix.
    """
    total = points.new_zeros(())
    centre = atoms.mean(0)
    moved = atoms - centre
    half = 0.5 * moved.square().sum(1)
    for rows in torch.split(points, max(1, block // max(atoms.shape))):
        nearest = torch.addmm(half, rows - centre, moved.T, alpha=-1).argmin(1)
        total += (rows - atoms[nearest]).square().sum()
    return float(total / len(points))


def _check(points: Tensor, atoms: int, restarts: int, iterations: int | None, tolerance: float) -> None:
    """Raise OptionError or NumericalError for what no solver can use, before any work."""
    if points.ndim != 2 or 0 in points.shape:
        raise OptionError(
            f"points must be a matrix (n, D) with n and D at least 1; got the shape {tuple(points.shape)}. "
            "Flatten each point to one row of features."
        )
    if not points.is_floating_point():
        raise OptionError(f"points must be of a float dtype; got {points.dtype}. Convert them by .float().")
    if atoms < 1:
        raise OptionError(f"asked for {atoms} atoms; a barycenter needs at least 1.")
    if atoms > len(points):
        raise OptionError(
            f"asked for {atoms} atoms of {len(points)} points; each atom needs a point of its own. "
            f"Ask for at most {len(points)} atoms or give more points."
        )
    if restarts < 1:
        raise OptionError(f"restarts must be at least 1; got {restarts}.")
    if iterations is not None and iterations < 1:
        raise OptionError(f"iterations must be at least 1, or None for the solver's own; got {iterations}.")
    if not tolerance >= 0:
        raise OptionError(f"tolerance must be at least 0; got {tolerance}.")
    finite = torch.isfinite(points)
    if not bool(finite.all()):
        bad = int((~finite).any(1).sum())
        raise NumericalError(
            f"{bad} of {len(points)} points hold a NaN or an infinity. "
            "Look for the network or the images they come from, and drop them or mend their source."
        )
