"""What an initializer can ask of the host: the real images of its class, and what the teacher sees of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.engine import components
from condense.engine.components import Component, FeatureTarget, Initializer, InitialRequest
from condense.errors import DataError
from condense.models.network import Network
from condense.runtime import make_runtime

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]


def request(
    dataset: RealDataset, label: int, *, ipc: int = 2, teacher: Network | None = None
) -> InitialRequest:
    return InitialRequest(
        label=label,
        ipc=ipc,
        dataset=dataset,
        generator=torch.Generator(),
        targets=(),
        teacher=teacher,
        runtime=make_runtime("cpu", "fp32"),
    )


# Real images.


def test_the_images_of_the_class_in_order(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    labels = dataset.train.labels.tolist()
    for label in range(3):
        expected = [index for index, own in enumerate(labels) if own == label]
        assert request(dataset, label).real().tolist() == expected


def test_fewer_images_than_are_asked_for(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(counts=(6, 2, 8))
    assert len(request(dataset, 1, ipc=2).real()) == 2
    with pytest.raises(DataError) as caught:
        request(dataset, 1, ipc=3).real()
    assert str(caught.value) == "class 'class 1' has 2 training images, fewer than the 3 asked for"


# What the teacher sees.


def one_by_one(network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits, an image at a time, by hand."""
    model: Any = network.model
    features = torch.cat([model.features(image[None]).flatten(1) for image in images])
    return features, torch.cat([model.classifier(row[None]) for row in features])


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_teacher_looks_at_training_images_in_batches(
    batch: int, make_dataset: MakeDataset, make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "_LOOK_BATCH", batch)
    dataset = make_dataset()
    asked = request(dataset, 1, teacher=(teacher := make_network(dataset)))
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
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    """Also where they are of another, or of none."""
    dataset = make_dataset()
    asked = request(dataset, 2, teacher=make_network(dataset))
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator())
    assert asked.look(noise).batch.labels.tolist() == [2, 2, 2]
    assert asked.observe(torch.tensor([0, 1])).batch.labels.tolist() == [2, 2]


def test_bfloat16_gives_float32_features(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    dataset = make_dataset()
    runtime = make_runtime("cpu", "bf16")
    teacher = make_network(dataset)
    runtime.place(teacher.model)
    asked = InitialRequest(
        label=0,
        ipc=1,
        dataset=dataset,
        generator=torch.Generator(),
        targets=(),
        teacher=teacher,
        runtime=runtime,
    )
    seen = asked.observe(asked.real())
    assert (seen.features.dtype, seen.logits.dtype) == (torch.float32, torch.float32)


# What components say of themselves unless told otherwise.


def test_a_component_asks_for_nothing_special() -> None:
    assert (Component.network, Component.measures, Component.real_batch) == ("teacher", True, 0)
    asks = (
        Component.uses_moments,
        Component.uses_convolutions,
        Component.by_member,
        Component.whole_classes,
        Component.by_class,
        Component.weight_gradients,
        Initializer.needs_teacher,
        Initializer.uses_targets,
    )
    assert not any(asks)
    assert FeatureTarget().slot_weights() is FeatureTarget().slot_features() is None
