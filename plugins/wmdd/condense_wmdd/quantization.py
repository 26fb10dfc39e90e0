"""Optimal quantisation: the free-weight barycenter without a linear programme.

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
point or atom.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LEG = 4  # Lloyd iterations before half of the starts is dropped; the winner was as good as without that
_EXCHANGE_STOP = 10  # times the tolerance: there are many moves, and the last gains are not worth the time
_ALL_PARTITIONS = 4096  # labelled partitions of few points: 12 points and 2 atoms, or 8 and 3
_GRAM_LIMIT = 16_384  # points; their Gram matrix takes 1 GiB in float32


def quantize(
    points: Tensor,
    atoms: int,
    generator: torch.Generator,
    restarts: int,
    iterations: int,
    tolerance: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return atoms (k, D) and weights (k,), both float64, for centred float64 points (n, D) of moderate scale.

    The race of the starts runs in `dtype`, the polishing of its winner in float64.
    """
    state = _Cloud(points.to(dtype), atoms, restarts)
    few = atoms ** (len(points) - 1) <= _ALL_PARTITIONS
    starts = _partitions(state) if few else _greedy_starts(state, generator)
    labels = _race(state, starts, iterations, tolerance)
    labels = _exchange(state, labels, iterations, tolerance)
    exact = _Cloud(points, atoms, 1)
    labels = _lloyd(exact, labels[None], iterations, tolerance)[0][0]
    return _settle(exact, labels)


def _settle(state: _Cloud, labels: Tensor, rounds: int = 8) -> tuple[Tensor, Tensor]:
    """Return atoms (k, D) at the means of labels (n,), and the fraction (k,) of points nearest to each atom.

    An atom that is nearest to no point moves to a point of its own, and the fractions are computed again,
    until none is left. One can remain only among coinciding points, where the choice costs nothing.
    """
    found, labels = state.means(labels[None]), labels[None]
    for _ in range(rounds):
        nearest, distances = state.nearest(found, 0.5 * found.square().sum(2), labels)
        labels, _ = state.repair(nearest, distances)
        moved = (labels != nearest)[0]
        if not bool(moved.any()):
            break
        found[0, labels[0, moved]] = state.points[moved]
    counts = labels[0].bincount(minlength=state.k)
    return found[0], counts.to(found.dtype) / state.n


