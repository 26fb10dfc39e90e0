"""RDED's images: crops by the teacher's loss on the true label, tiles of distinct images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from condense_baselines.initializers.rded_images import RdedImages, tiled
from condense_baselines.options import RdedOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from condense.data.dataset import MemoryImages, RealDataset, Split
from condense.data.pixels import normalise, to_bytes
from condense.data.views import draw_view
from condense.engine.components import InitialRequest
from condense.errors import DataError, NumericalError
from condense.models.network import Network
from condense.recipe.training import Augment

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
MakeRequest = Callable[..., InitialRequest]


# Flat images show which image a tile is of, whatever the crop.


class Brightness(nn.Module):
    """Class 0 where the mean is high and class 1 where it is low."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        self.head.weight.data = torch.tensor([[slope], [-slope]])

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(images.mean(dim=(1, 2, 3))[:, None])
        return logits


def flat(counts: tuple[int, int], size: int, stored: int) -> RealDataset:
    """Image i of each class has the value 3 i + 1 everywhere."""
    values = torch.cat([3 * torch.randperm(count, generator=torch.Generator()) + 1 for count in counts])
    pixels = values.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, stored, stored).contiguous()
    labels = torch.arange(2).repeat_interleave(torch.tensor(counts))
    return RealDataset(
        name="flat",
        classes=("bright", "dark"),
        train=Split(MemoryImages(pixels), labels),
        test=Split(MemoryImages(pixels), labels),
        size=size,
        mean=(0.1,),
        std=(0.5,),
    )


