"""The catalogue of datasets: light to import, complete, every builder there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from condense.data.catalog import DATASETS, FolderOptions, ImagenetteOptions


def test_names() -> None:
    assert [spec.name for spec in DATASETS] == ["fashion-mini", "fashion-mnist", "imagenette", "folder"]
    assert {spec.name: spec.takes for spec in DATASETS if spec.takes} == {"folder": "PATH"}


def test_every_builder_can_be_imported() -> None:
    for spec in DATASETS:
        assert callable(spec.builder())


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
