"""What a network shows of a batch, against hooks and BatchNorm layers read the plain way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense.errors import ModelError
from condense.models.moments import group_statistics
from condense.models.network import Network, classifiers_of
from condense.models.observation import BatchLabels

BATCH, CLASSES = 3, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Small(nn.Module):
    """Two normed convolutions, a normed vector, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.third = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.second(self.first(images)).mean(dim=(2, 3))
        return self.head(self.third(pooled))


@pytest.fixture
def small() -> Network:
    """With running statistics that are not their initial ones."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Small()
        for _ in range(3):
            model(1 + 2 * torch.randn(8, 3, 9, 9))
    return Network(model, "small").frozen()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(BATCH, 3, 9, 9, generator=seeded(1))


LABELS = BatchLabels.of_real(torch.tensor([0, 1, 0]))


def torchvision_model(name: str) -> nn.Module:
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=CLASSES)


def timm_model(name: str, **options: Any) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)


def convnet() -> nn.Module:
    from condense.models.catalog import ConvNetOptions, ModelRequest
    from condense.models.convnet import ConvNet

    return ConvNet(ConvNetOptions(width=8), ModelRequest(argument="", classes=CLASSES, channels=3, size=32))


# One network of each family, and the side length of its images.
ZOO: list[tuple[str, Callable[[], nn.Module], str, int]] = [
    ("convnet", convnet, "classifier", 32),
    ("resnet18", lambda: torchvision_model("resnet18"), "fc", 64),
    ("mobilenet", lambda: torchvision_model("mobilenet_v3_small"), "classifier.3", 64),
    ("shufflenet", lambda: torchvision_model("shufflenet_v2_x0_5"), "fc", 64),
    ("regnet", lambda: torchvision_model("regnet_y_400mf"), "fc", 64),
    ("mnasnet", lambda: torchvision_model("mnasnet0_5"), "classifier.1", 64),
    ("timm resnet", lambda: timm_model("resnet10t"), "fc", 64),
    ("timm vit", lambda: timm_model("vit_tiny_patch16_224", img_size=64), "head", 64),
    ("timm deit", lambda: timm_model("deit_tiny_patch16_224", img_size=64), "head", 64),
    ("timm mixer", lambda: timm_model("mixer_s32_224", img_size=64), "head", 64),
    (
        "timm swin",
        lambda: timm_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), img_size=64),
        "head.fc",
        64,
    ),
    ("timm convnext", lambda: timm_model("convnext_atto"), "head.fc", 64),
    ("timm efficientnet", lambda: timm_model("efficientnet_b0"), "classifier", 64),
    ("timm mobilenetv3", lambda: timm_model("mobilenetv3_small_050"), "classifier", 64),
    ("timm regnet", lambda: timm_model("regnetx_002"), "head.fc", 64),
    ("timm densenet", lambda: timm_model("densenet121", block_config=(2, 2, 2, 2)), "classifier", 64),
    ("timm vgg", lambda: timm_model("vgg11", mlp_ratio=0.02), "head.fc", 64),
]


@pytest.mark.parametrize(("build", "path", "size"), [case[1:] for case in ZOO], ids=[case[0] for case in ZOO])
def test_features_are_what_the_classifier_turns_into_logits(
    build: Callable[[], nn.Module], path: str, size: int
) -> None:
    model = build()
    assert classifiers_of(model) == (model.get_submodule(path),)
    network = Network(model, "zoo").frozen()
    images = torch.randn(BATCH, 3, size, size, generator=seeded())
    with torch.no_grad():
        seen = network.observe(images, LABELS, ["batchnorm"])
        expected = model(images)
    classifier = model.get_submodule(path)
    assert isinstance(classifier, nn.Linear)
    assert seen.features.shape == (BATCH, classifier.in_features)
    torch.testing.assert_close(seen.logits, expected)
    torch.testing.assert_close(classifier(seen.features), expected)
    assert (seen.moments is not None) == (len(network.layers_of("batchnorm")) > 0)


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto", "mobilenetv3_small_050", "regnetx_002"])
def test_features_are_those_that_timm_itself_names(name: str) -> None:
    model: Any = timm_model(name)
    images = torch.randn(BATCH, 3, 64, 64, generator=seeded())
    with torch.no_grad():
        seen = Network(model, name).frozen().observe(images, LABELS)
        named = model.forward_head(model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(seen.features, named)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("deit_tiny_distilled_patch16_224", {"img_size": 64, "depth": 1}),
        ("crossvit_tiny_240", {"img_size": 240}),
    ],
)
def test_a_network_with_two_classifiers_shows_the_inputs_of_both(name: str, options: dict[str, Any]) -> None:
    model = timm_model(name, **options)
    images = torch.randn(BATCH, 3, options["img_size"], options["img_size"], generator=seeded())
    with torch.no_grad():
        seen = Network(model, name).frozen().observe(images, LABELS)
    layers = [layer for layer in classifiers_of(model) if isinstance(layer, nn.Linear)]
    assert len(layers) == 2
    parts = seen.features.split([layer.in_features for layer in layers], dim=1)
    logits = [layer(part) for layer, part in zip(layers, parts, strict=True)]
    torch.testing.assert_close((logits[0] + logits[1]) / 2, seen.logits)


def test_a_student_needs_no_features() -> None:
    network = Network(torchvision_model("squeezenet1_1"), "squeezenet").frozen()
    images = torch.zeros(BATCH, 3, 64, 64)
    assert network.logits(images).shape == (BATCH, CLASSES)
    with pytest.raises(ModelError, match="SqueezeNet has no linear classifier"):
        network.observe(images, LABELS)


def test_a_model_without_a_linear_layer_has_no_classifier() -> None:
    with pytest.raises(ModelError, match="Conv2d has no linear classifier"):
        classifiers_of(nn.Conv2d(3, 4, 3))


def test_a_classifier_that_is_never_called() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 2)

        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(2, 3))

    network = Network(Odd(), "odd")
    with pytest.raises(ModelError, match="odd: the classifier was not called"):
        network.observe(torch.zeros(2, 3, 4, 4), LABELS)
    assert not network.model.get_submodule("unused")._forward_pre_hooks


def test_observing_changes_nothing(small: Network, images: Tensor) -> None:
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    expected = small.model(images)
    seen = small.observe(images, LABELS, ["batchnorm"])
    torch.testing.assert_close(seen.logits, expected, rtol=0, atol=0)
    assert seen.images is images
    assert seen.batch is LABELS
    assert all(torch.equal(before[name], value) for name, value in small.model.state_dict().items())
    hooks = [module._forward_pre_hooks for module in small.model.modules()]
    assert all(not registered for registered in hooks)


def test_taps_are_removed_after_an_error(small: Network) -> None:
    with pytest.raises(RuntimeError):
        small.observe(torch.zeros(BATCH, 7, 9, 9), LABELS, ["batchnorm"])
    assert all(not module._forward_pre_hooks for module in small.model.modules())


def test_moments_are_those_of_the_inputs_of_each_layer(small: Network, images: Tensor) -> None:
    inputs: dict[str, Tensor] = {}
    names = {module: name for name, module in small.model.named_modules()}
    handles = [
        module.register_forward_hook(
            lambda layer, given, _out: inputs.update({names[layer]: given[0].double()})
        )
        for name, module in small.model.named_modules()
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))
    ]
    small.model(images)
    for handle in handles:
        handle.remove()
    moments = small.observe(images, LABELS, ["batchnorm"]).moments
    assert moments is not None
    assert moments.layers == small.layers_of("batchnorm") == ("first.1", "second.1", "third")
    means, seconds = moments.mean.split([4, 6, 6], dim=1), moments.second.split([4, 6, 6], dim=1)
    for layer, mean, second in zip(moments.layers, means, seconds, strict=True):
        x = inputs[layer].flatten(2) if inputs[layer].dim() > 2 else inputs[layer][:, :, None]
        centre = small.model.get_submodule(layer).running_mean.double()  # type: ignore[union-attr]
        torch.testing.assert_close(mean.double(), x.mean(dim=2), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            second.double(), (x - centre[:, None]).square().mean(dim=2), rtol=1e-5, atol=1e-6
        )
    norms = [small.model.get_submodule(layer) for layer in moments.layers]
    assert torch.equal(moments.running_mean, torch.cat([norm.running_mean for norm in norms]))  # type: ignore[misc]
    assert torch.equal(moments.running_var, torch.cat([norm.running_var for norm in norms]))  # type: ignore[misc]
    assert moments.by_layer(torch.ones(16)).tolist() == [4, 6, 6]


def test_the_moments_of_a_batch_are_what_batch_norm_normalises_with(images: Tensor) -> None:
    """In train mode a layer normalises with the batch's own statistics and then moves its running ones."""
    model = Small()
    model.train().requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model(5 + torch.randn(8, 3, 9, 9))
    before = model.first[1].running_mean.clone()
    pixels = images.clone().requires_grad_()
    moments = Network(model, "fresh").observe(pixels, LABELS, ["batchnorm"]).moments
    assert moments is not None
    mean, variance = group_statistics(moments, torch.full((1, BATCH), 1 / BATCH))
    x = model.first[0](images)
    torch.testing.assert_close(moments.running_mean[:4], before)
    torch.testing.assert_close(mean[0, :4], x.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance[0, :4], x.var(dim=(0, 2, 3), correction=0), rtol=1e-3, atol=1e-4)
    variance.sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


