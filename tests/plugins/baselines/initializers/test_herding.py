"""Herding against its formula written out, and what no other choice of images has."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from condense_baselines.initializers.herding import Herding, herd
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.components import InitialRequest
from condense.errors import DataError
from condense.models.network import Network
from condense.recipe.specs import NoOptions

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRequest = Callable[..., InitialRequest]


def points(count: int, dim: int, seed: int) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_gaps(features: Tensor, chosen: list[int]) -> dict[int, float]:
    """|| mean - (x + those chosen) / k ||^2 for each x not yet chosen, with plain numbers."""
    rows = features.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    k = len(chosen) + 1
    gaps = {}
    for index, row in enumerate(rows):
        if index not in chosen:
            sums = [x + sum(rows[j][d] for j in chosen) for d, x in enumerate(row)]
            gaps[index] = sum((m - s / k) ** 2 for m, s in zip(mean, sums, strict=True))
    return gaps


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32), st.data())
@settings(max_examples=80, deadline=None)
def test_it_follows_the_formula(n: int, dim: int, seed: int, data: st.DataObject) -> None:
    features = points(n, dim, seed)
    count = data.draw(st.integers(1, n))
    chosen = herd(features, count).tolist()
    assert len(chosen) == count
    for k, pick in enumerate(chosen):
        gaps = slow_gaps(features, chosen[:k])
        # Two points are equally far from their mean, so that rounding decides between them.
        assert gaps[pick] <= min(gaps.values()) * (1 + 1e-9) + 1e-12


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12), st.data())
@settings(deadline=None)
def test_no_image_is_chosen_twice_even_among_equal_ones(values: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(values)))
    chosen = herd(torch.tensor(values, dtype=torch.float64)[:, None], count).tolist()
    assert len(set(chosen)) == count


@given(st.integers(0, 2**32))
def test_the_first_is_nearest_to_the_mean_and_more_only_add(seed: int) -> None:
    features = points(10, 3, seed)
    away = (features - features.mean(0)).norm(dim=1)
    assert int(herd(features, 1)) == int(away.argmin())
    assert herd(features, 4).tolist() == herd(features, 9)[:4].tolist()
    assert sorted(herd(features, 10).tolist()) == list(range(10))


def test_the_next_makes_up_for_those_before() -> None:
    """By hand: the mean is 0.2; 1 is nearest, then -1 brings the sum nearest to 0.4, then 2 that of three to 0.6."""
    line = torch.tensor([[-3.0], [-1.0], [1.0], [2.0], [2.0]]).double()
    assert herd(line, 3).tolist() == [2, 1, 3]


def test_the_mean_of_those_chosen_comes_nearer_than_that_of_random_ones() -> None:
    features = points(300, 16, 0).relu()
    mean = features.mean(0)
    ours = (features[herd(features, 30)].mean(0) - mean).norm()
    random = [
        (
            features[torch.randperm(300, generator=torch.Generator().manual_seed(seed))[:30]].mean(0) - mean
        ).norm()
        for seed in range(20)
    ]
    assert ours < 0.5 * min(random)


def test_images_are_those_whose_features_are_chosen(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset((6, 300, 8))
    teacher = make_network(dataset)
    asked = make_request(dataset, teacher, 5, label=1)
    own = dataset.train.of_class(1)
    features = torch.cat([asked.observe(index[None]).features for index in own]).double()
    found = Herding(NoOptions()).images(asked)
    assert torch.equal(found, dataset.training_images(own[herd(features, 5)]))


def test_too_few_images(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    with pytest.raises(DataError, match="class 'class 1' has 7 training images, fewer than the 8 asked for"):
        Herding(NoOptions()).images(make_request(dataset, make_network(dataset), 8, label=1))
