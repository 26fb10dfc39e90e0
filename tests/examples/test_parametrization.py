"""The parametrization of docs/plugins.md: it computes what it says, and a run stores images in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.recipe.registry import Registry

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def offered() -> dict[str, Any]:
    """What the code of the section defines."""
    section = PAGE.partition("### `condense_parametrizations`")[2].partition("\n### ")[0]
    names: dict[str, Any] = {"torch": torch, "__name__": "my_plugin"}
    names |= {name: getattr(condense, name) for name in condense.__all__}
    for code in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL):
        exec(code, names)
    return names


def test_it_halves_the_height(offered: dict[str, Any]) -> None:
    halves = offered["Halves"](condense.NoOptions())
    images = torch.arange(16.0).view(2, 1, 4, 2)
    stored = halves.encode(images)
    assert stored[0, 0].tolist() == [[1, 2], [5, 6], [9, 10], [13, 14]]
    decoded = halves.decode(stored)
    assert decoded[0, 0].tolist() == [[1, 2], [1, 2], [5, 6], [5, 6]]
    assert decoded[1, 0].tolist() == [[9, 10], [9, 10], [13, 14], [13, 14]]
    with pytest.raises(condense.DataError, match="3 pixels are uneven"):
        halves.encode(torch.zeros(2, 1, 3, 2))


def test_a_run_stores_images_in_it(
    offered: dict[str, Any],
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    tmp_path: Path,
) -> None:
    [spec] = offered["condense_parametrizations"]()
    spec = condense.ParametrizationSpec(
        name=spec.name,
        summary=spec.summary,
        images_per_stored=spec.images_per_stored,
        build=offered["Halves"],
    )
    registry = make_registry(make_dataset(), parametrizations=[spec])
    found = condense.run(
        method="random",
        dataset="tiny",
        ipc=2,
        students=1,
        settings={"parametrization": "halves", "protocol.epochs": 1},
        registry=registry,
        out=tmp_path,
    )
    assert (len(found.distilled.images), len(found.distilled)) == (6, 12)
    again = condense.evaluate(found.path, students=1, settings={"protocol.epochs": 1}, registry=registry)
    assert again.score.students[0].steps == found.scores[0].students[0].steps
