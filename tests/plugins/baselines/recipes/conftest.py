"""A whole run of a method on a few tiny images."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import condense
from condense.data.dataset import RealDataset
from condense.recipe.registry import Registry

# What makes students quick.
STUDENTS = {"protocol.epochs": 2, "protocol.model.depth": 2, "protocol.model.width": 4}


@pytest.fixture
def short_run(
    tmp_path: Path, make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> Callable[..., condense.RunResult]:
    """A function from a method, settings and a number of students to the outcome of a run with one image per class."""

    def run(method: str, settings: Mapping[str, Any], *, students: int = 1) -> condense.RunResult:
        return condense.run(
            method=method,
            dataset="tiny",
            ipc=1,
            students=students,
            reference=False,
            out=tmp_path,
            device="cpu",
            settings={**settings, **(STUDENTS if students else {})},
            registry=make_registry(make_dataset()),
        )

    return run


@pytest.fixture
def losses_of() -> Callable[[condense.RunResult], list[float]]:
    """A function from a run to the losses that its recovery logged, in order."""

    def losses(result: condense.RunResult) -> list[float]:
        lines = map(json.loads, (result.path / "metrics.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if line["stage"] == "recover"]

    return losses
