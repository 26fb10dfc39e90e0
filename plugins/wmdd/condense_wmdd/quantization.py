"""Optimal quantisation: the free-weight barycenter without a linear programme, for many clouds at once.

With free weights, each point goes entirely to its nearest atom. So w_j is the fraction of points nearest to
b_j, and b_j is their mean (Lloyd, "Least squares quantization in PCM", IEEE Trans. Inf. Theory, 1982). The
start is the k-means++ of Arthur and Vassilvitskii, SODA 2007, in the greedy form that their section 5
suggests.

Deviations from the two papers:

- If the points are so few that all their partitions can be looked at, each partition is a start, and the result
  is the best one.
- Several starts run side by side; every few iterations the costlier half of them is dropped.
- An atom that loses its last point takes over the point that is farthest from its own atom.
- After Lloyd's iterations, single points move between atoms (Hartigan and Wong, "Algorithm AS 136", Applied
  Statistics, 1979). Such a move counts how both means shift, and leaves optima that Lloyd's iterations cannot
  leave.
- The result is polished in float64, so each point is at its nearest atom to float64's precision.

Everything runs on the device of the points. The host waits for the device once per iteration, not once per
point, atom or cloud. A cloud that has come to its end waits, unchanged, for the others of its batch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from condense_wmdd.clouds import Clouds, candidates, has_gram

_LEG = 4  # Lloyd iterations before half of the starts is dropped; the winner was as good as without that
_EXCHANGE_STOP = 10  # times the tolerance: there are many moves, and the last gains are not worth the time
_ALL_PARTITIONS = 4096  # labelled partitions of few points: 12 points and 2 atoms, or 8 and 3


def kind_of(n: int, dim: int, atoms: int, restarts: int) -> Hashable:
    """Return what decides how a cloud of n points is quantised. Clouds of one kind can be quantised together."""
    starts = n if atoms > 1 and _few(n, atoms) else 0
    return starts, has_gram(n, dim, atoms, restarts), has_gram(n, dim, atoms, 1)


def numbers_of(n: int, dim: int, atoms: int, restarts: int) -> int:
    """Return how many numbers the largest tensors hold for a cloud of n points, which decides about memory."""
    starts = atoms ** (n - 1) if _few(n, atoms) else restarts
    return n * (dim + starts * atoms + (n if has_gram(n, dim, atoms, restarts) else 0))


def quantize(
    points: Tensor,
    sizes: Sequence[int],
    atoms: int,
    generators: Sequence[torch.Generator],
    restarts: int,
    iterations: int,
    tolerance: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return atoms (C, k, D) and weights (C, k), both float64, for centred float64 points of moderate scale.

    points: (C, N, D), C clouds of one kind, padded with zeros. sizes: how many points each has. generators: one for
        each cloud.

    The race of the starts runs in `dtype`, the polishing of its winner in float64.
    """
    state = Clouds(points.to(dtype), sizes, atoms, restarts)
    few = _few(sizes[0], atoms)
    starts = _partitions(state) if few else _greedy_starts(state, generators)
    labels = _race(state, starts, iterations, tolerance)
    labels = _exchange(state, labels, iterations, tolerance)
    exact = Clouds(points, sizes, atoms, 1)
    labels = _lloyd(exact, labels[:, None], iterations, tolerance)[0]
    return _settle(exact, labels)


def _few(n: int, atoms: int) -> bool:
    """Return whether the points are so few that every partition of them is a start."""
    return bool(atoms ** (n - 1) <= _ALL_PARTITIONS)


def _settle(state: Clouds, labels: Tensor, rounds: int = 8) -> tuple[Tensor, Tensor]:
    """Return atoms (C, k, D) at the means of labels (C, 1, N), and the fraction (C, k) of points nearest to each.

    An atom that is nearest to no point moves to a point of its own, and the fractions are computed again,
    until none is left. One can remain only among coinciding points, where the choice costs nothing.
    """
    found = state.means(labels)
    for _ in range(rounds):
        nearest, distances = state.nearest(found, 0.5 * found.square().sum(3), labels)
        labels, _ = state.repair(nearest, distances)
        moved = (labels != nearest)[:, 0]
        if not bool(moved.any()):
            break
        clouds, rows = moved.nonzero(as_tuple=True)
        found[clouds, 0, labels[clouds, 0, rows]] = state.points[clouds, rows]
    shares = state.counts(labels[:, 0]).to(found.dtype) / state.sizes[:, None]
    return found[:, 0], shares


