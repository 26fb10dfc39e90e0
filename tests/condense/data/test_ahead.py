"""What can be told of a dataset's images without loading them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.data.ahead import check_images_ahead, kept_of
from condense.errors import DataError
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure

REGISTRY = load_registry(environment={})


def check(dataset: str, ipc: int, validation: float = 0.0) -> None:
    recipe = configure(REGISTRY, method="random", ipc=ipc).recipe
    changed = replace(
        recipe, dataset=replace(recipe.dataset, name=dataset, options={}), validation=validation
    )
    check_images_ahead(changed, REGISTRY)


@pytest.mark.parametrize(
    ("dataset", "enough", "validation"),
    [("cifar10", 5000, 0.0), ("cifar10", 4500, 0.1), ("cifar100", 500, 0.0), ("imagenette", 946, 0.0)],
)
def test_published_numbers(dataset: str, enough: int, validation: float) -> None:
    check(dataset, enough, validation)
    with pytest.raises(DataError, match=f"^{enough + 1} images per class .* use --ipc {enough} or less"):
        check(dataset, enough + 1, validation)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Three cats and five dogs, which nobody decodes, in train/ and val/."""
    for split, label, count in (
        ("train", "cat", 3),
        ("train", "dog", 5),
        ("val", "cat", 1),
        ("val", "dog", 1),
    ):
        folder = tmp_path / "pets" / split / label
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").write_bytes(b"")
    return tmp_path / "pets"


def test_class_folders_are_counted(pets: Path) -> None:
    check(f"folder:{pets}", 3)
    with pytest.raises(DataError) as caught:
        check(f"folder:{pets}", 4)
    assert str(caught.value) == (
        "4 images per class were asked for, and the smallest class of 'folder:pets', 'cat', has only 3; use --ipc 3 "
        "or less"
    )
    check(f"folder:{pets / 'train'}", 3)  # nothing is split yet
    check(f"folder:{pets}", 2, validation=0.3)
    with pytest.raises(DataError, match="'cat', has only 2"):
        check(f"folder:{pets}", 3, validation=0.3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "nowhere does not exist; expected .*nowhere/train/CLASS"),
        ("train/cat/0.png", r"0\.png is a file, not a folder"),
        ("train/cat", r"train/cat has no class folders"),
    ],
)
def test_folders_that_hold_no_dataset(path: str, message: str, pets: Path) -> None:
    with pytest.raises(DataError, match=message):
        check(f"folder:{pets / path}", 1)


@given(st.integers(2, 200), st.floats(0.001, 0.999), st.integers(1, 60))
def test_what_stays_is_what_holding_out_leaves(count: int, fraction: float, more: int) -> None:
    kept = kept_of(count, fraction)
    assert 1 <= kept < count
    assert kept_of(count, 0.0) == count
    assert kept_of(count + more, fraction) >= kept  # so the mean of a dataset bounds its smallest class


def test_holding_out_agrees(make_dataset: Any) -> None:
    from condense.data.load import hold_out

    dataset = make_dataset()
    before = torch.bincount(dataset.train.labels)
    after = torch.bincount(hold_out(dataset, 0.4, 0).train.labels)
    assert after.tolist() == [kept_of(int(count), 0.4) for count in before]
