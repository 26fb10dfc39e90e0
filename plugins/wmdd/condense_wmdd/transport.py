"""The two barycenter solvers that solve transport problems: `balanced` and the paper's `alternating`.

Exact transport uses POT's network simplex, which runs on the CPU in float64. Only the cost matrix and the
plan are copied between devices; everything else stays on the device of the points. In this module the points
are float64, and the plan T (n, k) moves mass T_ij from point i to atom j.
"""

from __future__ import annotations

import torch
from torch import Tensor

from condense import NumericalError

# The minimum weight in `alternating`, as a fraction of a uniform weight.
_WEIGHT_FLOOR = 1e-3
_SIMPLEX_ITERATIONS = 50_000_000


def squared_distances(points: Tensor, atoms: Tensor) -> Tensor:
    """Return the squared distances (n, k) between points (n, D) and atoms (k, D), float64, none below 0."""
    centre = atoms.mean(0)
    points, atoms = points - centre, atoms - centre
    norms = points.square().sum(1)[:, None] + atoms.square().sum(1)
    return torch.addmm(norms, points, atoms.T, alpha=-2).clamp(min=0)


def exact_transport(points: Tensor, atoms: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return the plan (n, k), the atoms' dual variables (k,) and W2² from uniform points to atoms of weights (k,).

    The duals belong to the linear programme's constraints sum_i T_ij = w_j and are known up to a constant.
    Raises NumericalError if POT finds no solution.
    """
    import ot

    n = len(points)
    costs = squared_distances(points, atoms).cpu().numpy()
    uniform = torch.full((n,), 1.0 / n, dtype=torch.float64).numpy()
    target = (weights / weights.sum()).cpu().numpy()
    plan, log = ot.emd(uniform, target, costs, numItermax=_SIMPLEX_ITERATIONS, log=True)
    if log["warning"] is not None:
        raise NumericalError(
            f"exact transport from {n} points to {len(atoms)} atoms failed: {log['warning']} "
            "Use the solver 'quantize', which needs none, or check the points for extreme values."
        )
    duals = torch.as_tensor(log["v"], dtype=torch.float64).to(points.device)
    return torch.as_tensor(plan).to(points.device), duals, float(log["cost"])


def transport_cost(points: Tensor, atoms: Tensor, weights: Tensor) -> float:
    """Return W2² between the uniform measure on points (n, D) and the atoms (k, D) of weights (k,)."""
    return exact_transport(points, atoms, weights)[2]


def balanced(points: Tensor, atoms: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return atoms (k, D) that all weigh 1/k, and those weights (k,), from transport and means in turn.

    This is the free-support barycenter of Cuturi and Doucet 2014 (Algorithm 2) with uniform weights, and with
    the exact plan instead of the smoothed one. Neither step can raise the cost. `atoms` is the start.
    """
    weights = torch.full((len(atoms),), 1.0 / len(atoms), dtype=torch.float64, device=points.device)
    previous = float("inf")
    for _ in range(iterations):
        plan, _, cost = exact_transport(points, atoms, weights)
        if previous - cost <= tolerance * cost:
            break
        atoms = plan.T @ points / plan.sum(0)[:, None]
        previous = cost
    return atoms, weights


def alternating(
    points: Tensor, count: int, generator: torch.Generator, iterations: int
) -> tuple[Tensor, Tensor]:
    """Return atoms (k, D) and weights (k,) from the algorithm of Liu et al. 2025, arXiv 2311.18531 (K = 10).

    It starts from k points drawn without replacement, with uniform weights. Each outer iteration takes

    - a projected subgradient step on the weights. W2² is convex in w, and the duals v of the transport
      problem are a subgradient: w <- project(w - step * v), onto the simplex;
    - a Newton step on the atoms, b_j <- b_j - (1/w_j) sum_i T_ij (b_j - x_i), with the plan T for the new
      weights.

    Deviations:

    - The step is 1 / (k * sqrt(t) * max_j |v_j - mean(v)|) in iteration t = 1, 2, ... So the first step
      changes no weight by more than 1/k, and the scale of the points does not matter. The 1/sqrt(t) is usual
      for subgradients.
    - No weight falls below 0.001/k, where the paper's division by w_j would fail.
    - The transport is solved again between the two steps, so that sum_i T_ij is the new w_j.
    """
    chosen = torch.randperm(len(points), generator=generator, device=generator.device)[:count]
    atoms = points[chosen.to(points.device)]
    weights = torch.full((count,), 1.0 / count, dtype=torch.float64, device=points.device)
    for iteration in range(1, iterations + 1):
        _, duals, _ = exact_transport(points, atoms, weights)
        duals = duals - duals.mean()
        steepest = duals.abs().max().clamp(min=torch.finfo(torch.float64).tiny)
        weights = project_to_simplex(weights - duals / (steepest * count * iteration**0.5))
        weights = weights.clamp(min=_WEIGHT_FLOOR / count)
        weights = weights / weights.sum()
        plan, _, _ = exact_transport(points, atoms, weights)
        pull = atoms * plan.sum(0)[:, None] - plan.T @ points  # sum_i T_ij (b_j - x_i)
        atoms = atoms - pull / weights[:, None]
    return atoms, weights


def project_to_simplex(vector: Tensor) -> Tensor:
    """Return the point (k,) of {w >= 0, sum w = 1} that is nearest to vector (k,) in Euclidean distance.

    It is max(vector - shift, 0), with the shift found from the sorted entries (Held, Wolfe and Crowder,
    Mathematical Programming, 1974).
    """
    ordered = vector.sort(descending=True).values
    shifts = (ordered.cumsum(0) - 1) / torch.arange(1, len(vector) + 1, device=vector.device)
    kept = (ordered > shifts).sum() - 1
    return (vector - shifts[kept]).clamp(min=0)
