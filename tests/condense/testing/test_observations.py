"""Observations for unit tests have the shapes and gradients that a run gives them."""

from __future__ import annotations

import pytest
import torch

from condense.errors import DataError
from condense.testing import made_up_dataset, made_up_network, real_observation, synthetic_observation


def test_real_images_have_weight_one_and_no_gradients() -> None:
    seen = real_observation([0, 2, 2], classes=4, channels=3, size=5)
    assert seen.images.shape == (3, 3, 5, 5)
    assert seen.logits.shape == (3, 4)
    assert seen.batch.weights.tolist() == [1, 1, 1]
    assert seen.batch.classes.tolist() == [0, 2]
    assert not any(tensor.requires_grad for tensor in (seen.images, seen.features, seen.logits))
    assert seen.generator is not None and seen.indices is not None
    assert seen.indices.tolist() == [0, 1, 2]


def test_synthetic_images_have_counted_slots_and_equal_weights() -> None:
    seen = synthetic_observation([1, 0, 1, 1])
    assert seen.batch.slots.tolist() == [0, 0, 1, 2]
    assert seen.batch.weights.tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
    assert seen.logits.shape == (4, 2)
    assert seen.generator is not None and seen.indices is None


def test_given_features_are_seen_and_take_gradients() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    seen = synthetic_observation([0, 0], weights=[0.25, 0.75], features=features)
    means = seen.batch.membership @ seen.features
    assert means.tolist() == [[0.25 * 1 + 0.75 * 3, 0.25 * 2 + 0.75 * 4]]
    (gradient,) = torch.autograd.grad(means.sum(), seen.features)
    assert gradient.tolist() == [[0.25, 0.25], [0.75, 0.75]]
    assert not features.requires_grad  # the tensor of the test stays as it is


def test_through_a_network_features_depend_on_the_images() -> None:
    dataset = made_up_dataset()
    network = made_up_network(dataset)
    seen = synthetic_observation([0, 1], network=network, statistics=("batchnorm", "convolutions"))
    assert seen.moments is not None and seen.convolutions is not None and seen.patches is not None
    (gradient,) = torch.autograd.grad(seen.features.sum(), seen.images)
    assert gradient.abs().sum() > 0
    again = network.observe(seen.images, seen.batch).features
    torch.testing.assert_close(seen.features, again)
    assert not real_observation([0, 1], network=network).features.requires_grad
    assert seen.parameters == ()


def test_a_network_whose_weights_take_gradients_shows_them_for_real_images_too() -> None:
    network = made_up_network(made_up_dataset(), weight_gradients=True)
    for seen in (real_observation([0, 1], network=network), synthetic_observation([0, 1], network=network)):
        slopes = torch.autograd.grad(seen.logits.sum(), seen.parameters)
        assert len(slopes) == len(list(network.model.parameters()))


def test_one_seed_gives_the_same_noise() -> None:
    one, same, other = (real_observation([0, 1], seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"features": torch.zeros(3, 2)}, "features must have a row for each of 2 images"),
        ({"logits": torch.zeros(2)}, "logits must have a row"),
        ({"images": torch.zeros(3, 1, 4, 4)}, "2 labels, and 3 images"),
        ({"statistics": ("batchnorm",)}, "are those of a network"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(DataError, match=says):
        real_observation([0, 1], **wrong)  # type: ignore[arg-type]
