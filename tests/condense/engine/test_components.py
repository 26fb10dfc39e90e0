"""What an initializer can ask of the host, and what a loss does and needs unless it says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine import components
from condense.engine.components import FeatureTarget, InitialRequest, Loss, Regularizer
from condense.errors import DataError
from condense.models.network import Network
from condense.models.observation import BatchLabels, Observation
from condense.recipe.specs import FeatureTargetSpec, InitializerSpec, RegularizerSpec
from condense.runtime import make_runtime

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRequest = Callable[..., InitialRequest]


# Real images.


def test_the_images_of_the_class_in_order(make_dataset: MakeDataset, make_request: MakeRequest) -> None:
    dataset = make_dataset()
    labels = dataset.train.labels.tolist()
    for label in range(3):
        expected = [index for index, own in enumerate(labels) if own == label]
        assert make_request(dataset, label=label).real().tolist() == expected


def test_fewer_images_than_are_asked_for(make_dataset: MakeDataset, make_request: MakeRequest) -> None:
    dataset = make_dataset(counts=(6, 2, 8))
    assert len(make_request(dataset, label=1, ipc=2).real()) == 2
    with pytest.raises(DataError) as caught:
        make_request(dataset, label=1, ipc=3).real()
    assert str(caught.value) == "class 'class 1' has 2 training images, fewer than the 3 asked for"


# What the teacher sees.


def one_by_one(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits, an image at a time, by hand."""
    model: Any = network.model
    features = torch.cat([model.features(image[None]).flatten(1) for image in images])
    return features, torch.cat([model.classifier(row[None]) for row in features])


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_teacher_looks_at_training_images_in_batches(
    batch: int,
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    monkeypatch: pytest.MonkeyPatch,
    make_request: MakeRequest,
) -> None:
    monkeypatch.setattr(components, "_LOOK_BATCH", batch)
    dataset = make_dataset()
    asked = make_request(dataset, (teacher := make_network(dataset)), label=1)
    chosen = asked.real()[[5, 0, 3, 1]]
    images = dataset.training_images(chosen)
    features, logits = one_by_one(teacher, images)
    for seen in (asked.observe(chosen), asked.look(images)):
        assert torch.equal(seen.images, images)
        torch.testing.assert_close(seen.features, features)
        torch.testing.assert_close(seen.logits, logits)
        assert seen.batch.labels.tolist() == [1, 1, 1, 1]
        assert seen.batch.weights.tolist() == [1, 1, 1, 1]
        assert seen.batch.membership.tolist() == [[0.25] * 4]
        assert seen.moments is None
        assert seen.parameters == ()
        assert not seen.features.requires_grad


def test_images_that_are_looked_at_count_as_those_of_the_class(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    """Also where they are of another, or of none."""
    dataset = make_dataset()
    asked = make_request(dataset, make_network(dataset), label=2)
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator())
    assert asked.look(noise).batch.labels.tolist() == [2, 2, 2]
    assert asked.observe(torch.tensor([0, 1])).batch.labels.tolist() == [2, 2]


def test_bfloat16_gives_float32_features(
    make_dataset: MakeDataset, make_network: MakeNetwork, make_request: MakeRequest
) -> None:
    dataset = make_dataset()
    runtime = make_runtime("cpu", "bf16")
    teacher = make_network(dataset)
    runtime.place(teacher.model)
    asked = make_request(dataset, teacher, runtime=runtime)
    seen = asked.observe(asked.real())
    assert (seen.features.dtype, seen.logits.dtype) == (torch.float32, torch.float32)


# What losses and initializers do and need unless they say otherwise.


@pytest.mark.parametrize("kind", [FeatureTargetSpec, RegularizerSpec])
def test_a_loss_needs_nothing_special(kind: Any) -> None:
    spec = kind(name="plain", summary="x", build=lambda options: None)
    needs = spec.needs_of(spec.options())
    assert (needs.network, needs.at_once, needs.real_per_class, needs.statistics) == (
        "teacher",
        "batch",
        0,
        (),
    )
    assert not any((needs.observes, needs.each_member, needs.weight_gradients, needs.float32))


def test_an_initializer_needs_nothing_special() -> None:
    spec = InitializerSpec(name="plain", summary="x", build=lambda options: None)
    assert not spec.needs_teacher
    assert not spec.uses_targets


@pytest.mark.parametrize("kind", [FeatureTarget, Regularizer])
def test_a_loss_keeps_nothing_and_must_say_what_it_is(kind: type[Loss]) -> None:
    loss, nothing = kind(), torch.zeros(1, 0)
    seen = Observation(
        images=nothing, batch=BatchLabels.of_real(torch.tensor([0])), features=nothing, logits=nothing
    )
    loss.begin(3, torch.Generator())
    loss.observe(seen)
    loss.fit(2, torch.Generator())
    assert loss.state() == {}
    loss.restore({})
    with pytest.raises(NotImplementedError):
        loss.loss(seen, None)


def test_a_target_has_equal_weights_and_no_features() -> None:
    assert FeatureTarget().slot_weights() is FeatureTarget().slot_features() is None
