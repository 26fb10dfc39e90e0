"""The mosaic: tiles that are enlarged as torch enlarges them, the nearest small images, and gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from condense.data.parametrizations.catalog import MosaicOptions
from condense.data.parametrizations.standard import Mosaic
from condense.errors import DataError

# Side lengths that the factor divides, and others; one image is higher than wide.
SHAPES = [(2, 8, 8), (2, 28, 28), (3, 28, 28), (3, 9, 12), (2, 7, 5), (4, 10, 11), (1, 6, 6)]


def mosaic(factor: int, reduce: str = "fit") -> Mosaic:
    return Mosaic(MosaicOptions(factor=factor, reduce=reduce))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def edges(factor: int, side: int) -> list[tuple[int, int]]:
    """Where each tile begins and ends: the first side % factor tiles are one pixel longer."""
    sizes = [side // factor + (number < side % factor) for number in range(factor)]
    ends = [sum(sizes[: number + 1]) for number in range(factor)]
    return [(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def slow(stored: Tensor, factor: int) -> Tensor:
    """Tile by tile, image by image, with torch's own interpolation."""
    images = []
    for image in stored:
        for top, bottom in edges(factor, image.shape[1]):
            for left, right in edges(factor, image.shape[2]):
                tile = image[None, :, top:bottom, left:right]
                size = tuple(image.shape[1:])
                images.append(F.interpolate(tile, size=size, mode="bilinear", align_corners=False)[0])
    return torch.stack(images)


@pytest.mark.parametrize(("factor", "height", "width"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiles_are_enlarged_as_torch_enlarges_them(
    factor: int, height: int, width: int, dtype: torch.dtype
) -> None:
    stored = noise(3, 2, height, width).to(dtype)
    found = mosaic(factor).decode(stored)
    assert found.dtype == dtype
    assert found.shape == (3 * factor**2, 2, height, width)
    torch.testing.assert_close(found, slow(stored, factor))


def test_where_the_factor_divides_it_is_the_multi_formation_of_idc() -> None:
    """`nn.Upsample(size, mode="bilinear")` of crops, in IDC's order: the first tiles of all images first."""
    stored = noise(3, 1, 12, 12)
    crops = [
        stored[:, :, top : top + 6, left : left + 6] for top in range(0, 12, 6) for left in range(0, 12, 6)
    ]
    published = torch.nn.Upsample(size=(12, 12), mode="bilinear")(torch.cat(crops))
    ours = mosaic(2).decode(stored)
    torch.testing.assert_close(ours, published.view(4, 3, 1, 12, 12).transpose(0, 1).flatten(0, 1))


def test_a_factor_of_one_changes_nothing() -> None:
    images = noise(2, 3, 6, 6)
    torch.testing.assert_close(mosaic(1).decode(images), images)
    torch.testing.assert_close(mosaic(1).encode(images), images)


@pytest.mark.parametrize(("factor", "height", "width"), SHAPES)
def test_what_was_stored_comes_back(factor: int, height: int, width: int) -> None:
    stored = noise(2, 1, height, width)
    torch.testing.assert_close(mosaic(factor).encode(mosaic(factor).decode(stored)), stored)


@pytest.mark.parametrize(("factor", "height", "width"), SHAPES)
def test_the_stored_image_is_the_one_whose_decoded_images_are_nearest(
    factor: int, height: int, width: int
) -> None:
    """Against a general solver of least squares, with the whole linear map written out pixel by pixel."""
    count = factor**2
    units = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    rows = slow(units, factor).view(height * width, count * height * width)
    images = noise(count, 1, height, width, seed=3)
    wanted = torch.linalg.lstsq(rows.T, images.flatten()[:, None]).solution.view(1, 1, height, width)
    torch.testing.assert_close(mosaic(factor).encode(images), wanted)


@pytest.mark.parametrize("factor", [2, 3])
def test_samples_are_single_pixels(factor: int) -> None:
    """Pixel floor(i S / s) of a line of S pixels for pixel i of s, as torch's mode "nearest" has it."""
    images = noise(factor**2, 1, 28, 28)
    stored = mosaic(factor, "sample").encode(images)
    for number, image in enumerate(images[:, 0]):
        top, bottom = edges(factor, 28)[number // factor]
        left, right = edges(factor, 28)[number % factor]
        for row in range(bottom - top):
            for column in range(right - left):
                picked = image[
                    math.floor(row * 28 / (bottom - top)), math.floor(column * 28 / (right - left))
                ]
                assert stored[0, 0, top + row, left + column] == picked


@pytest.mark.parametrize(("factor", "side"), [(2, 6), (3, 7)])
def test_gradients(factor: int, side: int) -> None:
    stored = noise(2, 1, side, side).requires_grad_(True)
    assert torch.autograd.gradcheck(mosaic(factor).decode, (stored,))
    # And against finite differences of a loss of the slow formula, without autograd.
    target = noise(2 * factor**2, 1, side, side, seed=1)
    loss = (mosaic(factor).decode(stored) - target).square().sum()
    loss.backward()
    assert stored.grad is not None
    step = 1e-6
    for place in [(0, 0, 0, 0), (0, 0, 2, 3), (1, 0, side - 1, side - 1)]:
        values = []
        for sign in (1, -1):
            moved = stored.detach().clone()
            moved[place] += sign * step
            values.append(float((slow(moved, factor) - target).square().sum()))
        assert float(stored.grad[place]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("reduce", ["fit", "sample"])
def test_a_packed_image_is_nearest_to_the_one_it_came_from(reduce: str) -> None:
    """Smooth images, like real ones: waves of random direction and phase, no two alike."""
    draws = torch.Generator().manual_seed(2)
    lines = torch.linspace(0, 1, 28)
    waves = [
        torch.sin(5 * (a * lines[:, None] + b * lines[None, :]) + c)
        for a, b, c in (2 * torch.rand(24, 3, generator=draws) - 1).tolist()
    ]
    images = torch.stack(waves)[:, None]
    decoded = mosaic(2, reduce).decode(mosaic(2, reduce).encode(images))
    away = torch.cdist(decoded.flatten(1), images.flatten(1))
    assert away.argmin(dim=1).tolist() == list(range(24))


@pytest.mark.parametrize("method", ["encode", "decode"])
def test_more_tiles_than_pixels_are_refused(method: str) -> None:
    with pytest.raises(DataError, match=r"5 x 5 images does not fit into 8x4 pixels; use a smaller"):
        getattr(mosaic(5), method)(torch.zeros(25, 1, 8, 4))


@pytest.mark.parametrize(
    ("options", "text"), [({"factor": 0}, "factor must be at least 1"), ({"reduce": "x"}, "reduce")]
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MosaicOptions(**options)