class _Cloud:
    """The points of one problem, and what is computed from them once. Every method is a pure function.

    R restarts are processed together: labels (R, n) in [0, k), distances (R, n).
    """

    def __init__(self, points: Tensor, atoms: int, restarts: int) -> None:
        n, dim = points.shape
        self.points, self.k, self.n, self.restarts = points, atoms, n, restarts
        self.norms = points.square().sum(1)  # (n,)
        self.candidates = 2 + int(math.log(atoms))
        # With the Gram matrix, a candidate of k-means++ is a row look-up, and the cost of a sum over a cluster
        # does not depend on D. The matrix costs n*n*D once; without it the start costs n*D for each candidate.
        # A look-up is about five times slower than a multiplication inside a product of matrices, hence the
        # second condition.
        affordable = n <= min(restarts * self.candidates * atoms, _GRAM_LIMIT)
        self.gram = points @ points.T if affordable and 5 * n <= atoms * dim else None  # (n, n) or None

    def products(self, rows: Tensor) -> Tensor:
        """Return the inner products (len(rows), n) of the points chosen by `rows` with all points."""
        return self.points[rows] @ self.points.T if self.gram is None else self.gram[rows]

    def means(self, labels: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the means (R, k, columns), by label, of the rows of `table` or of the points; no label may be empty.

        Sorted bags instead of index_add_: they are faster on a CPU, and give the same bits every time on a
        GPU.
        """
        table = self.points if table is None else table
        runs = len(labels)
        order, starts = self._sorted(labels)
        sums = F.embedding_bag(order, table, starts, mode="mean")
        return sums.view(runs, self.k, -1)

    def _sorted(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the indices (R*n,) of points grouped by restart and label, and the start (R*k,) of each group."""
        runs = len(labels)
        offsets = torch.arange(runs, device=labels.device)[:, None] * self.k
        grouped, order = (labels + offsets).flatten().sort(stable=True)
        groups = torch.arange(runs * self.k, device=labels.device)
        return order % self.n, torch.searchsorted(grouped, groups)

    def assign(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels (R, n) of the atoms nearest to each point and the squared distances (R, n) to them.

        The atoms are the means of the groups that `labels` (R, n) describes. A tie keeps the old label.
        """
        if self.gram is None:
            means = self.means(labels)
            half = 0.5 * means.square().sum(2)  # (R, k)
            return self.nearest(means, half, labels)
        products = self.means(labels, self.gram)  # (R, k, n): <mean, point>
        own = products.gather(1, labels[:, None])[:, 0]  # (R, n)
        half = 0.5 * self.means_of(own, labels)
        return self._pick(half[:, :, None] - products, labels)

    def spread(self, labels: Tensor) -> Tensor:
        """Return the squared distances (k, n) from the means of labels (n,), of one restart, to all points."""
        labels = labels[None]
        if self.gram is None:
            means = self.means(labels)[0]
            half, products = 0.5 * means.square().sum(1), means @ self.points.T
        else:
            products = self.means(labels, self.gram)[0]
            half = 0.5 * self.means_of(products.gather(0, labels), labels)[0]
        return (self.norms + 2 * (half[:, None] - products)).clamp(min=0)

    def means_of(self, values: Tensor, labels: Tensor) -> Tensor:
        """Return the means (R, k) of values (R, n) over the points of each label."""
        order, starts = self._sorted(labels)
        runs = torch.arange(len(labels), device=labels.device).repeat_interleave(self.n)
        bags = F.embedding_bag(runs * self.n + order, values.reshape(-1, 1), starts, mode="mean")
        return bags.view(len(labels), self.k)

    def nearest(self, means: Tensor, half: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Do what `assign` does for given atoms: means (R, k, D) and half of their squared norms (R, k).

        Blocks of points bound the memory.
        """
        runs = len(means)
        found: list[tuple[Tensor, Tensor]] = []
        for start in range(0, self.n, size := max(1, 2**26 // (runs * self.k))):
            rows = slice(start, start + size)
            product = self.points[rows] @ means.flatten(0, 1).T
            gaps = half - product.view(-1, runs, self.k)  # (rows, R, k)
            found.append(self._pick(gaps.permute(1, 2, 0), labels[:, rows], rows))
        return torch.cat([a for a, _ in found], 1), torch.cat([d for _, d in found], 1)

    def _pick(self, gaps: Tensor, labels: Tensor, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the label and the distance of the smallest gap. gaps: (R, k, rows), ||b||²/2 - <b, x>."""
        least, nearest = gaps.min(1)
        tie = gaps.gather(1, labels[:, None])[:, 0] <= least
        return torch.where(tie, labels, nearest), (self.norms[rows] + 2 * least).clamp(min=0)

    def repair(self, labels: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Give each empty label the farthest point that can be spared, so that every label has a point.

        Return the new labels (R, n) and distances (R, n). A point can be spared if it is not the first of its
        label, so no repair empties another label. There are always enough such points because k <= n. The
        cost cannot rise, and stays the same only among coinciding points.
        """
        runs = len(labels)
        order, starts = self._sorted(labels)
        counts = torch.zeros(runs, self.k, dtype=torch.long, device=labels.device)
        counts.scatter_add_(1, labels, torch.ones_like(labels))
        empty = counts == 0
        # Column n takes the first points of empty labels and the moves to filled ones; it is dropped.
        firsts = order[starts.clamp(max=len(order) - 1)].view(runs, self.k).masked_fill(empty, self.n)
        spare = F.pad(distances, (0, 1)).scatter(1, firsts, -1.0)[:, : self.n]
        donors = spare.argsort(dim=1, descending=True, stable=True)[:, : self.k]
        moves = donors.gather(1, (empty.cumsum(1) - 1).clamp(min=0)).masked_fill(~empty, self.n)
        target = torch.arange(self.k, device=labels.device).expand(runs, -1)
        mended = F.pad(labels, (0, 1)).scatter(1, moves, target)[:, : self.n]
        nearer = F.pad(distances, (0, 1)).scatter(1, moves, 0.0)[:, : self.n]
        return mended, nearer


def _partitions(state: _Cloud) -> Tensor:
    """Return the labels (R, n) of every partition of the points into k groups, none of them empty.

    The first point has label 0, so at most k**(n - 1) candidates are made. A partition may be there several times
    under other names of its groups.
    """
    names = torch.arange(state.k)
    found = torch.cartesian_prod(names[:1], *[names] * (state.n - 1)).view(-1, state.n)
    whole = (found[:, :, None] == names).any(1).all(1)
    return found[whole].to(state.points.device)


def _greedy_starts(state: _Cloud, generator: torch.Generator) -> Tensor:
    """Return the labels (R, n) of a greedy k-means++ start for each restart, all restarts side by side.

    Each step draws a few candidates with probability proportional to the squared distance to the atoms so
    far, and keeps the candidate that lowers the sum of those distances most. All draws are made first, on the
    generator's device, so the loop never waits for the host.
    """
    points, norms, n, tries = state.points, state.norms, state.n, state.candidates
    restarts = state.restarts
    draws = torch.rand(
        restarts, state.k, tries, dtype=torch.float64, generator=generator, device=generator.device
    ).to(points.device)
    distances = points.new_full((restarts, n), torch.inf)
    labels = torch.zeros(restarts, n, dtype=torch.long, device=points.device)
    chance = torch.ones(restarts, n, dtype=torch.float64, device=points.device)
    for step in range(state.k):
        reach = chance.cumsum(1)
        rows = torch.searchsorted(reach, draws[:, step] * reach[:, -1:], right=True).clamp(max=n - 1)
        gaps = norms[rows.flatten()][:, None] + norms - 2 * state.products(rows.flatten())
        gaps = gaps.view(restarts, tries, n).clamp(min=0)
        gaps.scatter_(2, rows[:, :, None], 0.0)  # the candidate's own distance, free of rounding
        gaps = torch.minimum(gaps, distances[:, None])
        best = gaps.sum(2, dtype=torch.float64).argmin(1)
        kept = gaps.gather(1, best[:, None, None].expand(-1, 1, n))[:, 0]
        labels = torch.where(kept < distances, step, labels)
        distances = kept
        chance = kept.double()
    return state.repair(labels, distances)[0]


def _race(state: _Cloud, labels: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Run all restarts in labels (R, n), drop the costlier half after each leg, and return the winner (n,)."""
    while len(labels) > 1 and iterations > 0:
        labels, costs = _lloyd(state, labels, min(_LEG, iterations), tolerance)
        iterations -= _LEG
        labels = labels[costs.argsort(stable=True)[: (len(labels) + 1) // 2]]
    if iterations > 0:
        labels, _ = _lloyd(state, labels[:1], iterations, tolerance)
    return labels[0]


def _lloyd(state: _Cloud, labels: Tensor, iterations: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Run Lloyd's iterations on labels (R, n) until none improves. Return labels and costs (R,), float64."""
    costs = torch.full((len(labels),), torch.inf, dtype=torch.float64, device=labels.device)
    for _ in range(iterations):
        moved, distances = state.repair(*state.assign(labels))
        lowered = distances.sum(1, dtype=torch.float64)
        stalled = (moved == labels).all(1) | (costs - lowered <= tolerance * lowered)
        labels, costs = moved, lowered
        if bool(stalled.all()):
            break
    return labels, costs


def _exchange(state: _Cloud, labels: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Move single points between the clusters of labels (n,) while that lowers the cost. Return the new labels (n,).

    At first, all points with a gain move at once, as in Lloyd's iterations. Those gains do not add up, so a
    step that does not lower the cost is undone. From then on each cluster takes part in at most one move per
    step, its best. These gains add up, and the cost cannot rise.
    """
    kept, lowest, together = labels, torch.inf, True
    for _ in range(iterations):
        gain, target, sizes, own = _gains(state, labels)
        if together:
            cost = float(torch.where((sizes > 0).all(), own.sum(dtype=torch.float64), torch.inf))
            if cost >= lowest * (1 - _EXCHANGE_STOP * tolerance):  # an emptied cluster costs infinity
                labels, together = kept, False
                continue
            kept, lowest = labels, cost
            labels = torch.where(gain > 0, target, labels)
            continue
        moving = _exclusive(gain, labels, target, state.k)
        labels = torch.where(moving, target, labels)
        if bool(torch.where(moving, gain, 0.0).sum() <= _EXCHANGE_STOP * tolerance * own.sum()):
            break
    return kept if together else labels


def _gains(state: _Cloud, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the best move of each point gains, for the clusters of labels (n,).

    gain: (n,), by how much the move lowers the summed cost.
    target: (n,), the cluster that the move leads to.
    sizes: (k,), the sizes of the clusters.
    own: (n,), the squared distances of the points to the means of their own clusters.

    Taking x from a cluster of p points with mean b saves p/(p-1) ||x - b||². Adding it to a cluster of q
    points with mean c costs q/(q+1) ||x - c||². A gain within rounding counts as 0, and the only point of a
    cluster stays.
    """
    distances = state.spread(labels)
    sizes = labels.bincount(minlength=state.k).to(distances.dtype)
    own, p = distances.gather(0, labels[None])[0], sizes[labels]
    saved = torch.where(p > 1, own * p / (p - 1).clamp(min=1), 0.0)
    paid = distances * (sizes / (sizes + 1))[:, None]
    least, target = paid.scatter(0, labels[None], torch.inf).min(0)
    gain = saved - least
    noise = 8 * torch.finfo(gain.dtype).eps * (state.norms + own)
    return torch.where(gain > noise, gain, 0.0), target, sizes, own


def _exclusive(gain: Tensor, labels: Tensor, target: Tensor, k: int) -> Tensor:
    """Return which points (n,) may move so that each of the k clusters loses or receives at most one point.

    A point moves if its gain is the best of both clusters. Of equal gains, such as those of coinciding
    points, the first counts.
    """
    best = gain.new_zeros(k).scatter_reduce(0, labels, gain, "amax").scatter_reduce(0, target, gain, "amax")
    moving = (gain > 0) & (gain >= best[labels]) & (gain >= best[target])
    n = len(labels)
    turn = torch.where(moving, torch.arange(n, device=labels.device), n)
    first = labels.new_full((k,), n)
    first = first.scatter_reduce(0, labels, turn, "amin").scatter_reduce(0, target, turn, "amin")
    return moving & (turn == first[labels]) & (turn == first[target])