def tiles_of(image: Tensor, factor: int) -> list[int]:
    """The value of every tile of an image (1, S, S), row by row; each must be flat."""
    size = image.shape[-1]
    ends = [0]
    for strip in range(factor):
        ends.append(ends[-1] + size // factor + (strip < size % factor))
    found = []
    for top, bottom in pairwise(ends):
        for left, right in pairwise(ends):
            (value,) = image[0, top:bottom, left:right].unique().tolist()
            found.append(int(value))
    return found


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("label", [0, 1])
def test_the_easiest_images_are_tiled_in_the_order_of_their_loss(
    factor: int, label: int, make_request: MakeRequest
) -> None:
    """Tile k of image j is the one ranked k x ipc + j, each from another image. Size 8 is not divisible by 3."""
    ipc, dataset = 3, flat((70, 66), size=8, stored=11)
    asked = make_request(dataset, Network(Brightness(), "brightness").frozen(), ipc, label)
    found = to_bytes(RdedImages(RdedOptions(factor=factor)).images(asked), dataset.mean, dataset.std)
    assert found.shape == (ipc, 1, 8, 8)
    count = (70, 66)[label]
    easiest = sorted((3 * i + 1 for i in range(count)), reverse=label == 0)
    for j, image in enumerate(found):
        assert tiles_of(image, factor) == [easiest[k * ipc + j] for k in range(factor**2)]


def test_crops_are_judged_by_the_true_label_and_not_by_how_sure_the_teacher_is(
    make_request: MakeRequest,
) -> None:
    """A teacher that takes every image for class 1, the surer the darker: class 0 wants those it is least sure of."""
    model = Brightness()
    model.head.bias.data = torch.tensor([-1.0, 1.0])
    dataset = flat((30, 30), size=8, stored=8)
    teacher = Network(model, "wrong").frozen()
    found = [
        to_bytes(
            RdedImages(RdedOptions(factor=2)).images(make_request(dataset, teacher, 1, label)), (0.1,), (0.5,)
        )[0]
        for label in (0, 1)
    ]
    assert tiles_of(found[0], 2) == [88, 85, 82, 79]
    assert tiles_of(found[1], 2) == [1, 4, 7, 10]


@pytest.mark.parametrize(("pool", "seen"), [(1, 8), (8, 8), (20, 20), (50, 50), (1000, 50)])
def test_the_pool_is_a_random_part_of_the_class(pool: int, seen: int, make_request: MakeRequest) -> None:
    """A smaller pool grows to as many images as there are tiles, a larger one ends with the class."""
    dataset = flat((50, 50), size=8, stored=8)
    asked = make_request(dataset, Network(Brightness(), "brightness").frozen(), 2)
    found = to_bytes(RdedImages(RdedOptions(factor=2, pool=pool)).images(asked), dataset.mean, dataset.std)
    tiles = sorted((value for image in found for value in tiles_of(image, 2)), reverse=True)
    own = dataset.train.of_class(0)
    order = own[torch.randperm(50, generator=torch.Generator().manual_seed(0))[:seen]]
    values = sorted(dataset.train.images.read(order)[:, 0, 0, 0].tolist(), reverse=True)
    assert tiles == values[:8]
    assert len(set(tiles)) == 8


def test_a_class_smaller_than_its_tiles(make_request: MakeRequest) -> None:
    dataset = flat((50, 50), size=8, stored=8)
    teacher = Network(Brightness(), "brightness").frozen()
    with pytest.raises(DataError) as caught:
        RdedImages(RdedOptions(factor=2)).images(make_request(dataset, teacher, 13))
    assert str(caught.value) == (
        "class 'bright' has 50 training images, and RDED wants 52: 13 images of 2 x 2 tiles, each from another one; "
        "use a smaller --ipc, or fewer tiles with --set initializer.factor=1"
    )
    with pytest.raises(DataError, match="fewer than the 51 asked for"):
        RdedImages(RdedOptions(factor=1)).images(make_request(dataset, teacher, 51))


def test_more_tiles_than_pixels(make_request: MakeRequest) -> None:
    dataset = flat((20, 20), size=2, stored=2)
    with pytest.raises(DataError, match="2 pixels cannot be cut into 3 strips"):
        RdedImages(RdedOptions(factor=3)).images(
            make_request(dataset, Network(Brightness(), "brightness").frozen(), 1)
        )


def test_a_teacher_that_gives_no_numbers(make_request: MakeRequest) -> None:
    dataset = flat((20, 20), size=8, stored=8)
    teacher = Network(Brightness(math.nan), "broken").frozen()
    with pytest.raises(NumericalError, match="losses of crops of class 'bright' are not finite"):
        RdedImages(RdedOptions()).images(make_request(dataset, teacher, 1))


# Crops.


def slow(options: RdedOptions, asked: InitialRequest) -> Tensor:
    """Crop by crop and image by image, with the same draws."""
    dataset, draws, size = asked.dataset, asked.generator, asked.dataset.size
    own = dataset.train.of_class(asked.label)
    wanted = asked.ipc * options.factor**2
    pool = own[torch.randperm(len(own), generator=draws)][: max(options.pool, wanted)]
    side, teacher = size // options.factor, asked.teacher
    assert teacher is not None
    best: dict[int, tuple[float, Tensor]] = {}
    for part in pool.split(64):
        stored = normalise(dataset.train.images.read(part), dataset.mean, dataset.std)
        for _ in range(options.crops):
            view = draw_view(
                Augment(crop_scale=options.crop_scale, crop_ratio=(1.0, 1.0)),
                len(part),
                stored.shape[-1],
                side,
                draws,
            )
            assert view.box is not None
            for index, image, (top, left, height, width) in zip(
                part.tolist(), stored, view.box.tolist(), strict=True
            ):
                assert height == width
                share = height * width / stored.shape[-1] ** 2
                assert options.crop_scale[0] / 2 < share <= 1
                crop = F.interpolate(
                    image[None, :, top : top + height, left : left + width],
                    (side, side),
                    mode="bilinear",
                    antialias=True,
                )
                canvas = torch.zeros(1, dataset.channels, size, size)
                start = (size - side) // 2
                canvas[:, :, start : start + side, start : start + side] = crop
                odds = torch.softmax(teacher.logits(canvas), dim=1)
                loss = -math.log(float(odds[0, asked.label]))
                if index not in best or loss < best[index][0]:
                    best[index] = (loss, crop[0])
    ranked = [crop for _, crop in sorted(best.values(), key=lambda found: found[0])]
    images = []
    for j in range(asked.ipc):
        rows = [
            torch.cat(
                [ranked[(i * options.factor + k) * asked.ipc + j] for k in range(options.factor)], dim=2
            )
            for i in range(options.factor)
        ]
        images.append(torch.cat(rows, dim=1))
    return torch.stack(images)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (RdedOptions(factor=2, crops=3), 8),
        (RdedOptions(factor=1, crops=4), 8),
        (RdedOptions(factor=2, crops=2, crop_scale=(0.5, 0.6)), 6),
        (RdedOptions(factor=3, crops=1, pool=70), 9),
    ],
)
def test_the_crops_are_those_of_least_loss(
    options: RdedOptions,
    size: int,
    make_dataset: MakeDataset,
    make_network: MakeNetwork,
    make_request: MakeRequest,
) -> None:
    dataset = make_dataset((90, 90, 90), size=16, channels=3)
    dataset = replace(dataset, size=size)
    teacher = make_network(dataset)
    for label in (0, 2):
        with torch.no_grad():
            expected = slow(options, make_request(dataset, teacher, 3, label, seed=5))
        found = RdedImages(options).images(make_request(dataset, teacher, 3, label, seed=5))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        again = RdedImages(options).images(make_request(dataset, teacher, 3, label, seed=5))
        assert torch.equal(found, again)
        other = RdedImages(options).images(make_request(dataset, teacher, 3, label, seed=6))
        assert not torch.equal(found, other)


@given(factor=st.integers(1, 4), more=st.integers(0, 3), ipc=st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_tiles_stand_where_they_should_at_any_size(factor: int, more: int, ipc: int) -> None:
    size = 3 * factor + min(more, factor - 1)
    sides = [3 + (strip < size % factor) for strip in range(factor)]
    crops = torch.arange(ipc * factor**2).float().view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    images = tiled(crops, sides)
    assert images.shape == (ipc, 1, size, size)
    for j, image in enumerate(images.round()):
        assert tiles_of(image, factor) == [k * ipc + j for k in range(factor**2)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"factor": 0}, "factor must be at least 1, not 0"),
        ({"pool": 0}, "pool must be at least 1, not 0"),
        ({"crops": 0}, "crops must be at least 1, not 0"),
        ({"crop_scale": (0.0, 1.0)}, "crop_scale needs 0 < least"),
        ({"crop_scale": (0.5, 1.1)}, "crop_scale needs 0 < least"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RdedOptions(**options)
