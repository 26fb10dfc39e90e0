"""DC and DSA as recipes: their published settings, what sets them apart, and whole runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import condense
from condense.data.dataset import RealDataset
from condense.engine.plan import make_plan
from condense.recipe.config import RunConfig
from condense.recipe.method import Weighted
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.training import SIAMESE_OPERATIONS, Augment

REGISTRY = load_registry()
BOTH = ("dc", "dsa")
MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]


def resolved(method: str, ipc: int = 10, dataset: str = "fashion-mnist") -> RunConfig:
    return configure(REGISTRY, method=method, dataset=dataset, ipc=ipc)


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("ipc", "outer", "inner"),
    [
        (1, 1, 1),
        (10, 10, 50),
        (20, 20, 25),
        (30, 30, 20),
        (40, 40, 15),
        (50, 50, 10),
        (9, 1, 1),
        (100, 50, 10),
    ],
)
def test_loops_are_those_of_the_published_code(method: str, ipc: int, outer: int, inner: int) -> None:
    """1000 networks, whatever the number of images; in between, the loops of the next lower number."""
    recover = resolved(method, ipc).recipe.recover
    assert (recover.iterations, recover.network_steps, recover.inner.epochs) == (1000 * outer, outer, inner)


@pytest.mark.parametrize(
    ("method", "initial", "views"), [("dc", "noise", ()), ("dsa", "real", SIAMESE_OPERATIONS)]
)
def test_settings_are_those_of_the_published_code(method: str, initial: str, views: tuple[str, ...]) -> None:
    config = resolved(method)
    recover, inner = config.recipe.recover, config.recipe.recover.inner
    assert (recover.optimizer, recover.lr, recover.momentum, recover.schedule) == (
        "sgd",
        0.1,
        0.5,
        "constant",
    )
    assert (inner.optimizer, inner.lr, inner.momentum, inner.weight_decay) == ("sgd", 0.01, 0.0, 0.0)
    assert (inner.batch_size, inner.schedule) == (256, "constant")
    assert recover.batch == 0
    assert recover.augment == inner.augment == Augment(siamese=views)
    assert recover.network.name == "convnet"
    assert recover.network.options == {"width": 128, "depth": 3, "norm": "instance"}
    assert config.recipe.initializer.name == initial
    assert config.recipe.losses == {"gradient-match": Weighted(1.0, {"real_batch": 256})}
    assert config.evaluation.protocol.name == "dc"
    assert config.evaluation.student_network(config.recipe.teacher) == recover.network


@pytest.mark.parametrize("ipc", [1, 10, 50])
@pytest.mark.parametrize("dataset", ["fashion-mini", "fashion-mnist", "imagenette"])
def test_dsa_is_dc_but_for_augmentation_and_the_initial_images(dataset: str, ipc: int) -> None:
    ours, theirs = resolved("dsa", ipc, dataset), resolved("dc", ipc, dataset)
    mine, dc = ours.recipe.recover, theirs.recipe.recover
    recover = replace(mine, augment=dc.augment, inner=replace(mine.inner, augment=dc.inner.augment))
    recipe = replace(ours.recipe, method="dc", recover=recover, initializer=theirs.recipe.initializer)
    assert replace(ours, recipe=recipe, evaluation=theirs.evaluation) == theirs


def test_students_of_dc_learn_for_300_epochs_without_augmentation_but_on_mnist() -> None:
    """VICO-UoE/DatasetCondensation, get_eval_pool and get_daparam: DSA has 1000 epochs with its augmentation."""
    for ipc in (1, 10, 50):
        protocol = resolved("dc", ipc, "cifar10").evaluation.protocol
        assert (protocol.epochs, protocol.augment) == (300, Augment())
        protocol = resolved("dsa", ipc, "cifar10").evaluation.protocol
        assert (protocol.epochs, protocol.augment) == (1000, Augment(siamese=SIAMESE_OPERATIONS))
    protocol = resolved("dc", dataset="mnist").evaluation.protocol
    assert (protocol.epochs, protocol.augment.siamese) == (1000, ("crop", "scale", "rotate"))
    elsewhere = configure(REGISTRY, method="dc", dataset="mnist", protocol="fkd").evaluation.protocol
    assert elsewhere == REGISTRY.protocol("fkd")


@pytest.mark.parametrize("dataset", ["mnist", "svhn"])
def test_digits_are_not_mirrored(dataset: str) -> None:
    config = resolved("dsa", dataset=dataset)
    recover = config.recipe.recover
    expected = ("color", "crop", "cutout", "scale", "rotate")
    assert config.evaluation.protocol.augment.siamese == expected
    assert recover.augment.siamese == recover.inner.augment.siamese == expected
    assert resolved("dc", dataset=dataset).recipe.recover.augment.siamese == ()


@pytest.mark.parametrize("method", BOTH)
def test_it_needs_neither_teacher_nor_measurement(method: str) -> None:
    plan = make_plan(resolved(method), REGISTRY)
    assert not plan.needs_teacher
    assert not plan.measures


@pytest.mark.parametrize("method", BOTH)
def test_a_run_on_few_images(
    method: str, tmp_path: Path, make_dataset: MakeDataset, make_registry: MakeRegistry
) -> None:
    """Fewer real images than the 256 asked for; two networks, trained in between."""
    result = condense.run(
        method=method,
        dataset="tiny",
        ipc=2,
        students=0,
        out=tmp_path,
        device="cpu",
        settings={
            "iterations": 4,
            "recover.network_steps": 2,
            "recover.inner.epochs": 2,
            "recover.network.width": 4,
            "recover.network.depth": 2,
        },
        registry=make_registry(make_dataset()),
    )
    assert result.distilled.images.shape == (6, 1, 8, 8)


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
def test_a_short_run_on_fashion_mini(method: str, tmp_path: Path) -> None:
    settings = {
        "iterations": 2,
        "recover.network_steps": 2,
        "recover.inner.epochs": 1,
        "targets.gradient-match.real_batch": 8,
        "recover.network.width": 8,
        "protocol.epochs": 1,
    }
    result = condense.run(
        method=method, ipc=2, students=1, reference=False, out=tmp_path, device="cpu", settings=settings
    )
    [score] = result.scores
    assert 0 <= score.mean <= 1
    assert result.distilled.images.shape == (20, 1, 28, 28)
