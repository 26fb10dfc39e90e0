"""NCFM as a recipe: its published settings, its students, and a whole run."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from condense_baselines.recipes.ncfm import NCFM

import condense
from condense.engine.plan import make_plan
from condense.recipe.config import RunConfig
from condense.recipe.method import Use, Weighted
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.recipe.training import Augment

REGISTRY = load_registry()
ShortRun = Callable[..., condense.RunResult]


def resolved(dataset: str = "cifar10") -> RunConfig:
    return configure(REGISTRY, method="ncfm", dataset=dataset, ipc=10)


def test_settings_are_those_of_the_published_code() -> None:
    recipe = resolved().recipe
    assert recipe.parametrization == Use(name="mosaic", options={"factor": 2, "reduce": "sample"})
    function = {"frequencies": 4096, "amplitude": 0.5, "phase": 0.5, "real_batch": 1024}
    assert recipe.losses == {
        "characteristic-function": Weighted(300.0, function),
        "trained-cross-entropy": Weighted(1.0, {}),
    }
    assert (recipe.recover.iterations, recipe.recover.betas) == (20000, (0.9, 0.999))
    assert recipe.recover.augment == Augment(siamese=("color", "crop", "cutout"), siamese_single=False)
    pool = recipe.pool
    assert (pool.networks, pool.checkpoints, pool.draw, pool.random, pool.mode) == (
        20,
        1,
        "interpolated",
        0.0,
        "train",
    )
    assert (pool.epochs, pool.batch_size, pool.schedule) == (60, 128, "two-drops")
    assert (pool.optimizer, pool.lr, pool.momentum, pool.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    views = Augment(siamese=("color", "crop"), siamese_single=False, cutmix=1.0, cutmix_probability=0.5)
    assert pool.augment == views
    assert recipe.pool_network.options == {"width": 128, "depth": 3, "norm": "instance"}


def test_the_rate_goes_as_far_in_an_iteration_as_the_published_steps() -> None:
    """2 K steps of Adam, in 2 of which an image of K classes has a gradient, each sqrt(K) times as long."""
    for dataset, classes in (("cifar10", 10), ("cifar100", 100), ("tiny-imagenet", 200)):
        expected = 2 * math.sqrt(classes) * 0.001 / 0.2
        assert resolved(dataset).recipe.recover.lr == pytest.approx(expected, rel=0.1)


def test_the_published_settings_have_a_name() -> None:
    short, paper = (
        configure(REGISTRY, method="ncfm", dataset="fashion-mini", ipc=10, settings=settings).recipe
        for settings in ({}, {"preset": "paper"})
    )
    assert short.pool.networks < paper.pool.networks
    assert paper.pool == resolved().recipe.pool
    assert paper.losses == resolved().recipe.losses
    assert paper.recover == resolved().recipe.recover


@pytest.mark.parametrize(
    ("dataset", "depth", "epochs"),
    [("cifar10", 3, 60), ("tiny-imagenet", 4, 60), ("imagenette", 5, 80), ("imagewoof", 5, 80)],
)
def test_networks_are_as_deep_as_published(dataset: str, depth: int, epochs: int) -> None:
    config = resolved(dataset)
    student = config.evaluation.student_network(config.recipe.teacher)
    assert config.recipe.pool_network.options["depth"] == student.options["depth"] == depth
    assert config.recipe.pool.epochs == epochs
    if depth == 5:
        assert config.recipe.dataset.options["size"] == 128


def test_other_protocols_are_left_as_they_are() -> None:
    """The students of its own protocol are ConvNets of a certain depth; those of `fkd` are like the teacher."""
    config = configure(REGISTRY, method="ncfm", dataset="imagenette", protocol="fkd")
    assert config.evaluation.protocol == REGISTRY.protocol("fkd")


def test_students_are_those_of_the_published_code() -> None:
    protocol = resolved().evaluation.protocol
    assert (protocol.name, protocol.epochs, protocol.batch_size) == ("ncfm", 2000, 128)
    assert (protocol.optimizer, protocol.lr, protocol.weight_decay) == ("adamw", 0.001, 0.01)
    assert (protocol.schedule, protocol.labels) == ("four-halvings", "hard")
    assert "cutout" not in protocol.augment.siamese
    assert (protocol.augment.cutmix, protocol.augment.cutmix_probability) == (1.0, 0.5)


def test_it_needs_a_pool_and_no_teacher() -> None:
    plan = make_plan(resolved(), REGISTRY)
    assert plan.needs_pool
    assert not plan.needs_teacher
    assert not plan.measures


def test_a_run_on_few_images(short_run: ShortRun) -> None:
    settings = {
        "iterations": 4,
        "targets.characteristic-function.frequencies": 32,
        "pool.networks": 2,
        "pool.epochs": 2,
        "pool.random": 0.3,
        "pool.model.width": 4,
        "pool.model.depth": 2,
    }
    result = short_run("ncfm", settings)
    assert result.distilled.images.shape == (3, 1, 8, 8)
    assert len(result.distilled) == 12  # four to an image
    assert len(list((result.path / "pool").glob("*.safetensors"))) == 2
    assert {"pool", "recover"} <= set(result.seconds)


def test_variants_leave_out_what_their_names_say() -> None:
    found = {}
    for variant in NCFM.variants:
        config = configure(
            REGISTRY,
            method="ncfm",
            dataset="fashion-mini",
            ipc=10,
            settings=variant.settings,
            without=variant.without,
        )
        assert make_plan(config, REGISTRY).needs_pool
        found[variant.label] = config.recipe
    _, identity, trained, random, alone = found.values()
    assert identity.parametrization.name == "identity"
    assert (trained.pool.draw, random.pool.random) == ("checkpoint", 1.0)
    assert list(alone.losses) == ["characteristic-function"]
