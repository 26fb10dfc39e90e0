"""Pools that are kept: taken again where all that made them is the same, and completed piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.data.dataset import RealDataset
from condense.recipe.method import Pool
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.runs import pools, teachers
from condense.runs.pools import pool_hash
from condense.runs.result import RunResult
from condense.runtime import make_runtime

RUNTIME = make_runtime("cpu", "fp32")
SETTINGS: dict[str, Any] = {
    "iterations": 2,
    "parametrization": "identity",
    "pool.model": "convnet(width=4,depth=2,norm=instance)",
    "pool.networks": 3,
    "pool.epochs": 2,
    "pool.batch_size": 8,
    "targets.characteristic-function.frequencies": 16,
}


@pytest.fixture
def made(site: Any, tmp_path: Path) -> Callable[..., RunResult]:
    """Make a run of NCFM that shares a folder of teachers, unless `teachers` says otherwise."""

    def make(name: str, **options: Any) -> RunResult:
        settings = {**SETTINGS, **options.pop("settings", {})}
        chosen = {"students": 0, "teachers": tmp_path / "teachers", **options}
        found: RunResult = site.run("ncfm", name=name, settings=settings, **chosen)
        return found

    return make


def trained(result: RunResult) -> int:
    """Epochs that the run trained networks of its pool for, as its metrics tell."""
    lines = [json.loads(line) for line in (result.path / "metrics.jsonl").read_text().splitlines()]
    return sum(line["stage"] == "pool" for line in lines)


def networks(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))]


def test_runs_share_a_pool_and_a_larger_one_adds_what_is_missing(
    made: Callable[..., RunResult], tmp_path: Path
) -> None:
    """They need agree on the networks alone, not on how they are drawn or on what looks through them."""
    first = made("first")
    second = made("second", ipc=1, settings={"pool.draw": "checkpoint", "iterations": 1, "pool.random": 0.5})
    third = made("third", settings={"pool.networks": 4})
    assert [trained(result) for result in (first, second, third)] == [6, 0, 2]
    [shelf] = (tmp_path / "teachers").glob("pool-*")
    assert shelf.is_dir() or shelf.suffix == ".lock"
    kept = networks(tmp_path / "teachers")
    assert len(kept) == 4
    assert networks(first.path / "pool") == networks(second.path / "pool") == kept[:3]
    assert networks(third.path / "pool") == kept


def test_a_shared_pool_is_to_the_byte_the_one_that_a_run_alone_trains(made: Callable[..., RunResult]) -> None:
    alone, trains, takes = made("alone", teachers=None), made("trains"), made("takes")
    assert networks(alone.path / "pool") == networks(takes.path / "pool")
    assert torch.equal(alone.distilled.images, trains.distilled.images)
    assert torch.equal(alone.distilled.images, takes.distilled.images)
    assert (trained(alone), trained(takes)) == (6, 0)


@pytest.mark.parametrize("teachers", [True, False])
def test_an_interrupted_pool_goes_on_with_the_networks_that_are_missing(
    teachers: bool, made: Callable[..., RunResult], site: Any, tmp_path: Path
) -> None:
    shelf = {"teachers": tmp_path / "shelf" if teachers else None}
    whole = made("whole", teachers=None)
    with pytest.raises(site.Stopped):
        made("one", reporter=Fourth(site), **shelf)  # in the second epoch of the second network
    place = tmp_path / "shelf" if teachers else site.out / "one" / "pool"
    assert len(networks(place)) == 1
    again = made("one", resume=True, **shelf)
    assert networks(again.path / "pool") == networks(whole.path / "pool")
    assert torch.equal(again.distilled.images, whole.distilled.images)
    assert trained(again) == 4 + 4  # three were done before, and the fourth was told before it stopped


class Fourth:
    """A reporter that stops a run at the fourth epoch of its pool."""

    def __init__(self, site: Any) -> None:
        self._diary, self._stopped, self._stage, self._epochs = site.diary(), site.Stopped, "", 0

    def start(self, stage: str, detail: str, total: int, unit: str) -> None:
        self._stage = stage

    def advance(self, count: int, values: Any = None) -> None:
        self._epochs += self._stage == "pool"
        if self._epochs == 4:
            raise self._stopped

    def finish(self, summary: str = "") -> None: ...

    def note(self, text: str) -> None: ...


def test_chunks_draw_from_a_pool_by_themselves(made: Callable[..., RunResult]) -> None:
    """A chunk that is made again, without the one before it, has the same images."""
    settings = {"recover.batch": 2}
    result = made("chunks", settings=settings)
    chunks = sorted((result.path / "chunks").iterdir())
    before = [file.read_bytes() for file in chunks]
    assert len(chunks) == 3
    chunks[1].unlink()
    made("chunks", settings=settings, resume=True)
    assert [file.read_bytes() for file in chunks] == before


def test_a_large_pool_is_read_at_each_draw(
    made: Callable[..., RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stays in memory changes no image."""
    kept = made("kept")
    monkeypatch.setattr(pools, "_KEPT_BYTES", 0)
    assert torch.equal(made("read").distilled.images, kept.distilled.images)


