"""RDED as a recipe and a protocol: its published settings, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from condense_baselines.recipes.rded import PRESETS, RDED, RDED_PROTOCOL

import condense
from condense.data.catalog import DATASETS
from condense.data.dataset import RealDataset
from condense.engine.plan import make_plan
from condense.recipe.config import RunConfig
from condense.recipe.method import Use
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.training import Augment

REGISTRY = load_registry()
MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]


def resolved(dataset: str, *more: tuple[str, Any]) -> RunConfig:
    return configure(REGISTRY, method="rded", dataset=dataset, settings=more)


def test_settings_are_those_of_the_published_scripts() -> None:
    config = resolved("imagenette")
    expected = {"factor": 2, "pool": 300, "crops": 5, "crop_scale": (0.08, 1.0)}
    assert config.recipe.initializer == Use(name="rded", options=expected)
    assert config.recipe.recover.iterations == 0
    assert config.evaluation.protocol.name == "rded"
    small = resolved("folder:somewhere", *PRESETS["tiny-imagenet"].items())
    assert small.recipe.initializer.options["factor"] == 1
    assert small.evaluation.protocol.augment.shuffle_patches == 1
    assert RDED.presets.keys() >= {"tiny-imagenet", "imagenet-1k", "small-grey"}
    for dataset, factor in (("cifar10", 1), ("cifar100", 1), ("tiny-imagenet", 1), ("imagewoof", 2)):
        found = resolved(dataset)
        assert found.recipe.initializer.options["factor"] == factor
        assert found.evaluation.protocol.augment.shuffle_patches == factor


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid(preset: str) -> None:
    resolved("folder:somewhere", *PRESETS[preset].items())


@pytest.mark.parametrize("dataset", [spec.name for spec in DATASETS if spec.name != "hf"])
def test_it_resolves_under_the_teacher_of_random_and_needs_it(dataset: str) -> None:
    name = f"{dataset}:somewhere" if dataset == "folder" else dataset
    config = resolved(name)
    assert config.recipe.teacher == configure(REGISTRY, method="random", dataset=name).recipe.teacher
    assert make_plan(config, REGISTRY).needs_teacher
    hard = make_plan(configure(REGISTRY, method="rded", dataset=name, protocol="dc"), REGISTRY)
    assert hard.needs_teacher
    assert not hard.measures
    assert not hard.losses
    # What the preset says of its own protocol leaves others as they are.
    found, plain = hard.evaluation.protocol, REGISTRY.protocol("dc")
    assert (found.augment, found.batch_size) == (plain.augment, plain.batch_size)


def test_students_see_views_and_batches_as_in_the_published_scripts() -> None:
    """Crops from 1 / factor, so none of single tiles; 10, 50 and 100 images a batch, and 100 for Tiny-ImageNet."""
    for dataset in ("cifar10", "svhn", "mnist", "tiny-imagenet"):
        augment = resolved(dataset).evaluation.protocol.augment
        assert augment == Augment(shuffle_patches=1, flip=True, cutmix=1.0)
    assert resolved("imagenette").evaluation.protocol.augment == RDED_PROTOCOL.augment
    for ipc, batch in ((1, 10), (10, 50), (50, 100)):
        for dataset, wanted in (("imagenette", batch), ("cifar10", batch), ("tiny-imagenet", 100)):
            config = configure(REGISTRY, method="rded", dataset=dataset, ipc=ipc)
            assert config.evaluation.protocol.batch_size == wanted


def test_the_protocol_is_that_of_the_published_code() -> None:
    assert REGISTRY.protocol("rded") is RDED_PROTOCOL
    protocol = RDED_PROTOCOL
    assert (protocol.labels, protocol.temperature, protocol.epochs) == ("online", 20.0, 300)
    assert (protocol.optimizer, protocol.lr, protocol.weight_decay) == ("adamw", 0.001, 0.01)
    assert (protocol.schedule, protocol.batch_size) == ("half-cosine", 50)
    assert protocol.augment == Augment(shuffle_patches=2, crop_scale=(0.5, 1.0), flip=True, cutmix=1.0)
    assert not protocol.weighted


def test_a_run_of_it_and_another_method_by_its_protocol(
    tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry
) -> None:
    registry = make_registry(make_dataset((12, 13, 14)))

    def run(method: str) -> condense.RunResult:
        return condense.run(
            method=method,
            protocol="rded",
            dataset="tiny",
            ipc=3,
            students=1,
            reference=False,
            out=tmp_path,
            device="cpu",
            settings={"protocol.epochs": 2},
            registry=registry,
        )

    one, again, random = run("rded"), run("rded"), run("random")
    assert one.config.evaluation.protocol.augment.shuffle_patches == 2
    assert one.distilled.images.shape == (9, 1, 8, 8)
    assert torch.equal(one.distilled.images, again.distilled.images)
    assert one.accuracy == again.accuracy
    assert one.distilled.label_mode == random.distilled.label_mode == "online"


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1, 2])
def test_a_short_run_on_fashion_mini(factor: int, tmp_path: Path) -> None:
    result = condense.run(
        method="rded",
        ipc=2,
        students=1,
        reference=False,
        out=tmp_path,
        device="cpu",
        settings={
            "initializer.factor": factor,
            "initializer.pool": 20,
            "protocol.augment.shuffle_patches": factor,
            "teacher.epochs": 1,
            "teacher.model.width": 8,
            "protocol.epochs": 1,
        },
    )
    (score,) = result.scores
    assert 0 <= score.mean <= 1
    assert result.distilled.images.shape == (20, 1, 28, 28)