def test_gradients_flow_to_the_images(small: Network, images: Tensor) -> None:
    for part in ("features", "logits", "mean", "second"):
        pixels = images.clone().requires_grad_()
        seen = small.observe(pixels, LABELS, ["batchnorm"])
        value = getattr(seen, part) if part in ("features", "logits") else getattr(seen.moments, part)
        value.square().sum().backward()
        assert pixels.grad is not None
        assert bool((pixels.grad.flatten(1).abs().sum(dim=1) > 0).all()), part
    assert all(parameter.grad is None for parameter in small.model.parameters())


def test_moments_only_if_they_are_asked_for(small: Network, images: Tensor) -> None:
    assert small.observe(images, LABELS).moments is None
    bare = Network(nn.Sequential(nn.Flatten(), nn.Linear(243, 2)), "bare")
    assert bare.layers_of("batchnorm") == ()
    assert bare.observe(images, LABELS, ["batchnorm"]).moments is None


def test_norms_without_running_statistics_are_not_tapped(images: Tensor) -> None:
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    network = Network(nn.Sequential(norm, nn.Flatten(), nn.Linear(243, 2)), "batch only")
    assert network.layers_of("batchnorm") == ()
    assert network.observe(images, LABELS, ["batchnorm"]).moments is None


def test_under_autocast_everything_that_is_shown_is_float32(small: Network, images: Tensor) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = small.observe(images, LABELS, ["batchnorm"])
    assert seen.moments is not None
    shown = (seen.features, seen.logits, seen.moments.mean, seen.moments.second, seen.moments.running_mean)
    assert {value.dtype for value in shown} == {torch.float32}
