"""Networks of torchvision and timm: stems by size, unknown names, weights that cannot be fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision.models
from torch import nn

from condense.errors import ModelError, OptionError, UnknownNameError
from condense.models.catalog import ModelRequest, ResNetOptions, TimmOptions, ZooOptions
from condense.models.zoo import build_hub, build_resnet18, build_timm, build_torchvision, torchvision_weights


def request(size: int, channels: int = 3, argument: str = "", classes: int = 4) -> ModelRequest:
    return ModelRequest(argument=argument, classes=classes, channels=channels, size=size)


@pytest.mark.parametrize(
    ("size", "channels", "stem", "side"),
    [
        (224, 3, "auto", 56),
        (128, 3, "auto", 32),
        (127, 3, "auto", 66),
        (64, 3, "auto", 34),
        (48, 3, "auto", 26),
        (47, 3, "auto", 47),
        (28, 1, "auto", 28),
        (32, 3, "imagenet", 8),
        (32, 1, "imagenet", 8),
        (32, 1, "tiny", 18),
        (64, 3, "cifar", 64),
    ],
)
def test_the_stem_of_resnet18(size: int, channels: int, stem: Any, side: int) -> None:
    model: Any = build_resnet18(ResNetOptions(stem=stem), request(size, channels))
    images = torch.zeros(2, channels, size, size)
    assert model.maxpool(model.conv1(images)).shape == (2, 64, side, side)
    assert model.fc.out_features == 4


def test_pretrained_weights_are_the_first_ones_published() -> None:
    """G-VBSM's teachers: torchvision has better weights of mobilenet_v2 by now, which its authors did not have."""
    for name in ("resnet18", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x0_5", "resnet50"):
        assert torchvision_weights(name).name == "IMAGENET1K_V1"


def test_the_stem_is_never_larger_than_the_kernel_published_for_it() -> None:
    kernels = {
        stem: build_resnet18(ResNetOptions(stem=stem), request(64)).get_submodule("conv1").kernel_size
        for stem in ("imagenet", "tiny", "cifar")
    }
    assert kernels == {"imagenet": (7, 7), "tiny": (3, 3), "cifar": (3, 3)}


@pytest.mark.parametrize("stem", ["tiny", "cifar"])
def test_pretrained_weights_exist_for_one_stem(stem: Any) -> None:
    with pytest.raises(ValueError, match=f"pretrained weights exist for stem imagenet only, not {stem}"):
        ResNetOptions(stem=stem, pretrained=True)


def test_networks_by_name() -> None:
    model = build_torchvision(ZooOptions(), request(64, argument="mobilenet_v3_small"))
    assert model.get_submodule("classifier.3").out_features == 4
    grey = build_timm(TimmOptions(), request(64, channels=1, argument="resnet10t"))
    assert grey(torch.zeros(2, 1, 64, 64)).shape == (2, 4)


@pytest.mark.parametrize(
    ("build", "argument", "message"),
    [
        (build_torchvision, "resnet81", "unknown torchvision model 'resnet81'. Did you mean 'resnet"),
        (build_timm, "resnet81x", "unknown timm model 'resnet81x'. Did you mean 'resnet"),
        (build_timm, "zzzzzz", "unknown timm model 'zzzzzz'"),
    ],
)
def test_an_unknown_network_lists_a_few_that_are_alike(build: Any, argument: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message) as caught:
        build(TimmOptions(), request(64, argument=argument))
    assert len(str(caught.value)) < 1500


def test_an_unknown_tag_of_weights_lists_those_that_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"timm:resnet50 has no weights with the tag 'b9'; .*a1_in1k"):
        build_timm(TimmOptions(), request(64, argument="resnet50.b9"))
    assert isinstance(build_timm(TimmOptions(), request(64, argument="resnet18.a1_in1k")), nn.Module)


@pytest.mark.parametrize("name", ["resnet34", "vit_b_32", "shufflenet_v2_x0_5", "googlenet"])
def test_networks_of_torchvision_see_grey_images(name: str) -> None:
    model = build_torchvision(ZooOptions(), request(64, channels=1, argument=name)).eval()
    assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 4)


def test_pretrained_filters_see_a_grey_image_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    grey = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    wanted = fetched(grey.expand(2, 3, 64, 64))
    monkeypatch.setattr(torchvision.models, "get_model", lambda _name, weights: fetched)
    asked = request(64, channels=1, argument="shufflenet_v2_x0_5", classes=1000)
    torch.testing.assert_close(build_torchvision(ZooOptions(pretrained=True), asked).eval()(grey), wanted)


def test_networks_with_classifiers_for_training_have_one_output() -> None:
    model = build_torchvision(ZooOptions(), request(64, argument="googlenet")).train()
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 4)


# Networks that are made for images of one size.


@pytest.mark.parametrize(
    ("size", "patch", "found", "grid"),
    [
        (224, 0, 16, 14),
        (28, 0, 4, 7),
        (32, 0, 4, 8),
        (64, 0, 8, 8),
        (100, 0, 10, 10),
        (128, 0, 16, 8),
        (13, 0, 1, 13),
        (64, 16, 16, 4),
        (224, 32, 32, 7),
    ],
)
def test_the_patches_of_a_vit_fit_the_images(size: int, patch: int, found: int, grid: int) -> None:
    options = TimmOptions(patch_size=patch)
    model: Any = build_timm(options, request(size, argument="vit_tiny_patch16_224"))
    assert model.patch_embed.patch_size == (found, found)
    assert model.patch_embed.grid_size == (grid, grid)
    if size < 224:
        assert model(torch.zeros(2, 3, size, size)).shape == (2, 4)


