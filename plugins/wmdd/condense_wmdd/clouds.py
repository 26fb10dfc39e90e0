"""Clouds of points that are quantised side by side, and what Lloyd's iterations compute from them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_GRAM_LIMIT = 16_384  # points; their Gram matrix takes 1 GiB in float32


def candidates(atoms: int) -> int:
    """Return how many points each step of a greedy k-means++ start chooses from, for this number of atoms."""
    return 2 + int(math.log(atoms))


def has_gram(n: int, dim: int, atoms: int, restarts: int) -> bool:
    """Return whether the Gram matrix of n points of `dim` columns pays for this many atoms and restarts.

    With the Gram matrix, a candidate of k-means++ is a row look-up, and the cost of a sum over a cluster does not
    depend on D. The matrix costs n*n*D once; without it the start costs n*D for each candidate. A look-up is about
    five times slower than a multiplication inside a product of matrices, hence the second condition.
    """
    return n <= min(restarts * candidates(atoms) * atoms, _GRAM_LIMIT) and 5 * n <= atoms * dim


class Clouds:
    """The points of C problems, and what is computed from them once. Every method is a pure function.

    R restarts of each problem are processed together: labels (C, R, N) in [0, k), distances (C, R, N). A cloud of fewer
    than N points is padded with rows that are no points. Their label is k, their distance is 0, and they change nothing
    of the other rows.

    points: (C, N, D), with zeros in the rows that are no points. sizes: the number of points of each cloud, at least
    `atoms`. Whether there is a Gram matrix must be the same for all of them.
    """

    def __init__(self, points: Tensor, sizes: Sequence[int], atoms: int, restarts: int) -> None:
        self.count, self.n, dim = points.shape
        self.points, self.k, self.restarts = points, atoms, restarts
        self.norms = points.square().sum(2)  # (C, N)
        self.sizes = torch.tensor(sizes, device=points.device)  # (C,)
        self.padded = min(sizes) < self.n
        self.real = torch.arange(self.n, device=points.device) < self.sizes[:, None]  # (C, N)
        self.groups = atoms + self.padded  # labels that there are: one more for padding
        gram = {has_gram(n, dim, atoms, restarts) for n in sizes}
        if len(gram) != 1:
            raise ValueError(
                f"clouds of {min(sizes)} to {max(sizes)} points are not computed in the same way"
            )
        self.gram = points @ points.mT if gram.pop() else None  # (C, N, N) or None

    def hide(self, labels: Tensor, distances: Tensor, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return labels and distances (C, R, rows) with those of padding in place of whatever stands there."""
        if not self.padded:
            return labels, distances
        real = self.real[:, None, rows]
        return torch.where(real, labels, self.k), torch.where(real, distances, 0.0)

    def some_atom(self, labels: Tensor) -> Tensor:
        """Return labels as indices of atoms: the label of padding becomes that of the last atom."""
        return labels.clamp(max=self.k - 1) if self.padded else labels

    def flat(self, rows: Tensor) -> Tensor:
        """Return rows (C, ...) of each cloud as rows of all clouds, in [0, C*N)."""
        firsts = torch.arange(self.count, device=rows.device) * self.n
        return rows + firsts.view(-1, *[1] * (rows.ndim - 1))

    def products(self, rows: Tensor) -> Tensor:
        """Return the inner products (C, rows, N) of the points chosen by `rows` (C, rows) with all of their cloud."""
        if self.gram is None:
            return self.points.flatten(0, 1)[self.flat(rows)] @ self.points.mT
        return self.gram.flatten(0, 1)[self.flat(rows)]

    def means(self, labels: Tensor, table: Tensor | None = None) -> Tensor:
        """Return the means (C, R, k, columns), by label, of the rows of `table` (C, N, columns) or of the points.

        No label may be empty. Sorted bags instead of index_add_: they are faster on a CPU, and give the same bits every
        time on a GPU.
        """
        table = self.points if table is None else table
        runs = labels.shape[1]
        order, starts = self._sorted(labels)
        rows = order % self.n + order // (runs * self.n) * self.n
        sums = F.embedding_bag(rows, table.flatten(0, 1), starts, mode="mean")
        return sums.view(self.count, runs, self.groups, -1)[:, :, : self.k]

    def _sorted(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places (C*R*N,) of labels grouped by cloud, restart and label, and the start of each group."""
        runs = labels.shape[1]
        offsets = torch.arange(self.count * runs, device=labels.device).view(self.count, runs, 1)
        grouped, order = (labels + offsets * self.groups).flatten().sort(stable=True)
        groups = torch.arange(self.count * runs * self.groups, device=labels.device)
        return order, torch.searchsorted(grouped, groups)

    def assign(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels (C, R, N) of the atoms nearest to each point and the squared distances to them.

        The atoms are the means of the groups that `labels` (C, R, N) describes. A tie keeps the old label.
        """
        if self.gram is None:
            means = self.means(labels)
            half = 0.5 * means.square().sum(3)  # (C, R, k)
            return self.nearest(means, half, labels)
        products = self.means(labels, self.gram)  # (C, R, k, N): <mean, point>
        own = products.gather(2, self.some_atom(labels)[:, :, None])[:, :, 0]  # (C, R, N)
        half = 0.5 * self.means_of(own, labels)
        return self._pick(half[..., None] - products, labels)

    def spread(self, labels: Tensor) -> Tensor:
        """Return the squared distances (C, k, N) from the means of labels (C, N), of one restart, to all points."""
        labels = labels[:, None]
        if self.gram is None:
            means = self.means(labels)[:, 0]
            half, products = 0.5 * means.square().sum(2), means @ self.points.mT
        else:
            products = self.means(labels, self.gram)[:, 0]
            half = 0.5 * self.means_of(products.gather(1, self.some_atom(labels)), labels)[:, 0]
        return (self.norms[:, None] + 2 * (half[..., None] - products)).clamp(min=0)

    def means_of(self, values: Tensor, labels: Tensor) -> Tensor:
        """Return the means (C, R, k) of values (C, R, N) over the points of each label."""
        order, starts = self._sorted(labels)
        bags = F.embedding_bag(order, values.reshape(-1, 1), starts, mode="mean")
        return bags.view(self.count, -1, self.groups)[:, :, : self.k]

    def counts(self, labels: Tensor) -> Tensor:
        """Return how many of labels (..., N) are that of each atom: (..., k), int64."""
        found = torch.zeros(*labels.shape[:-1], self.groups, dtype=torch.long, device=labels.device)
        return found.scatter_add_(-1, labels, torch.ones_like(labels))[..., : self.k]

    def nearest(self, means: Tensor, half: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Do what `assign` does for given atoms: means (C, R, k, D) and half of their squared norms (C, R, k).

        Blocks of points bound the memory.
        """
        runs = means.shape[1]
        found: list[tuple[Tensor, Tensor]] = []
        for start in range(0, self.n, size := max(1, 2**26 // (self.count * runs * self.k))):
            rows = slice(start, start + size)
            product = self.points[:, rows] @ means.flatten(1, 2).mT
            gaps = half[:, None] - product.view(self.count, -1, runs, self.k)  # (C, rows, R, k)
            found.append(self._pick(gaps.permute(0, 2, 3, 1), labels[..., rows], rows))
        if len(found) == 1:
            return found[0]
        return torch.cat([a for a, _ in found], 2), torch.cat([d for _, d in found], 2)

    def _pick(self, gaps: Tensor, labels: Tensor, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the label and the distance of the smallest gap. gaps: (C, R, k, rows), ||b||²/2 - <b, x>."""
        least, nearest = gaps.min(2)
        tie = gaps.gather(2, self.some_atom(labels)[:, :, None])[:, :, 0] <= least
        distances = (self.norms[:, None, rows] + 2 * least).clamp(min=0)
        return self.hide(torch.where(tie, labels, nearest), distances, rows)

    def repair(self, labels: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:
        """Give each empty label the farthest point that can be spared, so that every label has a point.

        Return the new labels (C, R, N) and distances (C, R, N). A point can be spared if it is not the first of its
        label, so no repair empties another label. There are always enough such points because a cloud has at least k
        points. The cost cannot rise, and stays the same only among coinciding points.
        """
        runs = labels.shape[1]
        order, starts = self._sorted(labels)
        empty = self.counts(labels) == 0
        firsts = order[starts.clamp(max=len(order) - 1)] % self.n
        firsts = firsts.view(self.count, runs, self.groups)[:, :, : self.k]
        # Column N takes the first points of empty labels and the moves to filled ones; it is dropped.
        firsts = firsts.masked_fill(empty, self.n)
        spare = F.pad(distances, (0, 1)).scatter(2, firsts, -1.0)[..., : self.n]
        if self.padded:
            spare = torch.where(self.real[:, None], spare, -1.0)
        donors = spare.argsort(dim=2, descending=True, stable=True)[..., : self.k]
        moves = donors.gather(2, (empty.cumsum(2) - 1).clamp(min=0)).masked_fill(~empty, self.n)
        target = torch.arange(self.k, device=labels.device).expand(self.count, runs, -1)
        mended = F.pad(labels, (0, 1)).scatter(2, moves, target)[..., : self.n]
        nearer = F.pad(distances, (0, 1)).scatter(2, moves, 0.0)[..., : self.n]
        return mended, nearer
