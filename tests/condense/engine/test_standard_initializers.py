"""Where synthetic images start: noise, and real images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from condense.data.dataset import RealDataset
from condense.data.pixels import to_bytes
from condense.engine.catalog import NoiseOptions
from condense.engine.components import Initializer, InitialRequest
from condense.engine.standard import Noise, RandomReal
from condense.errors import DataError
from condense.recipe.specs import NoOptions

MakeDataset = Callable[..., RealDataset]


@pytest.fixture
def images(make_request: Callable[..., InitialRequest]) -> Callable[..., Tensor]:
    """Returns what an initializer makes for a class."""

    def make(initializer: Initializer, dataset: RealDataset, label: int, ipc: int, seed: int = 0) -> Tensor:
        return initializer.images(make_request(dataset, None, ipc, label, seed=seed))

    return make


@pytest.mark.parametrize("std", [0.5, 1.0, 2.0])
def test_noise_has_the_spread_asked_for(
    std: float, make_dataset: MakeDataset, images: Callable[..., Tensor]
) -> None:
    dataset = make_dataset(channels=3, size=16)
    found = images(Noise(NoiseOptions(std=std)), dataset, 0, 40)
    assert found.shape == (40, 3, 16, 16)
    assert found.dtype == torch.float32
    assert float(found.std()) == pytest.approx(std, rel=0.05)
    assert float(found.mean()) == pytest.approx(0, abs=0.05 * std)
    assert torch.equal(found, images(Noise(NoiseOptions(std=std)), dataset, 1, 40))
    assert not torch.equal(found, images(Noise(NoiseOptions(std=std)), dataset, 0, 40, seed=1))


def test_real_images_are_distinct_ones_of_the_class(
    make_dataset: MakeDataset, images: Callable[..., Tensor]
) -> None:
    dataset = make_dataset()
    for label, count in enumerate((6, 7, 8)):
        found = to_bytes(images(RandomReal(NoOptions()), dataset, label, count), dataset.mean, dataset.std)
        own = dataset.train.images.read(dataset.train.of_class(label))
        assert sorted(found.flatten(1).tolist()) == sorted(own.flatten(1).tolist())


def test_fewer_images_are_the_first_of_more(make_dataset: MakeDataset, images: Callable[..., Tensor]) -> None:
    """So that a larger ipc adds to a smaller one."""
    dataset = make_dataset()
    few, many = (images(RandomReal(NoOptions()), dataset, 1, ipc, seed=4) for ipc in (2, 5))
    assert torch.equal(few, many[:2])
    assert not torch.equal(few, images(RandomReal(NoOptions()), dataset, 1, 2, seed=5))


def test_more_images_than_the_class_has(make_dataset: MakeDataset, images: Callable[..., Tensor]) -> None:
    with pytest.raises(DataError, match="class 'class 0' has 6 training images, fewer than the 7 asked for"):
        images(RandomReal(NoOptions()), make_dataset(), 0, 7)


@pytest.mark.parametrize("std", [0.0, -1.0])
def test_noise_without_spread(std: float) -> None:
    with pytest.raises(ValueError, match=f"std must be above 0, not {std}"):
        NoiseOptions(std=std)
