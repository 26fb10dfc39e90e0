"""How pretrained weights want their images, as torchvision and timm say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm

from condense.data.headers import choose_sizes
from condense.data.preprocessing import Preprocessing
from condense.data.published import IMAGENET_MEAN, IMAGENET_STD
from condense.errors import ModelError, UnknownNameError
from condense.models.catalog import MODELS
from condense.models.pretrained import preprocessing_of
from condense.recipe.method import Use
from condense.recipe.registry import Offer, Registry

REGISTRY = Registry({"model": {spec.name: Offer("condense", spec) for spec in MODELS}}, (), {})
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def wanted(name: str, **options: Any) -> Preprocessing | None:
    return preprocessing_of(Use(name=name, options={"pretrained": True, **options}), REGISTRY)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", Preprocessing(size=224, resize_share=256 / 224, **IMAGENET)),
        ("torchvision:resnet50", Preprocessing(size=224, resize_share=256 / 224, **IMAGENET)),
        ("torchvision:inception_v3", Preprocessing(size=299, resize_share=342 / 299, **IMAGENET)),
        ("timm:resnet50.a1_in1k", Preprocessing(size=224, resize_share=1 / 0.95, **IMAGENET)),
        (
            "timm:vit_tiny_patch16_384",
            Preprocessing(size=384, resize_share=1.0, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        ),
    ],
)
def test_what_the_libraries_say(name: str, expected: Preprocessing) -> None:
    assert wanted(name) == expected


@pytest.mark.parametrize("name", ["resnet18", "torchvision:resnet50", "timm:resnet50", "convnet", "ensemble"])
def test_random_weights_want_nothing(name: str) -> None:
    assert preprocessing_of(Use(name=name), REGISTRY) is None


def test_weights_in_a_folder_say_it_themselves(tmp_path: Path) -> None:
    made = timm.create_model("resnet10t", num_classes=4)
    made.pretrained_cfg |= {
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "crop_pct": 0.8,
        "input_size": (3, 96, 96),
    }
    timm.models.save_for_hf(made, tmp_path, model_config={"num_classes": 4}, safe_serialization=True)
    assert wanted(f"timm:local-dir:{tmp_path}") == Preprocessing(
        size=96, resize_share=1 / 0.8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )


@pytest.mark.parametrize("name", ["timm:resnet5000", "torchvision:resnet5000"])
@pytest.mark.parametrize("pretrained", [True, False])
def test_an_unknown_name_is_found_before_the_dataset_is_read(name: str, pretrained: bool) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet50"):
        wanted(name, pretrained=pretrained)


def test_the_members_of_an_ensemble_want_the_same() -> None:
    assert wanted("ensemble", members=("resnet18", "torchvision:shufflenet_v2_x0_5")) == wanted("resnet18")
    with pytest.raises(ModelError, match="the members of an ensemble see the same images"):
        wanted("ensemble", members=("resnet18", "timm:vit_tiny_patch16_224"))


def test_the_teacher_of_imagenet_wants_what_the_dataset_has() -> None:
    """So that the presets of ImageNet-1K give the images that they gave before."""
    assert choose_sizes(224, 0.0, (), wanted("resnet18")) == choose_sizes(224, 0.0, ()) == (224, 256)
    found = wanted("resnet18")
    assert found is not None
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)
