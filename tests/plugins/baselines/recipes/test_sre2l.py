"""SRe2L and CDA as recipes: their published settings, the chunks they cut, and whole runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from condense_baselines.recipes.sre2l import CDA, SRE2L

import condense
from condense.data.catalog import DATASETS
from condense.data.dataset import RealDataset
from condense.engine.chunks import Chunk
from condense.engine.plan import make_plan
from condense.engine.recover import crop_scale, recover_chunk
from condense.recipe.config import RunConfig
from condense.recipe.method import Weighted
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.recipe.settings import flatten
from condense.recipe.training import Augment

REGISTRY = load_registry()
METHODS = {"sre2l": SRE2L, "cda": CDA}
BOTH = tuple(METHODS)
# The published commands differ there from those of the other method, or of WMDD.
# On small images other than Fashion-MNIST, WMDD has views of its own, which nobody chose for these methods.
OWN_SETTINGS = ("mnist", "svhn", "cifar10", "cifar100", "tiny-imagenet", "imagenet-1k")
MakeDataset = Callable[..., RealDataset]
MakeRegistry = Callable[..., Registry]


def resolved(method: str, dataset: str = "imagenette", *more: tuple[str, Any]) -> RunConfig:
    return configure(REGISTRY, method=method, dataset=dataset, settings=more)


def preset(method: str, name: str) -> RunConfig:
    """The settings for a dataset that need not come with condense."""
    return resolved(method, "folder:somewhere", *METHODS[method].presets[name].items())


@pytest.mark.parametrize(
    ("method", "dataset", "lr", "weight", "side", "shift"),
    [
        ("sre2l", "imagenet-1k", 0.25, 0.01, 224, 32),
        ("cda", "imagenet-1k", 0.25, 0.01, 224, 32),
        ("sre2l", "tiny-imagenet", 0.1, 1.0, 64, 4),
        ("cda", "tiny-imagenet", 0.4, 0.05, 64, 4),
    ],
)
def test_settings_are_those_of_the_published_commands(
    method: str, dataset: str, lr: float, weight: float, side: int, shift: int
) -> None:
    config = preset(method, dataset)
    recipe, recover = config.recipe, config.recipe.recover
    assert (recover.iterations, recover.batch, recover.chunk) == (4000, 100, "slots")
    assert (recover.optimizer, recover.betas, recover.lr) == ("adam", (0.5, 0.9), lr)
    assert recover.schedule == "cosine"
    assert recover.augment.crop_scale == (0.08, 1.0)
    assert recover.augment.flip
    assert round(recover.augment.jitter * side) == shift
    assert recipe.targets == {"cross-entropy": Weighted(1.0)}
    assert recipe.regularizers == {"batchnorm": Weighted(weight, {"first_weight": 10.0})}
    assert recipe.initializer.name == "noise"
    assert recipe.teacher.model.name == "resnet18"
    assert recipe.teacher.model.options["pretrained"] is (dataset == "imagenet-1k")
    assert config.evaluation.protocol.name == "fkd"


@pytest.mark.parametrize("method", BOTH)
def test_there_is_a_preset_for_every_dataset_of_wmdds_paper(method: str) -> None:
    assert METHODS[method].presets.keys() >= {"imagenette", "tiny-imagenet", "imagenet-1k", "small-grey"}
    for name in METHODS[method].presets:
        preset(method, name)


@pytest.mark.parametrize("dataset", [spec.name for spec in DATASETS if spec.name != "hf"])
@pytest.mark.parametrize("method", BOTH)
def test_it_resolves_under_the_teacher_and_views_of_wmdd(method: str, dataset: str) -> None:
    name = f"{dataset}:somewhere" if dataset == "folder" else dataset
    ours, theirs = resolved(method, name), resolved("wmdd", name)
    if dataset == "tiny-imagenet":  # their codes have other first layers there
        assert ours.recipe.teacher.model.options["stem"] == "cifar"
        theirs = replace(theirs, recipe=replace(theirs.recipe, teacher=ours.recipe.teacher))
    assert ours.recipe.teacher == theirs.recipe.teacher
    assert ours.evaluation == theirs.evaluation
    if dataset not in OWN_SETTINGS:
        assert ours.recipe.recover.augment == theirs.recipe.recover.augment
    plan = make_plan(ours, REGISTRY)
    assert plan.needs_teacher
    assert not plan.measures


def test_settings_on_cifar100_are_those_of_the_published_command() -> None:
    recover = resolved("sre2l", "cifar100").recipe.recover
    assert (recover.iterations, recover.batch, recover.lr) == (1000, 100, 0.25)
    assert recover.augment == Augment(jitter=4 / 32)
    assert "cifar100" not in CDA.presets


@pytest.mark.parametrize(
    "dataset", [spec.name for spec in DATASETS if not spec.takes and spec.name not in OWN_SETTINGS]
)
def test_cda_is_sre2l_but_for_the_curriculum(dataset: str) -> None:
    ours, theirs = resolved("cda", dataset), resolved("sre2l", dataset)
    recover = ours.recipe.recover
    assert (recover.crop_schedule, recover.crop_start, recover.crop_share) == ("cosine", 1.0, 1.0)
    assert theirs.recipe.recover.crop_schedule == "none"
    plain = replace(recover, crop_schedule="none")
    assert replace(ours, recipe=replace(ours.recipe, method="sre2l", recover=plain)) == theirs
    assert flatten(CDA.teacher) == flatten(SRE2L.teacher)


@pytest.mark.parametrize("milestone", [1.0, 0.5])
@pytest.mark.parametrize("mode", ["step", "linear", "cosine"])
def test_the_curriculum_is_that_of_the_published_code(mode: str, milestone: float) -> None:
    """The least share of a crop, written out step by step."""
    steps, low = 40, 0.08
    options = replace(SRE2L.recover, iterations=steps, crop_schedule=mode, crop_share=milestone)  # type: ignore[arg-type]
    last = milestone * steps
    for step in range(steps):
        expected = low
        if step < last:
            falling = {
                "step": 1.0,
                "linear": 1 - step / last,
                "cosine": (1 + math.cos(math.pi * step / last)) / 2,
            }
            expected = low + (1 - low) * falling[mode]
        scale = crop_scale(options, step)
        assert scale is not None
        assert scale == pytest.approx((expected, 1.0))


def test_the_curriculum_of_cda_falls_from_whole_images_to_the_least_crop() -> None:
    options = resolved("cda", "fashion-mini").recipe.recover
    shares = [scale[0] for step in range(options.iterations) if (scale := crop_scale(options, step))]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("method", BOTH)
def test_chunks_are_slots_of_all_classes(
    method: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_dataset: MakeDataset,
    make_registry: MakeRegistry,
) -> None:
    chunks: list[Chunk] = []

    def spy(chunk: Chunk, *rest: Any, **named: Any) -> Any:
        chunks.append(chunk)
        return recover_chunk(chunk, *rest, **named)

    monkeypatch.setattr("condense.engine.synthesis.recover_chunk", spy)
    result = condense.run(
        method=method,
        dataset="tiny",
        ipc=3,
        students=0,
        out=tmp_path,
        device="cpu",
        settings={"iterations": 2, "recover.batch": 4, "log_every": 1},
        registry=make_registry(make_dataset()),
    )
    seen = [list(zip(chunk.labels.tolist(), chunk.slots.tolist(), strict=True)) for chunk in chunks]
    assert seen == [[(0, 0), (1, 0), (2, 0), (0, 1)], [(1, 1), (2, 1), (0, 2), (1, 2)], [(2, 2)]]
    assert (result.path / "distilled").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
def test_a_short_run_on_fashion_mini(method: str, tmp_path: Path) -> None:
    settings = {
        "iterations": 3,
        "recover.batch": 10,
        "log_every": 1,
        "teacher.epochs": 1,
        "teacher.model.width": 8,
        "protocol.epochs": 1,
    }
    result = condense.run(
        method=method, ipc=2, students=1, reference=False, out=tmp_path, device="cpu", settings=settings
    )
    (score,) = result.scores
    assert score.label == method
    assert 0 <= score.mean <= 1
    assert result.distilled.images.shape == (20, 1, 28, 28)
