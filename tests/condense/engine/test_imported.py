"""The initializer that takes the images of an artifact: the same bytes come out, and nothing else goes in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.engine.catalog import ImportedOptions
from condense.engine.imported import Imported
from condense.errors import CondenseError, DataError, OptionError
from condense.recipe.registry import Registry
from condense.storage.distilled import DistilledDataset
from condense.storage.manifest import content_hash


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    others = (make_dataset(name="other", counts=(6, 6)), make_dataset(name="large", size=16))
    return make_registry(make_dataset(), *others)


@pytest.fixture
def data(make_dataset: Callable[..., RealDataset]) -> DistilledDataset:
    """Two noisy images of each of three classes, with weights that differ."""
    draws = torch.Generator().manual_seed(4)
    return DistilledDataset(
        images=torch.randint(0, 256, (6, 1, 8, 8), generator=draws, dtype=torch.uint8),
        labels=torch.tensor([0, 0, 1, 1, 2, 2]),
        slots=torch.tensor([0, 1] * 3),
        weights=torch.tensor([0.25, 0.75, 0.5, 0.5, 0.125, 0.875]),
        classes=make_dataset().classes,
        mean=(0.1,),
        std=(0.9,),
        ipc=2,
        dataset="tiny",
        origin="real",
    )


def run(path: Path, registry: Registry, out: Path, **more: Any) -> DistilledDataset:
    given: dict[str, Any] = {"dataset": "tiny", "ipc": 2, "settings": {"initializer.path": str(path)}}
    return condense.run(method="imported", students=0, registry=registry, out=out, **(given | more)).distilled


def test_a_run_has_the_images_and_weights_of_the_artifact(
    data: DistilledDataset, registry: Registry, tmp_path: Path
) -> None:
    condense.save(data, tmp_path / "a")
    found = run(tmp_path / "a", registry, tmp_path / "runs")
    assert torch.equal(found.images, data.images)
    assert torch.equal(found.weights, data.weights)
    assert found.origin == "real"
    assert found.settings["recipe"]["initializer"]["options"] == {"path": "", "content": ""}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ipc": 1}, "has 2 images of class 'class 0', not the 1 asked for"),
        (
            {"dataset": "other"},
            r"has the classes class 0, class 1, class 2, \.\.\. and other has class 0, class 1",
        ),
        ({"dataset": "large"}, r"are \(1, 8, 8\), and those of large are \(1, 16, 16\)"),
    ],
)
def test_images_of_something_else_are_refused(
    more: dict[str, Any], text: str, data: DistilledDataset, registry: Registry, tmp_path: Path
) -> None:
    condense.save(data, tmp_path / "a")
    with pytest.raises(DataError, match=text):
        run(tmp_path / "a", registry, tmp_path / "runs", **more)


def test_the_content_is_checked(data: DistilledDataset, tmp_path: Path) -> None:
    condense.save(data, tmp_path / "a")
    content = content_hash(tmp_path / "a")
    assert torch.equal(
        Imported(ImportedOptions(path=str(tmp_path / "a"), content=content)).slot_weights(),
        data.weights.view(3, 2),
    )
    condense.save(replace(data, method="other", licence="MIT"), tmp_path / "b")
    assert content_hash(tmp_path / "b") == content
    for changed in (
        replace(data, images=255 - data.images),
        replace(data, weights=torch.full((6,), 0.5)),
        replace(data, classes=("class 0", "class 2", "class 1")),
    ):
        condense.save(changed, tmp_path / "a", overwrite=True)
        assert content_hash(tmp_path / "a") != content
        with pytest.raises(DataError, match="have changed since the work on them began"):
            Imported(ImportedOptions(path=str(tmp_path / "a"), content=content))


def test_what_cannot_be_taken(data: DistilledDataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"which distilled dataset\? .*imported:PATH"):
        Imported(ImportedOptions())
    with pytest.raises(CondenseError, match="there is no folder"):
        Imported(ImportedOptions(path=str(tmp_path / "none")))
    kept = [0, 2, 3, 4, 5]
    uneven = replace(
        data,
        images=data.images[kept],
        labels=data.labels[kept],
        slots=data.slots[kept],
        weights=torch.tensor([1.0, 0.5, 0.5, 0.5, 0.5]),
    )
    condense.save(uneven, tmp_path / "a")
    with pytest.raises(DataError, match="has classes with fewer than 2 images; all must have as many"):
        Imported(ImportedOptions(path=str(tmp_path / "a")))
