"""Greedy k-center: its radius against the best there is, its centers against the rule written out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from condense_baselines.initializers.k_center import KCenter, greedy_centers
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.data.dataset import RealDataset
from condense.engine.components import InitialRequest
from condense.errors import DataError
from condense.models.network import Network
from condense.recipe.specs import NoOptions

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRequest = Callable[..., InitialRequest]
Point = tuple[int, int]

small_sets = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=8)


def radius(points: Sequence[Point], centers: Sequence[int]) -> float:
    """The greatest distance of a point to its nearest center."""
    return max(min(math.dist(point, points[center]) for center in centers) for point in points)


def centers_of(points: Sequence[Point], count: int) -> list[int]:
    return greedy_centers(torch.tensor(points, dtype=torch.float64), count).tolist()


@given(small_sets, st.data())
@settings(max_examples=150, deadline=None)
def test_the_radius_is_at_most_twice_the_least_and_centers_are_distinct(
    points: list[Point], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(points)))
    chosen = centers_of(points, count)
    assert len(set(chosen)) == count
    least = min(radius(points, centers) for centers in itertools.combinations(range(len(points)), count))
    assert radius(points, chosen) <= 2 * least + 1e-9


@given(small_sets)
@settings(deadline=None)
def test_every_center_is_the_point_farthest_from_those_before(points: list[Point]) -> None:
    chosen = centers_of(points, len(points))
    mean = [sum(column) / len(points) for column in zip(*points, strict=True)]
    nearest = min(math.dist(point, mean) for point in points)
    assert math.dist(points[chosen[0]], mean) == pytest.approx(nearest)
    for k in range(1, len(points)):
        far = min(math.dist(points[chosen[k]], points[center]) for center in chosen[:k])
        assert far == pytest.approx(radius(points, chosen[:k]))
        assert chosen[:k] == centers_of(points, k)


def test_by_hand() -> None:
    """The mean is 2.2, or 3.2: first the point nearest to it, then the outlier, then the end that is left."""
    assert centers_of([(-1, 0), (0, 0), (1, 0), (2, 0), (9, 0)], 3) == [3, 4, 0]
    assert centers_of([(0, 0), (1, 0), (2, 0), (3, 0), (10, 0)], 3) == [3, 4, 0]


def test_images_are_those_whose_features_are_chosen(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    asked = make_request(dataset, make_network(dataset), 5, label=2)
    own = dataset.train.of_class(2)
    features = torch.cat([asked.observe(index[None]).features for index in own]).double()
    expected = dataset.training_images(own[greedy_centers(features, 5)])
    assert torch.equal(KCenter(NoOptions()).images(asked), expected)


def test_too_few_images(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    with pytest.raises(DataError, match="class 'class 2' has 8 training images, fewer than the 9 asked for"):
        KCenter(NoOptions()).images(make_request(dataset, make_network(dataset), 9, label=2))