def _partitions(state: Clouds) -> Tensor:
    """Return the labels (C, R, N) of every partition of the points into k groups, none of them empty.

    The first point has label 0, so at most k**(N - 1) candidates are made. A partition may be there several times
    under other names of its groups. With several atoms the clouds have equally many points.
    """
    if state.k == 1:
        found = state.real.new_zeros(1, state.n, dtype=torch.long)
    else:
        names = torch.arange(state.k)
        every = torch.cartesian_prod(names[:1], *[names] * (state.n - 1)).view(-1, state.n)
        whole = (every[:, :, None] == names).any(1).all(1)
        found = every[whole].to(state.points.device)
    return torch.where(state.real[:, None], found, state.k)


def _greedy_starts(state: Clouds, generators: Sequence[torch.Generator]) -> Tensor:
    """Return the labels (C, R, N) of a greedy k-means++ start for each restart, all restarts side by side.

    Each step draws a few candidates with probability proportional to the squared distance to the atoms so
    far, and keeps the candidate that lowers the sum of those distances most. All draws are made first, on the
    generators' device, so the loop never waits for the host.
    """
    norms, n, tries, runs = state.norms[:, None], state.n, candidates(state.k), state.restarts
    draws = torch.stack(
        [
            torch.rand(runs, state.k, tries, dtype=torch.float64, generator=own, device=own.device)
            for own in generators
        ]
    ).to(norms.device)  # (C, R, k, tries)
    last = (state.sizes - 1).view(-1, 1, 1)
    # Rows that are no points are at distance 0 from the start, so no candidate lowers a sum there, or is drawn.
    real = state.real[:, None].expand(-1, runs, -1)
    distances = torch.where(real, torch.inf, 0.0).to(norms.dtype)
    labels = torch.zeros_like(distances, dtype=torch.long)
    chance = real.double()
    for step in range(state.k):
        reach = chance.cumsum(2)
        rows = torch.searchsorted(reach, draws[:, :, step] * reach[:, :, -1:], right=True)
        rows = torch.minimum(rows, last)
        chosen = rows.flatten(1)  # (C, R * tries)
        gaps = norms[:, 0].gather(1, chosen)[..., None] + norms - 2 * state.products(chosen)
        gaps = gaps.view(state.count, runs, tries, n).clamp(min=0)
        gaps.scatter_(3, rows[..., None], 0.0)  # the candidate's own distance, free of rounding
        gaps = torch.minimum(gaps, distances[:, :, None])
        best = gaps.sum(3, dtype=torch.float64).argmin(2)
        kept = gaps.gather(2, best[..., None, None].expand(-1, -1, 1, n))[:, :, 0]
        labels = torch.where(kept < distances, step, labels)
        distances = kept
        chance = kept.double()
    return state.repair(*state.hide(labels, distances))[0]


