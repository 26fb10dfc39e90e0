"""G-VBSM as a recipe: its published settings, the networks it can build, and whole runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from condense_baselines.recipes.gvbsm import GVBSM, PRESETS

import condense
from condense.data.catalog import DATASETS
from condense.data.dataset import RealDataset
from condense.engine.plan import make_plan
from condense.models.build import build_network
from condense.recipe.method import Weighted
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.settings import assign
from condense.runtime import make_runtime
from condense.storage.tensors import read_tensors

REGISTRY = load_registry()
RUNTIME = make_runtime("cpu", "fp32")
MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]

# Two networks of 8 channels would need options; these are the smallest that a name alone gives.
TINY = {
    "teacher.model": "ensemble",
    "teacher.model.members": ("small", "wide"),
    "iterations": 4,
    "protocol.epochs": 2,
    "protocol.batch_size": 4,
}


@pytest.fixture
def registry(make_registry: MakeRegistry, make_dataset: MakeDataset) -> Registry:
    from condense.models.catalog import ConvNetOptions
    from condense.models.convnet import build_convnet
    from condense.recipe.specs import ModelSpec

    models = [
        ModelSpec(
            name=name,
            summary="one line",
            build=lambda options, request, width=width: build_convnet(
                ConvNetOptions(width=width, depth=2), request
            ),
        )
        for name, width in (("small", 4), ("wide", 6))
    ]
    return make_registry(make_dataset(), models=models)


def test_the_settings_are_the_published_ones() -> None:
    config = configure(REGISTRY, method="g-vbsm", dataset="imagenette")
    recover = config.recipe.recover
    assert (recover.iterations, recover.lr, recover.betas) == (4000, 0.1, (0.5, 0.9))
    assert (recover.chunk, recover.schedule) == ("classes", "cosine")
    assert GVBSM.recover.batch == 80
    assert config.recipe.targets == {"cross-entropy": Weighted(1.0)}
    assert config.recipe.regularizers == {
        "batchnorm": Weighted(0.01, {"first_weight": 1.0}),
        "convolutions": Weighted(0.01, {"first_weight": 10.0, "patches": True}),
        "densification": Weighted(1.0, {"temperature": 4.0, "side": 32}),
    }
    assert config.evaluation.protocol.name == "fkd"


@pytest.mark.parametrize(
    ("dataset", "epochs", "lr", "batch"),
    [("cifar10", 5, 0.05, 64), ("cifar100", 50, 0.05, 64), ("tiny-imagenet", 50, 0.1, 128)],
)
def test_settings_for_small_images_are_the_published_ones(
    dataset: str, epochs: int, lr: float, batch: int
) -> None:
    recipe = configure(REGISTRY, method="g-vbsm", dataset=dataset).recipe
    assert (recipe.teacher.epochs, recipe.teacher.lr, recipe.teacher.batch_size) == (epochs, lr, batch)
    assert (recipe.recover.iterations, recipe.recover.batch, recipe.recover.lr) == (4000, 100, 0.05)
    assert recipe.recover.augment.crop_scale is None
    assert recipe.recover.augment.flip


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_an_ensemble(name: str) -> None:
    """A dataset's own settings choose a teacher, and win over a method's."""
    preset = PRESETS[name]
    keys = list(preset)
    assert preset["teacher.model"] == "ensemble"
    assert keys.index("teacher.model") < keys.index("teacher.model.members")
    config = configure(REGISTRY, method="g-vbsm")
    for key, value in preset.items():
        config = assign(config, key, value, REGISTRY)
    assert len(config.recipe.teacher.model.options["members"]) > 1
    assert make_plan(config, REGISTRY).needs_teacher


@pytest.mark.parametrize("spec", [spec for spec in DATASETS if not spec.takes], ids=lambda spec: spec.name)
def test_every_dataset_has_several_teachers(spec: condense.DatasetSpec) -> None:
    config = configure(REGISTRY, method="g-vbsm", dataset=spec.name)
    teacher = config.recipe.teacher
    assert teacher.model.name == "ensemble"
    assert config.evaluation.student_network(teacher).name == teacher.model.options["members"][0]


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [("small-grey", 28, 1), ("cifar10", 32, 3), ("tiny-imagenet", 64, 3), ("imagenette", 64, 3)],
)
def test_the_teachers_of_a_preset_take_such_images(
    name: str, size: int, channels: int, make_dataset: MakeDataset
) -> None:
    dataset = make_dataset(size=size, channels=channels)
    use = condense.Use(name="ensemble", options={"members": PRESETS[name]["teacher.model.members"]})
    network = build_network(use, dataset, REGISTRY, RUNTIME, torch.Generator().manual_seed(0)).frozen()
    assert network.logits(dataset.training_images(torch.arange(2))).shape == (2, 3)
    for member in network.members:
        assert member.layers_of("batchnorm")
        assert member.layers_of("convolutions")


def run(registry: Registry, out: Path, **changes: Any) -> condense.RunResult:
    return condense.run(
        method="g-vbsm",
        dataset="tiny",
        ipc=2,
        students=1,
        reference=False,
        out=out,
        device="cpu",
        precision="fp32",
        settings={**TINY, **changes},
        registry=registry,
    )


def test_a_run_through_two_teachers(registry: Registry, tmp_path: Path) -> None:
    one, again = run(registry, tmp_path / "one"), run(registry, tmp_path / "again")
    assert torch.equal(one.distilled.images, again.distilled.images)
    assert one.distilled.label_mode == "online"
    assert one.scores[0].mean == again.scores[0].mean
    assert one.distilled.sizes()["teacher"] == (one.path / "teacher.safetensors").stat().st_size
    weights, _ = read_tensors(one.path / "teacher.safetensors")
    assert {name.split(".")[1] for name in weights} == {"0", "1"}
    state, _ = read_tensors(one.path / "measurements.safetensors")
    assert {name.rpartition(".")[0] for name in state} == {
        f"convolutions/{kind}.{member}" for kind in ("convolutions", "patches") for member in (0, 1)
    }


def test_it_goes_on_from_what_was_measured(registry: Registry, tmp_path: Path) -> None:
    whole = run(registry, tmp_path / "whole")
    for chunk in (whole.path / "chunks").iterdir():
        chunk.unlink()
    shutil.rmtree(whole.path / "distilled")
    resumed = condense.run(
        method="g-vbsm",
        dataset="tiny",
        ipc=2,
        students=1,
        reference=False,
        out=tmp_path / "whole",
        device="cpu",
        precision="fp32",
        settings=TINY,
        registry=registry,
        resume=True,
    )
    assert torch.equal(resumed.distilled.images, whole.distilled.images)


def test_one_teacher_will_do(registry: Registry, tmp_path: Path) -> None:
    plain = {"teacher.model": "small", "teacher.epochs": 1}
    settings = {key: value for key, value in TINY.items() if not key.startswith("teacher")}
    result = condense.run(
        method="g-vbsm",
        dataset="tiny",
        ipc=2,
        students=1,
        reference=False,
        out=tmp_path,
        device="cpu",
        settings={**settings, **plain},
        registry=registry,
    )
    assert result.scores[0].students


def test_methods_that_look_through_one_network_refuse_several(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(condense.CondenseError, match=r"'barycenter' looks through one network"):
        condense.run(
            method="wmdd",
            dataset="tiny",
            ipc=2,
            students=0,
            out=tmp_path,
            device="cpu",
            settings=TINY,
            registry=registry,
        )
