"""Who is in a batch, and each image's share of its class."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condense.models.observation import BatchLabels, Moments


def test_the_labels_of_a_batch_by_hand() -> None:
    batch = BatchLabels.of(
        torch.tensor([5, 2, 5, 5]), torch.tensor([0, 0, 1, 2]), torch.tensor([0.5, 1.0, 0.25, 0.25])
    )
    assert batch.classes.tolist() == [2, 5]
    assert batch.membership.tolist() == [[0, 1, 0, 0], [0.5, 0, 0.25, 0.25]]
    torch.testing.assert_close(
        batch.equal_membership(), torch.tensor([[0, 1, 0, 0], [1 / 3, 0, 1 / 3, 1 / 3]])
    )


def test_every_real_image_of_a_batch_counts_the_same() -> None:
    batch = BatchLabels.of_real(torch.tensor([1, 0, 1]))
    assert batch.slots.tolist() == [0, 0, 0]
    assert batch.weights.tolist() == [1, 1, 1]
    assert batch.membership.tolist() == [[0, 1, 0], [0.5, 0, 0.5]]
    assert torch.equal(batch.membership, batch.equal_membership())


def test_weights_need_not_sum_to_one() -> None:
    labels, slots, weights = torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([3.0, 1.0])
    assert BatchLabels.of(labels, slots, weights).membership.tolist() == [[0.75, 0.25]]


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(2**-6, 100, width=32)), min_size=1, max_size=20))
@settings(deadline=None)
def test_every_class_shares_one_whole_among_its_own_images(images: list[tuple[int, float]]) -> None:
    labels = torch.tensor([label for label, _ in images])
    weights = torch.tensor([weight for _, weight in images])
    batch = BatchLabels.of(labels, torch.zeros_like(labels), weights)
    present = sorted({label for label, _ in images})
    assert batch.classes.tolist() == present
    for shares in (batch.membership, batch.equal_membership()):
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(present)))
        for row, label in zip(shares, present, strict=True):
            assert torch.equal(row > 0, labels == label)


def test_values_are_summed_by_layer() -> None:
    empty: Tensor = torch.zeros(0, 3)
    layer_of = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    moments = Moments(
        mean=empty,
        second=empty,
        running_mean=torch.zeros(3),
        running_var=torch.ones(3),
        layers=("a", "b"),
        layer_of=layer_of,
    )
    assert moments.by_layer(torch.tensor([1.0, 2.0, 4.0])).tolist() == [3, 4]
    assert moments.by_layer(torch.tensor([[1.0, 2.0, 4.0], [0.0, 1.0, 0.0]])).tolist() == [[3, 4], [1, 0]]
