"""Coresets as recipes: what they need, and whole runs that keep distinct real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.catalog import DATASETS
from condense.data.dataset import DatasetRequest, RealDataset
from condense.data.fashion import load_fashion_mini
from condense.engine.plan import make_plan
from condense.errors import DataError
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.specs import NoOptions

REGISTRY = load_registry()
CORESETS = ("herding", "k-center", "medoids")
MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]


def resolved(method: str, dataset: str, *more: tuple[str, Any]) -> RunConfig:
    return configure(REGISTRY, method=method, dataset=dataset, settings=more)


@pytest.mark.parametrize("dataset", [spec.name for spec in DATASETS if spec.name != "hf"])
@pytest.mark.parametrize("method", CORESETS)
def test_it_resolves_under_the_teacher_and_protocol_of_random(method: str, dataset: str) -> None:
    name = f"{dataset}:somewhere" if dataset == "folder" else dataset
    ours, theirs = resolved(method, name), resolved("random", name)
    assert ours.recipe.teacher == theirs.recipe.teacher
    assert ours.evaluation == theirs.evaluation
    assert ours.recipe.recover.iterations == 0
    assert ours.recipe.initializer.name == method


@pytest.mark.parametrize("method", CORESETS)
def test_a_teacher_is_needed_also_for_hard_labels(method: str) -> None:
    plan = make_plan(configure(REGISTRY, method=method, protocol="dc"), REGISTRY)
    assert plan.needs_teacher
    assert plan.measures is (method == "medoids")
    assert [loss.name for loss in plan.losses] == (["barycenter"] if method == "medoids" else [])


def assert_distinct_real_images(images: torch.Tensor, dataset: RealDataset, ipc: int) -> None:
    for label, group in enumerate(images.split(ipc)):
        own = {row.numpy().tobytes() for row in dataset.train.images.read(dataset.train.of_class(label))}
        chosen = [row.numpy().tobytes() for row in group]
        assert own.issuperset(chosen)
        assert len(set(chosen)) == ipc


@pytest.mark.parametrize("method", CORESETS)
def test_a_run_keeps_distinct_real_images_and_repeats_itself(
    method: str, tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry
) -> None:
    dataset = make_dataset((6, 7, 8))

    def run(ipc: int) -> condense.RunResult:
        return condense.run(
            method=method,
            dataset="tiny",
            ipc=ipc,
            protocol="dc",
            students=1,
            reference=False,
            out=tmp_path,
            device="cpu",
            settings={"protocol.epochs": 1, "protocol.model.width": 8, "protocol.model.depth": 2},
            registry=make_registry(dataset),
        )

    result = run(5)
    assert result.distilled.label_mode == "hard"
    assert (result.path / "teacher.safetensors").is_file()
    assert_distinct_real_images(result.distilled.images, dataset, 5)
    assert torch.equal(result.distilled.images, run(5).distilled.images)
    assert_distinct_real_images(run(1).distilled.images, dataset, 1)
    assert_distinct_real_images(run(6).distilled.images, dataset, 6)
    with pytest.raises(DataError, match="use --ipc 6 or less"):
        run(7)


@pytest.mark.slow
@pytest.mark.parametrize("method", CORESETS)
def test_a_short_run_on_fashion_mini(method: str, tmp_path: Path) -> None:
    result = condense.run(
        method=method,
        ipc=2,
        students=1,
        reference=False,
        out=tmp_path,
        device="cpu",
        settings={"teacher.epochs": 1, "teacher.model.width": 8, "protocol.epochs": 1},
    )
    (score,) = result.scores
    assert 0 <= score.mean <= 1
    asked = DatasetRequest(name="fashion-mini", argument="", data_dir=tmp_path, seed=0)
    assert_distinct_real_images(result.distilled.images, load_fashion_mini(NoOptions(), asked), 2)
