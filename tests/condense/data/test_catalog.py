"""The catalogue of datasets: light to import, complete, every builder there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from condense.data.catalog import DATASETS, FolderOptions, ImagenetteOptions
from condense.recipe.specs import IMAGE_KINDS


def test_names() -> None:
    assert [spec.name for spec in DATASETS] == ["fashion-mini", "fashion-mnist", "imagenette", "folder"]
    assert {spec.name: spec.takes for spec in DATASETS if spec.takes} == {"folder": "PATH"}


def test_every_builder_can_be_imported() -> None:
    for spec in DATASETS:
        assert callable(spec.builder())


def test_kinds_of_images() -> None:
    kinds = {spec.name: spec.kind_of(spec.options(), "") for spec in DATASETS if spec.name != "folder"}
    assert kinds == {"fashion-mini": "small-grey", "fashion-mnist": "small-grey", "imagenette": "photographs"}


@pytest.mark.parametrize(("kind", "teacher"), [("small-grey", "convnet"), ("photographs", "resnet18")])
def test_a_folder_has_the_settings_of_its_kind(kind: Any, teacher: str) -> None:
    [folder] = [spec for spec in DATASETS if spec.name == "folder"]
    assert folder.kind_of(FolderOptions(like=kind), "") == kind
    assert dict(folder.settings_for(kind))["teacher.model"] == teacher
    assert set(folder.settings_by_kind) == set(IMAGE_KINDS)


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
        ({"memory_limit_gib": float("nan")}, "memory_limit_gib must not be negative, not nan"),
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