def _race(state: Clouds, labels: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Run the restarts in labels (C, R, N), drop the costlier half after each leg, and return the winners (C, N)."""
    while labels.shape[1] > 1 and iterations > 0:
        labels, costs = _lloyd(state, labels, min(_LEG, iterations), tolerance)
        iterations -= _LEG
        better = costs.argsort(dim=1, stable=True)[:, : (labels.shape[1] + 1) // 2]
        labels = labels.gather(1, better[..., None].expand(-1, -1, state.n))
    if iterations > 0:
        labels, _ = _lloyd(state, labels[:, :1], iterations, tolerance)
    return labels[:, 0]


def _lloyd(state: Clouds, labels: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Run Lloyd's iterations on labels (C, R, N), each cloud until none of its restarts improves.

    Return labels and costs (C, R), float64.
    """
    costs = torch.full(labels.shape[:2], torch.inf, dtype=torch.float64, device=labels.device)
    active = torch.ones(state.count, 1, dtype=torch.bool, device=labels.device)
    for _ in range(iterations):
        moved, distances = state.repair(*state.assign(labels))
        lowered = distances.sum(2, dtype=torch.float64)
        stalled = (moved == labels).all(2) | (costs - lowered <= tolerance * lowered)
        labels = torch.where(active[..., None], moved, labels)
        costs = torch.where(active, lowered, costs)
        active = active & ~stalled.all(1, keepdim=True)
        if not bool(active.any()):
            break
    return labels, costs


def _exchange(state: Clouds, labels: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Move single points between the clusters of labels (C, N) while that lowers the cost. Return the new labels.

    At first, all points with a gain move at once, as in Lloyd's iterations. Those gains do not add up, so a
    step that does not lower the cost is undone. From then on each cluster takes part in at most one move per
    step, its best. These gains add up, and the cost cannot rise.
    """
    stop = _EXCHANGE_STOP * tolerance
    left = torch.full((state.count,), iterations, device=labels.device)
    together = torch.ones_like(left, dtype=torch.bool)
    kept, lowest = labels, torch.full_like(left, torch.inf, dtype=torch.float64)
    for _ in range(iterations):
        gain, target, sizes, own = _gains(state, labels)
        # An emptied cluster costs infinity.
        cost = torch.where((sizes > 0).all(1), own.sum(1, dtype=torch.float64), torch.inf)
        left = left - together.long()
        together = together & ~(cost >= lowest * (1 - stop))
        kept = torch.where(together[:, None], labels, kept)
        lowest = torch.where(together, cost, lowest)
        labels = torch.where(together[:, None] & (gain > 0), target, kept)
        if not bool(together.any()):
            break
    labels, active = kept, left > 0
    for _ in range(iterations):
        gain, target, _, own = _gains(state, labels)
        moving = _exclusive(gain, labels, target, state.k) & active[:, None]
        labels = torch.where(moving, target, labels)
        gained = torch.where(moving, gain, 0.0).sum(1, dtype=torch.float64)
        left = left - 1
        active = active & (gained > stop * own.sum(1, dtype=torch.float64)) & (left > 0)
        if not bool(active.any()):
            break
    return labels


def _gains(state: Clouds, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the best move of each point gains, for the clusters of labels (C, N).

    gain: (C, N), by how much the move lowers the summed cost; 0 for padding.
    target: (C, N), the cluster that the move leads to.
    sizes: (C, k), the sizes of the clusters.
    own: (C, N), the squared distances of the points to the means of their own clusters; 0 for padding.

    Taking x from a cluster of p points with mean b saves p/(p-1) ||x - b||². Adding it to a cluster of q
    points with mean c costs q/(q+1) ||x - c||². A gain within rounding counts as 0, and the only point of a
    cluster stays.
    """
    distances = state.spread(labels)
    sizes = state.counts(labels).to(distances.dtype)
    at = state.some_atom(labels)
    own, p = distances.gather(1, at[:, None])[:, 0], sizes.gather(1, at)
    saved = torch.where(p > 1, own * p / (p - 1).clamp(min=1), 0.0)
    paid = distances * (sizes / (sizes + 1))[..., None]
    least, target = paid.scatter(1, at[:, None], torch.inf).min(1)
    gain = saved - least
    noise = 8 * torch.finfo(gain.dtype).eps * (state.norms + own)
    return (
        torch.where(state.real & (gain > noise), gain, 0.0),
        target,
        sizes,
        torch.where(state.real, own, 0.0),
    )


def _exclusive(gain: Tensor, labels: Tensor, target: Tensor, k: int) -> Tensor:
    """Return which points (C, N) may move so that each of the k clusters loses or receives at most one point.

    A point moves if its gain is the best of both clusters. Of equal gains, such as those of coinciding
    points, the first counts. The label k, that of padding, is one more cluster without gains.
    """
    count, n = labels.shape
    best = gain.new_zeros(count, k + 1)
    best = best.scatter_reduce(1, labels, gain, "amax").scatter_reduce(1, target, gain, "amax")
    moving = (gain > 0) & (gain >= best.gather(1, labels)) & (gain >= best.gather(1, target))
    turn = torch.where(moving, torch.arange(n, device=labels.device), n)
    first = labels.new_full((count, k + 1), n)
    first = first.scatter_reduce(1, labels, turn, "amin").scatter_reduce(1, target, turn, "amin")
    return moving & (turn == first.gather(1, labels)) & (turn == first.gather(1, target))
