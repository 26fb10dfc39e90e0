"""The catalogue of datasets: light to import, complete, every builder there."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from condense.data.catalog import DATASETS
from condense.data.options import FolderOptions, ImageNetOptions, ImagenetteOptions, TinyImageNetOptions
from condense.recipe.specs import IMAGE_KINDS, DatasetSpec


def test_names() -> None:
    assert [spec.name for spec in DATASETS] == [
        *("fashion-mini", "fashion-mnist", "mnist", "svhn", "cifar10", "cifar100", "tiny-imagenet"),
        *("imagenette", "imagewoof", "imagenet-1k", "folder", "hf"),
    ]
    assert {spec.name: spec.takes for spec in DATASETS if spec.takes} == {"folder": "PATH", "hf": "NAME"}


def test_every_builder_can_be_imported() -> None:
    for spec in DATASETS:
        assert callable(spec.builder())


def test_kinds_of_images() -> None:
    kinds = {spec.name: spec.kind_of(spec.options(), "") for spec in DATASETS if not spec.takes}
    assert kinds == {
        **dict.fromkeys(("fashion-mini", "fashion-mnist", "mnist"), "small-grey"),
        **dict.fromkeys(("svhn", "cifar10", "cifar100", "tiny-imagenet"), "small-colour"),
        **dict.fromkeys(("imagenette", "imagewoof", "imagenet-1k"), "photographs"),
    }


@pytest.mark.parametrize("spec", [spec for spec in DATASETS if not spec.takes], ids=lambda spec: spec.name)
def test_the_facts_agree_with_the_summary_and_the_kind(spec: DatasetSpec) -> None:
    training, tests = spec.images
    told = {int(number) for number in re.findall(r"\d+", spec.summary)}
    if spec.name != "fashion-mini":  # Its summary counts the images of one class.
        assert {training, tests} <= told
    assert spec.side in told
    assert (spec.side >= 128) == (spec.like == "photographs")
    assert spec.classes > 1 and spec.licence and spec.fetched


def test_digits_are_not_mirrored() -> None:
    mirrored = {spec.name: spec.settings.get("teacher.augment.flip") for spec in DATASETS}
    assert {name for name, flip in mirrored.items() if flip is False} == {"mnist", "svhn"}


@pytest.mark.parametrize(("kind", "teacher"), [("small-grey", "convnet"), ("photographs", "resnet18")])
def test_a_folder_has_the_settings_of_its_kind(kind: Any, teacher: str) -> None:
    [folder] = [spec for spec in DATASETS if spec.name == "folder"]
    assert folder.kind_of(FolderOptions(like=kind), "") == kind
    assert dict(folder.settings_for(kind, "fkd"))["teacher.model"] == teacher
    assert set(folder.settings_by_kind) == set(IMAGE_KINDS)
    # Tests of methods look at folders alone: the kind of a dataset of the hub is found from what is fetched.
    [hub] = [spec for spec in DATASETS if spec.name == "hf"]
    assert (hub.settings, hub.settings_by_kind) == (folder.settings, folder.settings_by_kind)


def test_importing_it_is_light() -> None:
    code = (
        "import sys, condense.data.catalog\n"
        "heavy = {'torch', 'numpy', 'PIL', 'torchvision'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"size": 7}, "size must be at least 8 pixels, or 0 for automatic, not 7"),
        ({"size": -1}, "not -1"),
        ({"resize_share": 0.5}, "resize_share must be between 1 and 4, or 0 for automatic, not 0.5"),
        ({"test_share": 0.0}, "test_share must be above 0 and below 1, not 0.0"),
        ({"test_share": 1.0}, "test_share must be above 0 and below 1, not 1.0"),
        ({"memory_limit_gib": -1.0}, "memory_limit_gib must not be negative, not -1.0"),
        ({"memory_limit_gib": float("nan")}, "memory_limit_gib must be a finite number, not nan"),
    ],
)
def test_folder_options_are_checked(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        FolderOptions(**settings)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"variant": "640px"}, "variant must be one of full, 320px, 160px, not '640px'"),
        ({"size": 0}, "size must be at least 8 pixels, not 0"),
        ({"memory_limit_gib": -0.5}, "memory_limit_gib must not be negative, not -0.5"),
    ],
)
def test_imagenette_options_are_checked(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ImagenetteOptions(**settings)


def test_the_other_options_are_checked() -> None:
    with pytest.raises(ValueError, match="size must be at least 8 pixels, not 0"):
        ImageNetOptions(size=0)
    for options in (ImageNetOptions, TinyImageNetOptions):
        with pytest.raises(ValueError, match="memory_limit_gib must not be negative, not -1"):
            options(memory_limit_gib=-1.0)


@pytest.mark.parametrize("facts", [{"classes": -1}, {"images": (5, -1)}, {"side": -8}])
def test_facts_of_a_dataset_are_not_negative(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="classes, images and side are numbers from 0"):
        DatasetSpec(name="mine", summary="x", build="builtins:dict", **facts)
