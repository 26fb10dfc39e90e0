"""Seconds, memory and advice, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from condense.engine.plan import make_plan
from condense.engine.price import (
    Footprint,
    Load,
    Price,
    Throughput,
    loads_of,
    memory_advice,
    parse_bytes,
    parse_duration,
    parse_throughput,
    time_advice,
)
from condense.engine.work import Counts, Work, work_of
from condense.errors import OptionError
from condense.recipe.config import RunConfig
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure

COUNTS = Counts(classes=10, train=5000, test=1000, side=28, channels=1, in_memory=True)


def config(method: str = "wmdd", **changes: Any) -> RunConfig:
    return configure(load_registry(), method=method, **changes)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30 min", 1800), ("2h", 7200), ("1.5 d", 129600)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("8GB", 8 * 10**9), ("512 MB", 512 * 10**6), ("1gib", 2**30)])
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "8", "h", "2 weeks", "-1h", "0h"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="write for example 2h"):
        parse_duration(text)
    with pytest.raises(OptionError, match="write for example 8GB"):
        parse_bytes(text)


def test_a_throughput_gives_seconds() -> None:
    rates = parse_throughput("forward=100, backward=50,load=10")
    part = Work(stage="recover", step="recover", steps=1, images=200, forward=300, backward=100)
    assert rates.seconds(part) == 3 + 2
    real = Work(stage="measure", step="observe", steps=1, images=200, forward=300, real=True)
    assert rates.seconds(real) == 20
    assert parse_throughput("forward=100,backward=50").seconds(real) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("forward=100", "lacks backward"),
        ("forward=100,backward=fast", "is not a throughput"),
        ("forward=1,backward=1,sideways=1", "is not a throughput"),
        ("forward=1,backward=1,forward=2", "is not a throughput"),
        ("forward=0,backward=1", "must be above 0"),
        ("forward=1,backward=inf", "must be above 0"),
    ],
)
def test_throughputs_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        parse_throughput(text)


def test_the_memory_of_each_stage_by_hand() -> None:
    """An image is 28 * 28 * 4 = 3136 bytes as float32; 10 ipc in chunks of 100; sgd keeps one moment, adam two."""
    settings = {
        "teacher.batch_size": 64,
        "protocol.batch_size": 50,
        "protocol.optimizer": "adam",
        "recover.batch": 100,
        "protocol.labels": "online",
    }
    plan = make_plan(config(settings=settings, ipc=10), load_registry())
    prints = {
        "teacher": Footprint(parameters=1000, training=200, pixels=150),
        "student": Footprint(parameters=3000, training=70, pixels=50),
    }
    loads = loads_of(plan, work_of(plan, COUNTS), COUNTS, prints)
    assert loads["squeeze"].bytes == 3 * 1000 + 64 * (200 + 2 * 3136)
    assert loads["recover"].bytes == 1000 + 100 * (150 + 5 * 3136)
    assert loads["evaluate"].bytes == 4 * 3000 + 1000 + 50 * (70 + 2 * 3136)
    assert [load.key for load in loads.values()] == [
        "teacher.batch_size",
        "recover.batch",
        "protocol.batch_size",
    ]


def test_the_memory_of_a_pool_by_hand() -> None:
    """Two networks of the pool look at a step, the drawn and the trained one; a batch is larger than the images."""
    settings = {"pool.batch_size": 10**6, "parametrization": "identity"}
    plan = make_plan(config("ncfm", settings=settings, ipc=10), load_registry())
    loads = loads_of(
        plan, work_of(plan, COUNTS), COUNTS, {"pool": Footprint(parameters=1000, training=200, pixels=150)}
    )
    assert loads["pool"].bytes == 3 * 1000 + COUNTS.train * (200 + 2 * 3136)
    assert loads["recover"].bytes == 2 * 1000 + 100 * (2 * 150 + 5 * 3136)
    assert loads["pool"].key == "pool.batch_size"


def price(**seconds: float) -> Price:
    load = Load(fixed=1000, per_image=10, batch=100, key="recover.batch")
    return Price(work=(), seconds=seconds, base=500, loads={"recover": load})


def test_a_smaller_chunk_fits_the_memory() -> None:
    found = price()
    recipe = config(ipc=10).recipe
    assert found.peak == 2500
    assert memory_advice(found, 2500, recipe, bf16=True) == []
    # 2000 - 500 - 1000 leaves room for 50 images.
    assert memory_advice(found, 2000, recipe, bf16=True) == ["recover: --set recover.batch=50 instead of 100"]
    assert any("--precision bf16" in line for line in memory_advice(found, 2000, recipe, bf16=False))
    [few] = memory_advice(found, 1550, recipe, bf16=True)
    assert "a chunk holds a whole class of 10 images, and 5 fit" in few
    [none] = memory_advice(found, 1400, recipe, bf16=True)
    assert "no batch fits" in none


def test_what_to_change_to_fit_a_time() -> None:
    chosen = config(settings={"iterations": 2000, "protocol.epochs": 300, "teacher.epochs": 10}, students=3)
    recipe, evaluation = chosen.recipe, chosen.evaluation
    found = price(squeeze=10.0, recover=100.0, evaluate=60.0)
    assert time_advice(found, 170.0, recipe, evaluation) == []
    # 40 s too long: recover may take 60 of its 100 s, evaluate 20 of its 60 s.
    assert time_advice(found, 130.0, recipe, evaluation) == [
        "recover: --set recover.iterations=1200 instead of 2000",
        "evaluate: --students 1 instead of 3",
        "evaluate: --set protocol.epochs=100 instead of 300",
    ]
    lines = time_advice(found, 145.0, recipe, evaluation)
    assert "evaluate: --no-reference saves about 30.0 s" in lines
    together = time_advice(found, 20.0, recipe, evaluation)
    assert together[0] == "no single change is enough; together:"
    assert together[1].startswith("recover: --set recover.iterations=1000 saves about 50.0 s")


def test_a_throughput_is_checked_where_it_is_made() -> None:
    with pytest.raises(OptionError, match="load must be above 0"):
        Throughput(forward=1, backward=1, load=-1)
