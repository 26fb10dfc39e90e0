"""IDC as a recipe: its published settings, its students, and whole runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from condense_baselines.recipes.idc import IDC

import condense
from condense.engine.plan import make_plan
from condense.recipe.config import RunConfig
from condense.recipe.method import Use
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.recipe.training import Augment

REGISTRY = load_registry()
ShortRun = Callable[..., condense.RunResult]
SMALL = {
    "iterations": 4,
    "recover.network_steps": 2,
    "recover.inner_images": 8,
    "recover.network.width": 4,
    "recover.network.depth": 2,
}


def resolved(ipc: int = 10, dataset: str = "cifar10") -> RunConfig:
    return configure(REGISTRY, method="idc", dataset=dataset, ipc=ipc)


def test_settings_are_those_of_the_published_code() -> None:
    recover = resolved().recipe.recover
    assert resolved().recipe.parametrization == Use(name="mosaic", options={"factor": 2, "reduce": "sample"})
    assert (recover.iterations, recover.network_steps) == (2000 * 100, 100)
    assert (recover.optimizer, recover.momentum, recover.schedule) == ("sgd", 0.5, "constant")
    assert recover.augment == Augment(siamese=("color", "crop", "cutout"), siamese_single=False)
    assert recover.network.options == {"width": 128, "depth": 3, "norm": "instance"}
    inner = recover.inner
    assert (recover.inner_on, inner.epochs, inner.batch_size, inner.schedule) == ("real", 1, 64, "constant")
    assert (inner.optimizer, inner.lr, inner.momentum, inner.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    views = Augment(siamese=("color", "crop"), siamese_single=False, cutmix=1.0, cutmix_probability=0.5)
    assert inner.augment == views
    assert resolved().recipe.losses["gradient-distance"].options["real_batch"] == 64


def test_digits_have_neither_flips_nor_in_mnist_cutmix() -> None:
    for dataset in ("mnist", "svhn"):
        assert "flip" not in resolved(dataset=dataset).evaluation.protocol.augment.siamese
    mnist, svhn = resolved(dataset="mnist"), resolved(dataset="svhn")
    assert mnist.recipe.recover.augment.siamese == ("color", "crop")
    assert mnist.recipe.recover.inner.augment.cutmix == mnist.evaluation.protocol.augment.cutmix == 0
    assert svhn.recipe.recover.inner.augment.cutmix == svhn.evaluation.protocol.augment.cutmix == 1


@pytest.mark.parametrize(
    ("dataset", "metric", "rate", "images"),
    [
        ("cifar10", "mse", 0.005 / 0.2**2, 2000),
        ("cifar100", "mse", 0.005 / 0.2**2, 2000),
        ("svhn", "mse", 0.005 / 0.2**2, 500),
        ("fashion-mnist", "l1", 0.0001 * (28 / 32) ** 2 / 0.353**2, 500),
        ("mnist", "l1", 0.0001 / 0.3081**2, 500),
    ],
)
@pytest.mark.parametrize("ipc", [1, 10, 50])
def test_rates_are_the_published_ones_by_the_variance_of_the_pixels(
    dataset: str, metric: str, rate: float, images: int, ipc: int
) -> None:
    """The weight of the loss scales the rate of SGD, which grows with the images per class."""
    recipe = resolved(ipc, dataset).recipe
    loss = recipe.losses["gradient-distance"]
    assert loss.options["metric"] == metric
    assert loss.weight * recipe.recover.lr == pytest.approx(rate * ipc / 10)
    assert recipe.recover.inner_images == images


@pytest.mark.parametrize("dataset", ["fashion-mini", "fashion-mnist", "cifar10"])
def test_the_published_settings_have_a_name(dataset: str) -> None:
    """Presets for small images shorten nothing on the paper's datasets, nor where the paper is asked for."""
    short = configure(REGISTRY, method="idc", dataset="fashion-mini", ipc=10).recipe
    assert short.recover.iterations < 1000
    settings = {"preset": "paper"} if dataset == "fashion-mini" else {}
    recipe = configure(REGISTRY, method="idc", dataset=dataset, ipc=10, settings=settings).recipe
    assert (recipe.recover.iterations, recipe.recover.network_steps) == (200000, 100)
    assert recipe.recover.network.options["width"] == 128
    assert recipe.losses["gradient-distance"].options["real_batch"] == 64


def test_students_are_those_of_the_published_code() -> None:
    protocol = resolved().evaluation.protocol
    assert protocol.name == "idc"
    assert (protocol.epochs, protocol.batch_size, protocol.labels) == (1000, 64, "hard")
    assert (protocol.optimizer, protocol.lr, protocol.momentum, protocol.weight_decay) == (
        "sgd",
        0.01,
        0.9,
        5e-4,
    )
    assert protocol.schedule == "two-drops"
    assert (protocol.augment.cutmix, protocol.augment.cutmix_probability) == (1.0, 0.5)
    assert set(protocol.augment.siamese) == {"flip", "color", "crop", "scale", "rotate"}
    assert set(protocol.augment.siamese_always) == {"flip", "color"}


def test_it_needs_neither_teacher_nor_pool_unless_asked() -> None:
    plan = make_plan(resolved(), REGISTRY)
    assert not plan.needs_teacher
    assert not plan.needs_pool
    config = configure(REGISTRY, method="idc", dataset="cifar10", settings={"preset": "pool"})
    assert make_plan(config, REGISTRY).needs_pool
    mine, inner = config.recipe.pool, config.recipe.recover.inner
    assert (mine.lr, mine.momentum, mine.weight_decay, mine.augment) == (
        inner.lr,
        inner.momentum,
        inner.weight_decay,
        inner.augment,
    )


@pytest.mark.parametrize("metric", ["mse", "l1"])
def test_a_run_on_few_images(metric: str, short_run: ShortRun) -> None:
    result = short_run("idc", {**SMALL, "targets.gradient-distance.metric": metric})
    assert result.distilled.images.shape == (3, 1, 8, 8)
    assert len(result.distilled) == 12  # four to an image
    assert len(result.scores) == 1


def test_a_run_through_a_pool(short_run: ShortRun) -> None:
    settings = {
        "preset": "pool",
        "iterations": 3,
        "recover.network_steps": 2,
        "recover.inner_images": 8,
        "pool.model.width": 4,
        "pool.model.depth": 2,
        "pool.networks": 1,
        "pool.checkpoints": 2,
        "pool.epochs": 2,
    }
    result = short_run("idc", settings, students=0)
    assert len(list((result.path / "pool").glob("*.safetensors"))) == 1
    assert result.distilled.images.shape == (3, 1, 8, 8)


def test_variants_leave_out_what_their_names_say() -> None:
    found = {}
    for variant in IDC.variants:
        config = configure(
            REGISTRY,
            method="idc",
            dataset="fashion-mini",
            ipc=10,
            settings=variant.settings,
            without=variant.without,
        )
        assert make_plan(config, REGISTRY).losses
        found[variant.label] = config.recipe
    whole, identity, synthetic, nothing = found.values()
    assert identity.parametrization.name == "identity"
    assert (whole.recover.inner_on, whole.recover.inner.epochs) == ("real", 1)
    assert (synthetic.recover.inner_on, synthetic.recover.inner.epochs) == ("synthetic", 1)
    assert nothing.recover.inner.epochs == 0