def test_the_hash_depends_on_what_decides_the_weights_and_on_nothing_else(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    dataset = make_dataset()
    registry = make_registry(dataset)
    settings = {key: value for key, value in SETTINGS.items() if key.startswith("pool.")}
    recipe = configure(registry, method="ncfm", dataset="tiny", ipc=1, settings=settings).recipe

    def hashed(**changes: Any) -> str:
        return pool_hash(replace(recipe, pool=replace(recipe.pool, **changes)), dataset, RUNTIME, registry)

    free = [{"networks": 9}, {"draw": "checkpoint"}, {"random": 0.5}, {"mode": "eval"}]
    assert {hashed(**change) for change in free} == {hashed()}
    deciding = [
        {"epochs": 3},
        {"checkpoints": 2},
        {"lr": 0.5},
        {"schedule": "constant"},
        {"batch_size": 4},
        {"model": replace(recipe.pool.model, options={**recipe.pool.model.options, "width": 6})},
    ]
    found = {hashed(**change) for change in deciding}
    found |= {pool_hash(replace(recipe, seed=1), dataset, RUNTIME, registry)}
    found |= {pool_hash(recipe, make_dataset(seed=1), RUNTIME, registry)}
    assert len(found | {hashed()}) == len(deciding) + 3
    assert len(hashed()) == 16


def test_the_pool_is_the_teachers_network_unless_it_has_its_own(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    """A pool "like the teacher" is the same pool as one that names the teacher's network."""
    dataset = make_dataset()
    registry = make_registry(dataset)
    recipe = configure(registry, method="dm", dataset="tiny", ipc=1).recipe
    assert recipe.pool == Pool()
    assert recipe.pool_network == recipe.teacher.model
    named = replace(recipe, pool=replace(recipe.pool, model=recipe.teacher.model))
    assert pool_hash(recipe, dataset, RUNTIME, registry) == pool_hash(named, dataset, RUNTIME, registry)


def test_the_hash_depends_on_the_source_of_a_plugin_whose_network_it_is(
    make_dataset: Callable[..., RealDataset],
    make_registry: Callable[..., Registry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset()
    registry = make_registry(dataset)
    recipe = configure(registry, method="dm", dataset="tiny", ipc=1).recipe
    seen: list[str] = []

    def marks(parts: Any, registry: Registry) -> dict[str, str]:
        seen.extend(f"{kind} {name}" for kind, name in parts)
        return {"plugin mine": "1.0 changed"}

    before = pool_hash(recipe, dataset, RUNTIME, registry)
    monkeypatch.setattr(teachers, "plugin_marks", marks)
    assert pool_hash(recipe, dataset, RUNTIME, registry) != before
    assert seen == ["model convnet"]


def test_a_comparison_trains_a_pool_once(
    tmp_path: Path, make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    """Seeds share it, as they share the teacher."""
    result = condense.compare(
        "ncfm",
        dataset="tiny",
        ipc=1,
        seeds=2,
        protocol="dc",
        epochs=1,
        device="cpu",
        out=tmp_path,
        reference=False,
        settings=SETTINGS,
        registry=make_registry(make_dataset()),
    )
    assert not result.failures
    assert len(list((tmp_path / "teachers").glob("pool-*/*.safetensors"))) == 3
    one, other = result.outcome.distilled
    assert one.seconds["pool"] > 0
    assert other.seconds["pool"] < one.seconds["pool"]
