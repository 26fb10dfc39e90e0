"""What goes into convolutions, against plain hooks and patches cut the plain way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.data.dataset import RealDataset
from condense.models.moments import group_statistics
from condense.models.network import Network
from condense.models.observation import BatchLabels, Moments
from condense.models.taps import patch_moments

MakeDataset = Callable[..., RealDataset]
MakeNetwork = Callable[..., Network]
LABELS = BatchLabels.of_real(torch.tensor([0, 1, 0]))
EQUAL = torch.full((1, 3), 1 / 3)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs_of_convolutions(network: Network, images: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    layers = [module for module in network.model.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_hook(lambda _, given, out: found.append(given[0])) for layer in layers]
    network.model(images)
    for hook in hooks:
        hook.remove()
    return found


def cut(x: Tensor, side: int) -> Tensor:
    """(patches, images * channels * positions): the published way, for lengths that `side` divides."""
    patches = [
        x[:, :, top : top + side, left : left + side].flatten()
        for top in range(0, x.shape[2], side)
        for left in range(0, x.shape[3], side)
    ]
    return torch.stack(patches)


def tapped(network: Network, images: Tensor) -> tuple[Moments, Moments]:
    seen = network.observe(images, LABELS, ["convolutions"])
    assert seen.moments is None
    assert seen.convolutions is not None
    assert seen.patches is not None
    return seen.convolutions, seen.patches


def test_statistics_of_channels_are_those_of_plain_hooks(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    network = make_network(make_dataset(channels=3))
    images = 1 + 2 * torch.randn(3, 3, 8, 8, generator=seeded())
    channels, _ = tapped(network, images)
    assert channels.layers == network.layers_of("convolutions") == ("features.0", "features.4")
    assert channels.running_mean.tolist() == [0] * 11
    assert channels.running_var.tolist() == [1] * 11
    mean, variance = group_statistics(channels, EQUAL)
    inputs = inputs_of_convolutions(network, images)
    torch.testing.assert_close(mean[0], torch.cat([x.mean((0, 2, 3)) for x in inputs]), rtol=1e-4, atol=1e-5)
    expected = torch.cat([x.var((0, 2, 3), correction=0) for x in inputs])
    torch.testing.assert_close(variance[0], expected, rtol=1e-4, atol=1e-5)
    assert channels.by_layer(torch.ones(11)).tolist() == [3, 8]


@pytest.mark.parametrize(("size", "side"), [(8, 4), (32, 4), (128, 16)])
def test_statistics_of_patches_are_those_of_pieces_that_are_cut(
    size: int, side: int, make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    network = make_network(make_dataset(size=size))
    images = torch.randn(3, 1, size, size, generator=seeded())
    _, patches = tapped(network, images)
    mean, variance = group_statistics(patches, EQUAL)
    pieces = [cut(x, side) for x in inputs_of_convolutions(network, images)]
    torch.testing.assert_close(mean[0], torch.cat([x.mean(1) for x in pieces]), rtol=1e-4, atol=1e-5)
    expected = torch.cat([x.var(1, correction=0) for x in pieces])
    torch.testing.assert_close(variance[0], expected, rtol=1e-4, atol=1e-5)
    assert patches.by_layer(torch.ones(len(mean[0]))).tolist() == [len(x) for x in pieces]


@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (5, 9), (14, 3)])
def test_a_length_that_is_no_multiple_is_stretched(shape: tuple[int, int]) -> None:
    """The mean is that of the stretched input; the second moment that of the stretched squares."""
    x = torch.randn(3, 5, *shape, generator=seeded())
    size = tuple(-(-length // 4) * 4 for length in shape)
    for moment, values in zip(patch_moments(x, 4), (x, x.square()), strict=True):
        stretched = F.interpolate(values, size, mode="bilinear")
        expected = torch.stack([cut(image[None], 4).mean(1) for image in stretched])
        torch.testing.assert_close(moment, expected, rtol=1e-4, atol=1e-5)


def test_a_constant_has_no_variance() -> None:
    mean, second = patch_moments(torch.full((2, 3, 7, 7), 1.5), 4)
    torch.testing.assert_close(second - mean.square(), torch.zeros(2, 4), rtol=0, atol=1e-5)


def test_all_taps_in_one_pass_give_what_each_gives(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    network = make_network(make_dataset())
    images = torch.randn(3, 1, 8, 8, generator=seeded())
    both = network.observe(images, LABELS, ["batchnorm", "convolutions"])
    alone = network.observe(images, LABELS, ["batchnorm"])
    channels, patches = tapped(network, images)
    for got, expected in (
        (both.moments, alone.moments),
        (both.convolutions, channels),
        (both.patches, patches),
    ):
        assert got is not None
        assert expected is not None
        assert torch.equal(got.mean, expected.mean)
        assert torch.equal(got.second, expected.second)
    assert alone.convolutions is alone.patches is None
    assert all(not module._forward_pre_hooks for module in network.model.modules())


def test_gradients_reach_every_image(make_dataset: MakeDataset, make_network: MakeNetwork) -> None:
    network = make_network(make_dataset())
    for part in ("convolutions", "patches"):
        images = torch.randn(3, 1, 8, 8, generator=seeded(), requires_grad=True)
        moments = getattr(network.observe(images, LABELS, ["convolutions"]), part)
        (gradient,) = torch.autograd.grad(moments.mean.sum() + moments.second.sum(), images)
        assert bool((gradient.flatten(1).abs().sum(1) > 0).all())


def test_under_autocast_everything_is_float32_and_near(
    make_dataset: MakeDataset, make_network: MakeNetwork
) -> None:
    network = make_network(make_dataset())
    images = torch.randn(3, 1, 8, 8, generator=seeded())
    exact = tapped(network, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = tapped(network, images)
    for got, expected in zip(rounded, exact, strict=True):
        assert {got.mean.dtype, got.second.dtype, got.running_mean.dtype} == {torch.float32}
        torch.testing.assert_close(got.mean, expected.mean, rtol=0.05, atol=0.05)
        torch.testing.assert_close(got.second, expected.second, rtol=0.1, atol=0.1)


def test_a_network_without_convolutions() -> None:
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), "linear")
    seen = network.observe(torch.zeros(3, 1, 8, 8), LABELS, ["convolutions"])
    assert network.layers_of("convolutions") == ()
    assert seen.convolutions is seen.patches is None
