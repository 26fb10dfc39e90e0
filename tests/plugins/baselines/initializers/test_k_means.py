"""K-means: its clusters against the best there are, and one image for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from condense_baselines.initializers.k_means import KMeans, cluster_centres
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine.components import InitialRequest
from condense.models.network import Network
from condense.recipe.specs import NoOptions

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRequest = Callable[..., InitialRequest]


def cost(points: Tensor, centres: Tensor) -> float:
    return float(torch.cdist(points, centres).square().amin(1).sum())


def least_cost(points: Tensor, count: int) -> float:
    """Of all ways to put points into `count` groups, by the definition of k-means."""
    costs = []
    for labels in itertools.product(range(count), repeat=len(points)):
        groups = [points[[i for i, label in enumerate(labels) if label == group]] for group in set(labels)]
        costs.append(sum(float((group - group.mean(0)).square().sum()) for group in groups))
    return min(costs)


@given(st.integers(0, 2**20), st.integers(1, 2))
@settings(max_examples=20, deadline=None)
def test_well_separated_clusters_are_found(seed: int, spread: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    points = torch.randn(7, 2, generator=draws, dtype=torch.float64) * 0.1 * spread
    points[:3] += 5
    assert cost(points, cluster_centres(points, 2, seed)) == pytest.approx(least_cost(points, 2))


def test_one_centre_is_the_mean() -> None:
    points = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(cluster_centres(points, 1, 0), points.mean(0, keepdim=True))


def test_coinciding_points_give_as_many_centres_as_asked_for_and_no_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    centres = cluster_centres(torch.ones(5, 3, dtype=torch.float64), 4, 0)
    assert torch.equal(centres, torch.ones(4, 3, dtype=torch.float64))
    assert not recwarn.list


def test_one_image_is_the_one_nearest_to_the_mean_of_the_class(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    asked = make_request(dataset, make_network(dataset), 1, label=1)
    own = dataset.train.of_class(1)
    features = asked.observe(own).features.double()
    nearest = own[(features - features.mean(0)).square().sum(1).argmin()]
    assert torch.equal(KMeans(NoOptions()).images(asked), dataset.training_images(nearest[None]))


def test_images_are_distinct_real_images_of_the_class_and_the_same_each_time(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    teacher = make_network(dataset)
    images = KMeans(NoOptions()).images(make_request(dataset, teacher, 4, label=1))
    real = dataset.training_images(dataset.train.of_class(1))
    places = [(real == image).flatten(1).all(1).nonzero()[0].item() for image in images]
    assert len(set(places)) == 4
    assert torch.equal(images, KMeans(NoOptions()).images(make_request(dataset, teacher, 4, label=1)))
