"""Pixels to what networks see and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.data.pixels import centre_crop, normalise, to_bytes, valid_range

means = st.floats(0.0, 1.0)
stds = st.floats(0.01, 2.0)
EVERY_BYTE = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


def test_normalising_by_hand() -> None:
    pixels = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    expected = torch.tensor([[[[-2.0, 2.0]], [[0.0, 0.4]]]])
    torch.testing.assert_close(normalise(pixels, (0.5, 0.2), (0.25, 0.5)), expected)


@given(st.lists(st.tuples(means, stds), min_size=1, max_size=3))
@settings(deadline=None)
def test_every_byte_comes_back(statistics: list[tuple[float, float]]) -> None:
    mean, std = [pair[0] for pair in statistics], [pair[1] for pair in statistics]
    pixels = EVERY_BYTE.expand(2, len(mean), 16, 16)
    assert torch.equal(to_bytes(normalise(pixels, mean, std), mean, std), pixels)


@given(means, stds)
@settings(deadline=None)
def test_the_valid_range_is_what_the_least_and_greatest_byte_become(mean: float, std: float) -> None:
    low, high = valid_range((mean,), (std,), torch.zeros(()))
    seen = normalise(EVERY_BYTE, (mean,), (std,))
    torch.testing.assert_close(low.item(), seen.min().item(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(high.item(), seen.max().item(), rtol=1e-5, atol=1e-5)
    assert low.shape == high.shape == (1, 1, 1, 1)


def test_the_range_is_one_for_each_channel() -> None:
    low, high = valid_range((0.5, 0.2), (0.25, 0.1), torch.zeros(()))
    torch.testing.assert_close(low.flatten(), torch.tensor([-2.0, -2.0]))
    torch.testing.assert_close(high.flatten(), torch.tensor([2.0, 8.0]))


def test_bytes_are_rounded_and_clipped() -> None:
    images = torch.tensor([-1.0, 0.0, 0.6, 254.4, 254.6, 255.0, 300.0]).view(1, 1, 1, 7) / 255
    assert to_bytes(images, (0.0,), (1.0,)).flatten().tolist() == [0, 0, 1, 254, 255, 255, 255]


@pytest.mark.parametrize(
    ("height", "width", "size", "rows", "columns"),
    [
        (4, 4, 4, (0, 4), (0, 4)),
        (6, 4, 2, (2, 4), (1, 3)),
        (5, 7, 2, (1, 3), (2, 4)),
        (5, 5, 4, (0, 4), (0, 4)),
    ],
)
def test_the_centre(
    height: int, width: int, size: int, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    images = torch.arange(height * width).view(1, 1, height, width)
    assert torch.equal(centre_crop(images, size), images[:, :, slice(*rows), slice(*columns)])
