"""What clouds compute side by side, with and without padding, against plain loops over clouds, runs and points."""

from __future__ import annotations

import pytest
import torch
from condense_wmdd import quantization
from condense_wmdd.clouds import Clouds, has_gram
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_clouds(sizes: tuple[int, ...], dim: int) -> list[Tensor]:
    return [torch.randn(n, dim, generator=seeded(n), dtype=torch.float64) for n in sizes]


def clouds_of(parts: list[Tensor], k: int, runs: int) -> Clouds:
    return Clouds(pad_sequence(parts, batch_first=True), [len(part) for part in parts], k, runs)


def padded(parts: list[Tensor], k: int) -> Tensor:
    """Labels (C, R, N) from one (R, n) for each cloud."""
    return pad_sequence([part.T for part in parts], batch_first=True, padding_value=k).mT


def some_labels(sizes: tuple[int, ...], k: int, runs: int) -> list[Tensor]:
    return [torch.stack([torch.randperm(n, generator=seeded(s)) % k for s in range(runs)]) for n in sizes]


def distances_by_hand(points: Tensor, labels: Tensor, k: int) -> Tensor:
    """(k, n), from the means of labels (n,) to all points."""
    means = torch.stack([points[labels == j].mean(0) for j in range(k)])
    return (points[None] - means[:, None]).square().sum(-1)


both_ways = pytest.mark.parametrize(("sizes", "dim", "k"), [((80, 80, 71), 64, 30), ((200, 180), 3, 5)])


@both_ways
def test_both_ways_to_assign_agree_with_plain_differences(sizes: tuple[int, ...], dim: int, k: int) -> None:
    parts = random_clouds(sizes, dim)
    clouds, labels = clouds_of(parts, k, 2), some_labels(sizes, k, 2)
    assert (clouds.gram is not None) == (dim == 64)
    found, distances = clouds.assign(padded(labels, k))
    for cloud, (points, own) in enumerate(zip(parts, labels, strict=True)):
        n = len(points)
        spread = clouds.spread(padded([run[:1] for run in labels], k)[:, 0])[cloud, :, :n]
        assert torch.allclose(spread, distances_by_hand(points, own[0], k))
        for run in range(2):
            expected = distances_by_hand(points, own[run], k)
            assert torch.allclose(distances[cloud, run, :n], expected.min(0).values)
            assert torch.equal(found[cloud, run, :n], expected.argmin(0))
        assert bool((found[cloud, :, n:] == k).all())
        assert bool((distances[cloud, :, n:] == 0).all())


@both_ways
def test_products_are_those_of_the_own_cloud(sizes: tuple[int, ...], dim: int, k: int) -> None:
    parts = random_clouds(sizes, dim)
    rows = torch.tensor([[0, 7], [3, 3], [5, 1]])[: len(parts)]
    products = clouds_of(parts, k, 2).products(rows)
    for cloud, points in enumerate(parts):
        assert torch.allclose(products[cloud, :, : len(points)], points[rows[cloud]] @ points.T)


def test_an_empty_label_takes_the_farthest_point_that_can_be_spared_and_never_padding() -> None:
    """Cloud 0: label 2 is empty; point 3 is the farthest. Cloud 1: two are empty, and the first of label 0 stays."""
    parts = [torch.zeros(4, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)]
    labels = padded([torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 0, 0]])], 3)
    distances = torch.tensor([[[1.0, 2, 3, 9]], [[7.0, 5, 6, 0]]], dtype=torch.float64)
    mended, nearer = clouds_of(parts, 3, 1).repair(labels, distances)
    assert mended.tolist() == [[[0, 0, 1, 2]], [[0, 2, 1, 3]]]
    assert nearer.tolist() == [[[1, 2, 3, 0]], [[7, 0, 0, 0]]]


def test_the_gain_of_a_move_is_the_change_of_the_cost() -> None:
    parts = random_clouds((12, 10), 3)
    labels = [torch.arange(len(points)) % 3 for points in parts]

    def cost(points: Tensor, labels: Tensor) -> float:
        groups = [points[labels == j] for j in range(3)]
        return sum(float((group - group.mean(0)).square().sum()) for group in groups)

    together = padded([own[None] for own in labels], 3)[:, 0]
    gain, target, _, _ = quantization._gains(clouds_of(parts, 3, 1), together)
    for cloud, (points, own) in enumerate(zip(parts, labels, strict=True)):
        assert (gain[cloud] > 0).any()
        assert bool((gain[cloud, len(points) :] == 0).all())
        for i in range(len(points)):
            changes = []
            for j in {0, 1, 2} - {int(own[i])}:
                moved = own.clone()
                moved[i] = j
                changes.append((cost(points, own) - cost(points, moved), j))
            best, where = max(changes)
            assert float(gain[cloud, i]) == pytest.approx(max(best, 0), abs=1e-12)
            assert int(target[cloud, i]) == where


def test_exclusive_moves_touch_each_cluster_once_even_among_equal_gains() -> None:
    """The second row is a cloud of three points, whose padding has the label 4 and no gain."""
    gain = torch.tensor([[1.0, 1.0, 0.5, 0.0, 1.0], [0.2, 0.0, 0.3, 0.0, 0.0]])
    labels = torch.tensor([[0, 0, 2, 3, 1], [0, 1, 2, 4, 4]])
    target = torch.tensor([[1, 1, 3, 2, 0], [1, 0, 1, 0, 0]])
    moving = quantization._exclusive(gain, labels, target, 4)
    assert moving.tolist() == [[True, False, True, False, False], [False, False, True, False, False]]


def test_clouds_that_are_computed_in_different_ways_do_not_mix() -> None:
    assert has_gram(50, 512, 10, 10) and not has_gram(2000, 512, 10, 10)
    with pytest.raises(ValueError, match="50 to 2000 points are not computed in the same way"):
        clouds_of(random_clouds((50, 2000), 512), 10, 10)
