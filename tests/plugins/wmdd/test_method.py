"""WMDD as a recipe: the paper's settings, and that they can be used."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from condense_wmdd.method import PRESETS, WMDD

from condense.data.catalog import DATASETS
from condense.errors import UnknownNameError
from condense.recipe.config import RunConfig
from condense.recipe.method import Use
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure, preset_note
from condense.recipe.selection import Selection
from condense.recipe.settings import assign, flatten

REGISTRY = load_registry()


def resolved(dataset: str, *more: tuple[str, Any]) -> RunConfig:
    return configure(REGISTRY, method="wmdd", dataset=dataset, settings=more)


def assert_recover(config: RunConfig, *, lr: float, batch_norm: float) -> None:
    recover = config.recipe.recover
    assert (recover.optimizer, recover.betas, recover.lr) == ("adam", (0.5, 0.9), lr)
    assert (recover.iterations, recover.batch) == (2000, 100)
    assert recover.augment.flip
    assert recover.augment.crop_scale is not None
    assert round(recover.augment.jitter * 224) == 32
    weights = {name: loss.weight for name, loss in config.recipe.losses.items()}
    assert weights == {"barycenter": 1.0, "cross-entropy": 1.0, "class-batchnorm": batch_norm}


def test_imagenette_has_the_settings_of_the_paper() -> None:
    config = resolved("imagenette")
    assert_recover(config, lr=0.25, batch_norm=10.0)
    teacher = config.recipe.teacher
    assert (teacher.model.name, teacher.model.options["pretrained"]) == ("resnet18", False)
    assert teacher.model.options["stem"] == "auto"  # the published one at 224
    assert (teacher.optimizer, teacher.lr, teacher.weight_decay) == ("sgd", 0.025, 1e-4)
    assert (teacher.batch_size, teacher.schedule, teacher.epochs) == (32, "cosine", 50)
    assert config.recipe.dataset.options["size"] == 224
    assert config.evaluation.student_network(teacher) == teacher.model
    assert config.evaluation.protocol.name == "fkd"


def test_settings_for_fashion_mnist_hold_with_the_convnet_that_they_were_chosen_with() -> None:
    def form(*more: tuple[str, Any]) -> str:
        return str(resolved("fashion-mini", *more).recipe.targets["barycenter"].options["form"])

    assert form() == form(("teacher.model", "convnet(width=16)")) == "norms"
    assert form(("teacher.model", "timm:regnetx_002")) == "relative"
    assert form(("preset", "fashion-mini"), ("teacher.model", "timm:regnetx_002")) == "norms"


def test_a_recipe_of_a_method_that_is_not_installed_has_no_note() -> None:
    recipe = resolved("fashion-mini", ("teacher.model", "resnet18")).recipe
    assert len(preset_note(recipe, REGISTRY)) == 1
    assert preset_note(replace(recipe, method="gone"), REGISTRY) == ()


def test_tiny_imagenet_has_the_settings_of_the_paper() -> None:
    config = resolved("tiny-imagenet")
    assert_recover(config, lr=0.1, batch_norm=500.0)
    assert config.recipe.dataset.options["size"] == 224
    teacher = config.recipe.teacher
    assert teacher.model == Use(name="resnet18", options={"stem": "tiny", "pretrained": False})
    assert (teacher.optimizer, teacher.lr, teacher.weight_decay) == ("sgd", 0.025, 1e-4)
    assert (teacher.batch_size, teacher.schedule, teacher.epochs) == (32, "cosine", 50)
    assert resolved("tiny-imagenet", ("dataset.size", 64)).recipe.dataset.options["size"] == 64


def test_imagenet_1k_has_torchvisions_teacher() -> None:
    config = resolved("imagenette", *PRESETS["imagenet-1k"].items())
    assert_recover(config, lr=0.25, batch_norm=10.0)
    assert config.recipe.teacher.model.name == "resnet18"
    assert config.recipe.teacher.model.options["pretrained"] is True


def test_the_method_without_a_preset_is_that_of_imagenette() -> None:
    assert flatten(WMDD.recover) == flatten(resolved("imagenette").recipe.recover)


@pytest.mark.parametrize("dataset", [spec.name for spec in DATASETS if spec.name != "hf"])
@pytest.mark.parametrize("method", [offer.spec.name for offer in REGISTRY.offers("method")])
def test_every_method_resolves_for_every_dataset(method: str, dataset: str) -> None:
    spec = next(spec for spec in DATASETS if spec.name == dataset)
    config = configure(REGISTRY, method=method, dataset=f"{dataset}:somewhere" if spec.takes else dataset)
    assert config.recipe.method == method
    assert config.recipe.recover.iterations == 0 or config.recipe.targets


@pytest.mark.parametrize("dataset", [spec.name for spec in DATASETS if spec.name != "hf"])
def test_methods_are_compared_under_one_teacher(dataset: str) -> None:
    spec = next(spec for spec in DATASETS if spec.name == dataset)
    name = f"{dataset}:somewhere" if spec.takes else dataset
    ours, theirs = (configure(REGISTRY, method=method, dataset=name) for method in ("wmdd", "random"))
    if dataset == "tiny-imagenet":  # WMDD has a teacher of its own there, for enlarged images
        for key in ("model.stem", "lr", "batch_size"):
            value = flatten(theirs.recipe.teacher)[key]
            assert flatten(ours.recipe.teacher)[key] != value
            ours = assign(ours, f"teacher.{key}", value, REGISTRY)
    assert ours.recipe.teacher == theirs.recipe.teacher
    assert ours.evaluation == theirs.evaluation


def test_views_of_small_images_are_mirrored_where_they_are_known_to_bear_it() -> None:
    """Mirrored digits and letters are others, or none; nobody knows what a folder holds."""
    for dataset, mirrored in {"cifar10": True, "cifar100": True, "mnist": False, "svhn": False}.items():
        recover = resolved(dataset).recipe.recover
        assert (recover.augment.flip, recover.lr) == (mirrored, 0.02), dataset
    for kind in ("small-grey", "small-colour"):
        folder = resolved("folder:somewhere", ("dataset.like", kind))
        assert not folder.recipe.recover.augment.flip
    asked = resolved("folder:somewhere", ("dataset.like", kind), ("recover.augment.flip", True))
    assert asked.recipe.recover.augment.flip


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid(preset: str) -> None:
    found = flatten(resolved("imagenette", ("preset", preset)).recipe)
    assert {key: found[key] for key in PRESETS[preset]} == dict(PRESETS[preset])


@pytest.mark.parametrize("dataset", ["fashion-mini", "fashion-mnist", "mnist"])
@pytest.mark.parametrize(
    "method", [offer.spec.name for offer in REGISTRY.offers("method") if "small-grey" in offer.spec.presets]
)
def test_settings_for_small_grey_images_reach_every_dataset_of_them(method: str, dataset: str) -> None:
    presets = REGISTRY.method(method).presets
    preset = {**presets["small-grey"], **presets.get(dataset, {})}
    found = flatten(configure(REGISTRY, method=method, dataset=dataset))
    assert preset
    assert {key: found[key] for key in preset} == dict(preset)


@pytest.mark.parametrize("dataset", ["cifar10", "fashion-mini", "folder:somewhere", "imagenette"])
def test_the_settings_of_the_paper_are_reached_by_name(dataset: str) -> None:
    """On small images WMDD has settings of its own; --set preset=paper has the published ones anywhere."""
    found = configure(REGISTRY, method="wmdd", dataset=dataset, settings={"preset": "paper"}).recipe
    plain = configure(REGISTRY, method="wmdd", dataset="imagenette").recipe
    assert (found.initializer, found.recover) == (plain.initializer, plain.recover)
    assert (found.targets, found.regularizers) == (plain.targets, plain.regularizers)


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "svhn"])
def test_settings_for_small_images_have_no_unit(dataset: str) -> None:
    recipe = configure(REGISTRY, method="wmdd", dataset=dataset).recipe
    assert recipe.initializer.name == "real"
    assert recipe.recover.measured_views == 2
    for loss in (recipe.targets["barycenter"], recipe.regularizers["class-batchnorm"]):
        assert loss.options["form"] == "relative"


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        configure(REGISTRY, method="wmdd", settings={"preset": "papr"})


def test_offers_name_their_paper_and_import_no_torch() -> None:
    for kind, name in (
        ("method", "wmdd"),
        ("feature target", "barycenter"),
        ("regularizer", "class-batchnorm"),
    ):
        assert "arXiv 2311.18531" in REGISTRY.find(kind, name).source
    code = "import sys, condense_wmdd.plugin; assert not {'torch', 'ot', 'numpy'} & {*sys.modules}, 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("dataset", "judges"), [("cifar10", True), ("mnist", True), ("imagenette", False)])
def test_few_images_have_more_judges_and_photographs_none(dataset: str, judges: bool) -> None:
    def select(ipc: int) -> Selection:
        return configure(REGISTRY, method="wmdd", dataset=dataset, ipc=ipc).recipe.select

    few, many = select(1), select(10)
    assert bool(few.students) == bool(many.students) == judges
    if judges:
        assert few.students > many.students
        assert few.epochs > many.epochs
        assert few.starts == many.starts == ("real", "k-means")
    assert configure(REGISTRY, method="wmdd", dataset="fashion-mnist", ipc=1).recipe.select.students == 0
