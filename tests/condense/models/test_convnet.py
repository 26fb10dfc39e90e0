"""The ConvNet: its shapes, its norms, what it cannot take."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from condense.errors import ModelError
from condense.models.catalog import ConvNetOptions, ModelRequest
from condense.models.convnet import ConvNet, InstanceNorm, build_convnet


def request(size: int, channels: int = 3) -> ModelRequest:
    return ModelRequest(argument="", classes=7, channels=channels, size=size)


@pytest.mark.parametrize(
    ("size", "depth", "side"),
    [(28, 3, 4), (32, 3, 4), (64, 4, 4), (8, 3, 1), (30, 2, 7), (28, 5, 1), (9, 1, 4)],
)
def test_every_layer_halves_the_image(size: int, depth: int, side: int) -> None:
    model = ConvNet(ConvNetOptions(width=6, depth=depth), request(size))
    images = torch.randn(2, 3, size, size)
    assert model.features(images).shape == (2, 6, side, side)
    assert model.classifier.in_features == 6 * side * side
    assert model(images).shape == (2, 7)


def test_images_of_28_pixels_are_padded_to_32_by_the_first_convolution() -> None:
    model = ConvNet(ConvNetOptions(width=6), request(28, channels=1))
    assert model.features[0](torch.randn(2, 1, 28, 28)).shape == (2, 6, 32, 32)


def test_the_published_size() -> None:
    """ConvNet-3 of width 128 on 32x32 colour images has 320,010 weights (Zhao et al.'s ConvNetD3 for CIFAR-10)."""
    model = build_convnet(ConvNetOptions(), ModelRequest(argument="", classes=10, channels=3, size=32))
    convolutions = (3 * 9 + 1) * 128 + 2 * (128 * 9 + 1) * 128
    norms = 3 * 2 * 128
    classifier = (128 * 4 * 4 + 1) * 10
    assert convolutions + norms + classifier == 320_010
    assert sum(parameter.numel() for parameter in model.parameters()) == 320_010


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", InstanceNorm), ("none", None)]
)
def test_norms(norm: str, kind: type[nn.Module] | None) -> None:
    model = ConvNet(ConvNetOptions(width=6, norm=norm), request(32))  # type: ignore[arg-type]
    norms = [type(module) for module in model.modules() if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm))]
    assert norms == ([] if kind is None else [kind] * 3)


def test_instance_norm_treats_every_image_and_channel_on_its_own() -> None:
    model = ConvNet(ConvNetOptions(width=6, depth=1, norm="instance"), request(32))
    x = torch.randn(2, 6, 32, 32) * 3 + 1
    torch.testing.assert_close(model.features[1](x), nn.functional.instance_norm(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_instance_norm_is_group_norm_in_any_layout(layout: torch.memory_format, dtype: torch.dtype) -> None:
    """Output, gradient and second derivative; the names of the weights, too."""
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 8, 8, generator=draws).to(dtype, memory_format=layout)
    ours, theirs = InstanceNorm(6), nn.GroupNorm(6, 6)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    found = []
    for norm in (ours, theirs):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1, 2, 6))
            quiet = norm(x)
        inputs = x.clone().requires_grad_(True)
        outputs = norm(inputs)
        torch.testing.assert_close(outputs, quiet)
        slopes = torch.autograd.grad((outputs.float() ** 3).sum(), [inputs, norm.weight], create_graph=True)
        found.append([outputs, *slopes, *torch.autograd.grad(slopes[1].square().sum(), inputs)])
    # Both round to bfloat16 in between, and in the other layout not in the same places.
    share = 1e-5 if dtype is torch.float32 else 0.05
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=share, atol=share * float(other.detach().abs().max()))


@pytest.mark.parametrize(("size", "depth"), [(28, 6), (16, 5), (7, 3)])
def test_a_network_too_deep_for_the_images(size: int, depth: int) -> None:
    with pytest.raises(
        ModelError, match=f"depth {depth} halves the image {depth} times.*{size}x{size}.*smaller depth"
    ):
        ConvNet(ConvNetOptions(depth=depth), request(size))


@pytest.mark.parametrize("options", [{"width": 0}, {"depth": 0}])
def test_sizes_below_one(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"(width|depth) must lie between 1 and \d+, not 0"):
        ConvNetOptions(**options)  # type: ignore[arg-type]
