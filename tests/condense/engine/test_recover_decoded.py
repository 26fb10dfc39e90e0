"""Recover through a parametrization: losses see decoded images, gradients reach the stored ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.parametrizations.base import Coder, coder_of
from condense.data.pixels import valid_range
from condense.engine.chunks import Chunk
from condense.engine.components import FeatureTarget
from condense.models.observation import Observation
from condense.recipe.method import Use
from condense.recipe.needs import ImagesAlone, Needs
from condense.recipe.registry import default_registry
from condense.recipe.training import Training

Make = Callable[..., Any]
ALONE = Needs(through=ImagesAlone())


class Slope(FeatureTarget):
    """sum_i <a_i, x_i>, with another a for every class and slot; keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Observation] = []

    def slopes(self, labels: Tensor, slots: Tensor) -> Tensor:
        draws = torch.Generator().manual_seed(3)
        return torch.randn(3, 8, 1, 8, 8, generator=draws)[labels, slots]

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        self.seen.append(synthetic)
        batch = synthetic.batch
        return (self.slopes(batch.labels, batch.slots) * synthetic.images).sum()


@pytest.fixture(scope="module")
def coder() -> Coder:
    return coder_of(Use(name="mosaic"), default_registry())


@pytest.fixture
def chunk() -> Chunk:
    """Two stored images of each of three classes, which hold 4 each."""
    draws = torch.Generator().manual_seed(1)
    return Chunk(
        index=0,
        labels=torch.arange(3).repeat_interleave(8),
        slots=torch.arange(8).repeat(3),
        weights=torch.arange(1, 9).repeat(3) / 36,
        images=torch.randn(6, 1, 8, 8, generator=draws).clamp(-1.5, 1.5),
    )


def enlarged(stored: Tensor) -> Tensor:
    """The images of each stored image, tile by tile, as torch enlarges them."""
    tiles = [stored[:, :, top : top + 4, left : left + 4] for top in (0, 4) for left in (0, 4)]
    images = [F.interpolate(tile, size=(8, 8), mode="bilinear", align_corners=False) for tile in tiles]
    return torch.stack(images, dim=1).flatten(0, 1)


@pytest.mark.parametrize("at_once", ["batch", "whole classes", "one class"])
def test_a_step_follows_the_gradient_of_the_stored_pixels(
    at_once: Any, coder: Coder, chunk: Chunk, make_dataset: Callable[..., RealDataset], make_recovery: Make
) -> None:
    """One step of plain gradient descent, whether all classes are seen at once or each by itself."""
    slope = Slope()
    needs = Needs(through=ImagesAlone(), at_once=at_once)
    steps = {"iterations": 1, "optimizer": "sgd", "momentum": 0.0, "lr": 0.01}
    found = make_recovery(make_dataset(), None, (slope, needs), coder=coder, **steps)(chunk)
    stored = chunk.images.clone().requires_grad_(True)
    (slope.slopes(chunk.labels, chunk.slots) * enlarged(stored)).sum().backward()
    assert stored.grad is not None
    torch.testing.assert_close(found, chunk.images - 0.01 * stored.grad)
    shown = torch.cat([seen.images for seen in slope.seen])
    torch.testing.assert_close(shown, enlarged(chunk.images))
    for name in ("labels", "slots", "weights"):
        assert torch.equal(
            torch.cat([getattr(seen.batch, name) for seen in slope.seen]), getattr(chunk, name)
        )
    assert len(slope.seen) == (3 if at_once == "one class" else 1)


def test_stored_pixels_stay_valid(
    coder: Coder, chunk: Chunk, make_dataset: Callable[..., RealDataset], make_recovery: Make
) -> None:
    dataset = make_dataset()
    found = make_recovery(dataset, None, (Slope(), ALONE), coder=coder, lr=10.0)(chunk)
    low, high = valid_range(dataset.mean, dataset.std, found)
    assert found.shape == chunk.images.shape
    assert bool(((found == low) | (found == high)).float().mean() > 0.5)
    assert bool((found >= low).all())
    assert bool((found <= high).all())


def test_a_random_network_learns_the_decoded_images(
    coder: Coder, chunk: Chunk, make_dataset: Callable[..., RealDataset], make_recovery: Make
) -> None:
    inner = Training(epochs=1, batch_size=8, lr=0.01)
    slope = Slope()
    recover = make_recovery(make_dataset(), None, (slope, ALONE), coder=coder, iterations=2, inner=inner)
    learned: list[tuple[Tensor, Tensor]] = []

    def learn(iteration: int, images: Tensor, labels: Tensor, *rest: Any, **named: Any) -> None:
        learned.append((images.clone(), labels))

    recover.networks.learn = learn
    recover(chunk)
    # What is learned after the first step is what losses see at the second.
    assert torch.equal(learned[0][0], slope.seen[1].images)
    assert torch.equal(learned[0][1], chunk.labels)
