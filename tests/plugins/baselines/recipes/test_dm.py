"""DM as a recipe: its published settings, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from condense_baselines.recipes.dm import DM

import condense
from condense.data.dataset import RealDataset
from condense.engine.plan import make_plan
from condense.recipe.config import RunConfig
from condense.recipe.method import Weighted
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.training import SIAMESE_OPERATIONS

REGISTRY = load_registry()
MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]


def resolved(dataset: str = "fashion-mnist", ipc: int = 10) -> RunConfig:
    return configure(REGISTRY, method="dm", dataset=dataset, ipc=ipc)


@pytest.mark.parametrize("dataset", ["mnist", "svhn"])
def test_digits_are_not_mirrored(dataset: str) -> None:
    config = resolved(dataset)
    for augment in (config.recipe.recover.augment, config.evaluation.protocol.augment):
        assert augment.siamese == ("color", "crop", "cutout", "scale", "rotate")


@pytest.mark.parametrize("ipc", [1, 10, 50])
@pytest.mark.parametrize("dataset", ["fashion-mnist", "imagenette"])
def test_settings_are_those_of_the_published_code(dataset: str, ipc: int) -> None:
    config = resolved(dataset, ipc)
    recover = config.recipe.recover
    assert (recover.iterations, recover.network_steps, recover.inner.epochs) == (20000, 1, 0)
    assert (recover.optimizer, recover.lr, recover.momentum, recover.schedule) == (
        "sgd",
        1.0,
        0.5,
        "constant",
    )
    assert recover.augment.siamese == SIAMESE_OPERATIONS
    assert recover.augment.siamese_single
    assert recover.network.name == "convnet"
    assert recover.network.options == {"width": 128, "depth": 3, "norm": "instance"}
    assert config.recipe.initializer.name == "real"
    assert config.recipe.losses == {"mean-embedding": Weighted(1.0, {"real_batch": 256})}
    assert config.evaluation.protocol.name == "dc"
    assert config.evaluation.student_network(config.recipe.teacher) == recover.network


def test_the_embedded_dataset_has_a_short_preset_and_no_other_has_one() -> None:
    assert [name for name, preset in DM.presets.items() if "recover.iterations" in preset] == ["fashion-mini"]
    assert resolved("fashion-mini").recipe.recover.iterations < 1000


def test_it_needs_neither_teacher_nor_measurement() -> None:
    plan = make_plan(resolved(), REGISTRY)
    assert not plan.needs_teacher
    assert not plan.measures
    assert plan.reference


def test_a_run_on_few_images(tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry) -> None:
    """Fewer real images than the 256 asked for, from initial images to students."""
    result = condense.run(
        method="dm",
        dataset="tiny",
        ipc=2,
        students=1,
        reference=False,
        out=tmp_path,
        device="cpu",
        settings={
            "iterations": 3,
            "recover.network.width": 8,
            "recover.network.depth": 2,
            "student.model": "convnet",
            "student.model.depth": 2,
            "student.model.width": 8,
            "protocol.epochs": 1,
        },
        registry=make_registry(make_dataset()),
    )
    [score] = result.scores
    assert score.label == "dm"
    assert result.distilled.images.shape == (6, 1, 8, 8)
    assert not (result.path / "teacher.safetensors").exists()


@pytest.mark.slow
def test_a_short_run_on_fashion_mini(tmp_path: Path) -> None:
    settings = {
        "iterations": 2,
        "targets.mean-embedding.real_batch": 16,
        "recover.network.width": 16,
        "protocol.epochs": 1,
    }
    result = condense.run(
        method="dm", ipc=2, students=1, reference=False, out=tmp_path, device="cpu", settings=settings
    )
    [score] = result.scores
    assert 0 <= score.mean <= 1
    assert result.distilled.images.shape == (20, 1, 28, 28)