def test_pretrained_weights_keep_their_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    make = timm.create_model

    def create(name: str, *, pretrained: bool, **arguments: Any) -> nn.Module:
        if pretrained:
            asked.update(arguments)
        made: nn.Module = make(name, pretrained=False, **arguments)
        return made

    monkeypatch.setattr(timm, "create_model", create)
    build_timm(TimmOptions(pretrained=True), request(64, argument="vit_tiny_patch16_224"))
    assert asked == {"num_classes": 4, "in_chans": 3, "img_size": 64}
    with pytest.raises(ModelError, match="patches of 16x16, and images of 28x28 are not a multiple"):
        build_timm(TimmOptions(pretrained=True), request(28, argument="vit_tiny_patch16_224"))


def test_fitting_a_network_leaves_its_draws_alone() -> None:
    def weights(size: int) -> torch.Tensor:
        torch.manual_seed(3)
        model: Any = build_timm(TimmOptions(), request(size, argument="mixer_s32_224"))
        return model.head.weight + model.blocks[0].mlp_channels.fc1.weight.mean()

    torch.manual_seed(3)
    plain: Any = timm.create_model("mixer_s32_224", num_classes=4, img_size=64)
    expected = plain.head.weight + plain.blocks[0].mlp_channels.fc1.weight.mean()
    assert torch.equal(weights(64), expected)


@pytest.mark.parametrize(
    ("argument", "size", "patch", "error", "message"),
    [
        ("vit_tiny_patch16_224", 28, 5, ModelError, "28x28 cannot be cut into patches of patch_size=5"),
        (
            "resnet10t",
            32,
            4,
            OptionError,
            "the patches of timm:resnet10t have one size; leave patch_size out",
        ),
        ("mixer_s32_224", 28, 0, ModelError, "timm:mixer_s32_224 cuts images into patches of 32x32"),
    ],
)
def test_images_that_a_network_cannot_be_built_for(
    argument: str, size: int, patch: int, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        build_timm(TimmOptions(patch_size=patch), request(size, argument=argument))


def test_torchvisions_vit_takes_images_that_its_patches_divide() -> None:
    model = build_torchvision(ZooOptions(), request(64, argument="vit_b_32"))
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    with pytest.raises(ModelError, match="torchvision:vit_b_32 cannot be built for images of 28x28"):
        build_torchvision(ZooOptions(), request(28, argument="vit_b_32"))


# Weights that are fetched.


def offline(*_arguments: Any, **_options: Any) -> nn.Module:
    raise OSError("no route to host")


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet34", "timm:resnet10t"])
def test_weights_that_cannot_be_fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    library, _, argument = name.partition(":")
    with pytest.raises(
        ModelError, match=r"could not be fetched .no route to host.*--teacher FILE.*pretrained=false"
    ):
        if library == "resnet18":
            build_resnet18(ResNetOptions(pretrained=True), request(224))
        elif library == "torchvision":
            build_torchvision(ZooOptions(pretrained=True), request(224, argument=argument))
        else:
            build_timm(TimmOptions(pretrained=True), request(224, argument=argument))


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("torchvision:resnet34", "Put https://download.pytorch.org/models/resnet34-.*pth into .*checkpoints"),
        (
            "timm:resnet10t",
            "of https://huggingface.co/timm/resnet10t.c3_in1k into a folder and write timm:local-dir:F",
        ),
        ("timm:mixer_s32_224", "timm has no weights of this network"),
    ],
)
def test_the_message_says_where_weights_are_and_where_they_go(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, _, argument = name.partition(":")
    monkeypatch.setattr(torchvision.models, "get_model", offline)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match=where):
        if library == "torchvision":
            build_torchvision(ZooOptions(pretrained=True), request(224, argument=argument))
        else:
            build_timm(TimmOptions(pretrained=True), request(224, argument=argument))


def test_a_network_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    make = timm.create_model

    def create(name: str, **arguments: Any) -> nn.Module:
        asked.append(name)
        made: nn.Module = make("resnet10t", **arguments)
        return made

    monkeypatch.setattr(timm, "create_model", create)
    model: Any = build_hub(TimmOptions(), request(64, argument="someone/pets"))
    assert set(asked) == {"hf-hub:someone/pets"}
    assert model.fc.out_features == 4


def test_a_network_in_a_folder_with_its_weights(tmp_path: Path) -> None:
    made = timm.create_model("resnet10t", num_classes=4)
    timm.models.save_for_hf(made, tmp_path, model_config={"num_classes": 4}, safe_serialization=True)
    model = build_timm(TimmOptions(pretrained=True), request(64, argument=f"local-dir:{tmp_path}"))
    assert all(torch.equal(mine, model.state_dict()[name]) for name, mine in made.state_dict().items())
    with pytest.raises(ModelError, match=r"absent needs config.json and model.safetensors"):
        build_timm(TimmOptions(), request(64, argument=f"local-dir:{tmp_path / 'absent'}"))


@pytest.mark.parametrize(("classes", "fresh"), [(4, True), (1000, False)])
def test_the_classifier_is_new_where_the_number_of_classes_differs(
    classes: int, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = torchvision.models.mobilenet_v3_small(weights=None)
    before = fetched.classifier[3]
    monkeypatch.setattr(torchvision.models, "get_model", lambda _name, weights: fetched)
    model = build_torchvision(
        ZooOptions(pretrained=True), request(224, argument="mobilenet_v3_small", classes=classes)
    )
    classifier = model.get_submodule("classifier.3")
    assert (classifier is not before) is fresh
    assert classifier.out_features == classes
    assert model.get_submodule("classifier.0") is fetched.classifier[0]
