"""A dry run refuses what the run would refuse, as far as that can be told without torch."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import condense
from condense.data.parametrizations.base import coder_of
from condense.errors import CondenseError
from condense.recipe.config import RunConfig
from condense.recipe.registry import load_registry
from condense.recipe.resolve import configure
from condense.runs.ahead import _words, check_run_ahead
from condense.runs.journal import Journal

REGISTRY = load_registry(environment={})
HOST = {"computes": "cpu, float32"}


def config(*settings: tuple[str, Any], method: str = "wmdd", **options: Any) -> RunConfig:
    return configure(REGISTRY, method=method, settings=settings, **options)


def refused(config: RunConfig, path: Path, *, resume: bool = False) -> str:
    with pytest.raises(CondenseError) as caught:
        check_run_ahead(config, path, REGISTRY, resume=resume)
    return str(caught.value)


def test_what_can_be_done_passes_and_writes_nothing(tmp_path: Path) -> None:
    plan = check_run_ahead(config(), tmp_path / "new" / "run", REGISTRY, resume=False)
    assert plan.needs_teacher
    (tmp_path / "empty").mkdir()
    check_run_ahead(config(), tmp_path / "empty", REGISTRY, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "exists already; choose another --name" in refused(config(), tmp_path)
    assert "is a file, so no run directory can lie in it" in refused(config(), tmp_path / "file" / "run")


def test_more_images_than_there_are(tmp_path: Path) -> None:
    assert "use --ipc 500 or less" in refused(config(ipc=501), tmp_path / "run")


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    gone = ("teacher.checkpoint", str(tmp_path / "gone.pt"))
    assert f"there is no checkpoint {tmp_path / 'gone.pt'}" in refused(config(gone), tmp_path / "run")


def test_a_teacher_that_nothing_needs(tmp_path: Path) -> None:
    """A comparison gives every row the teacher, so a row may leave it unread; a run of its own may not."""
    given = ("teacher.checkpoint", "mine.pt")
    for method in ("random", "dm", "ncfm"):
        unread = config(given, method=method, protocol="dc")
        expected = f"--teacher mine.pt has no effect: no component of '{method}' and no label needs a teacher"
        assert expected in refused(unread, tmp_path / "run")
        with pytest.raises(CondenseError, match=r"--teacher mine\.pt has no effect"):
            condense.run(method=method, protocol="dc", settings=[given], out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key", ["teacher.lr", "teacher.augment.cutmix", "teacher.measure_batch", "teacher.epochs"]
)
def test_settings_of_a_teacher_that_nothing_needs(key: str, tmp_path: Path) -> None:
    unread = config((key, 1), method="dm", protocol="dc")
    with pytest.raises(CondenseError, match=f"^{key} has no effect: no component of 'dm' and no label"):
        check_run_ahead(unread, tmp_path / "run", REGISTRY, resume=False, given=[key])
    with pytest.raises(CondenseError, match=f"^{key} has no effect"):
        condense.run(method="dm", protocol="dc", settings={key: 1}, out=tmp_path)
    for method, protocol in (("dm", "fkd"), ("medoids", "dc")):
        read = config((key, 1), method=method, protocol=protocol)
        check_run_ahead(read, tmp_path / "run", REGISTRY, resume=False, given=[key])
    assert not list(tmp_path.iterdir())


def test_the_network_and_the_seed_of_an_unneeded_teacher_count_elsewhere(tmp_path: Path) -> None:
    """DM's random networks are like the teacher, and a split of the images is drawn with its seed."""
    given = [("teacher.model", "convnet"), ("teacher.model.width", 8), ("teacher.seed", 3)]
    counted = config(*given, method="dm", protocol="dc")
    check_run_ahead(counted, tmp_path / "run", REGISTRY, resume=False, given=[key for key, _ in given])


def test_a_mosaic_of_more_images_than_there_are_pixels(tmp_path: Path) -> None:
    """The dry run refuses just the factors that the code refuses."""

    def mosaic(factor: int) -> RunConfig:
        return config(
            ("parametrization", "mosaic"),
            ("parametrization.factor", factor),
            method="random",
            dataset="fashion-mnist",
            ipc=1,
        )

    expected = "stores images of at least 29x29 pixels, and those of 'fashion-mnist' have 28x28"
    assert expected in refused(mosaic(29), tmp_path / "run")
    check_run_ahead(mosaic(28), tmp_path / "run", REGISTRY, resume=False)
    for factor in (28, 29):
        coder = coder_of(mosaic(factor).recipe.parametrization, REGISTRY)
        with nullcontext() if factor == 28 else pytest.raises(CondenseError, match="does not fit"):
            coder.check(1, 28)


@pytest.mark.parametrize(
    "settings",
    [
        [("teacher.model", "timm:local-dir:{folder}")],
        [("student.model", "timm:local-dir:{folder}")],
        [("teacher.model", "ensemble"), ("teacher.model.members", "convnet,timm:local-dir:{folder}")],
    ],
)
def test_a_network_in_a_folder_that_is_not_there(settings: list[tuple[str, str]], tmp_path: Path) -> None:
    placed = [(key, value.format(folder=tmp_path / "net")) for key, value in settings]
    without = ["class-batchnorm"]
    assert "has no config.json" in refused(config(*placed, without=without), tmp_path / "run")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text("{}")
    check_run_ahead(config(*placed, without=without), tmp_path / "run", REGISTRY, resume=False)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "meta", "hpu", "privateuseone", "", "cuda:", "CPU"])
def test_a_device_that_there_is_nowhere(device: str) -> None:
    with pytest.raises(CondenseError, match="device must be auto, cpu, cuda, cuda:N or mps, not "):
        config(device=device)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "cuda:15", "mps"])
def test_a_device_that_there_may_be(device: str) -> None:
    assert config(device=device).machine.device == device


@pytest.mark.parametrize(
    ("network", "there"),
    [
        ("torchvision:mobilenet_v3_small", True),
        ("torchvision:mobilenet_v9_small", False),
        ("timm:resnet10t", True),
        ("timm:resnet10t.c3_in1k", True),
        ("timm:resnet11t", False),
        ("timm:hf-hub:somebody/something", True),
        ("hf-hub:somebody/something", True),
    ],
)
def test_a_network_that_a_library_has_not(network: str, there: bool, tmp_path: Path) -> None:
    asked = config(("student.model", network))
    if there:
        check_run_ahead(asked, tmp_path / "run", REGISTRY, resume=False)
    else:
        assert f"model {network.partition(':')[2]!r}" in refused(asked, tmp_path / "run")


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("ncfm", [("pool.model", "timm:resnet11t")]),
        ("wmdd", [("select.students", 1), ("select.starts", "real"), ("judge.model", "timm:resnet11t")]),
    ],
)
def test_the_networks_of_a_pool_and_of_a_judge_are_looked_at_too(
    method: str, settings: list[tuple[str, Any]], tmp_path: Path
) -> None:
    assert "model 'resnet11t'" in refused(config(*settings, method=method), tmp_path / "run")


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_every_network_of_a_library_is_found(library: str) -> None:
    module = importlib.import_module("torchvision.models" if library == "torchvision" else library)
    words = _words(list(importlib.import_module(library).__path__))
    assert {name.partition(".")[0].lower() for name in module.list_models()} <= words


# A run that goes on.


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    path = tmp_path / "begun"
    Journal.begin(path, config(), {}, HOST)
    return path


def test_a_run_that_can_go_on(begun: Path) -> None:
    for changed in (config(), config(device="cpu", precision="fp32"), config(protocol="dc", students=5)):
        check_run_ahead(changed, begun, REGISTRY, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: config(("recover.lr", 0.125)), "was started with other settings: recover.lr (0.01"),
        (lambda: config(seed=3), "was started with other settings: seed (0 then, 3 now)"),
        (lambda: config(device="cuda:1"), "was started on cpu, float32, and this is cuda, float32"),
        (lambda: config(precision="bf16"), "was started on cpu, float32, and this is cpu, bfloat16"),
    ],
)
def test_a_run_that_cannot_go_on(change: Callable[[], RunConfig], message: str, begun: Path) -> None:
    assert message.partition(" (")[0] in refused(change(), begun, resume=True)


def test_nothing_to_go_on_with(tmp_path: Path, begun: Path) -> None:
    assert "there is no file" in refused(config(), tmp_path / "run.json", resume=True)
    data = json.loads((begun / "run.json").read_text())
    (begun / "run.json").write_text(json.dumps({**data, "format": 1}))
    assert "has format 1" in refused(config(), begun, resume=True)


def test_a_run_that_goes_on_needs_no_checkpoint_any_more(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"x")
    taken = config(("teacher.checkpoint", str(weights)))
    Journal.begin(tmp_path / "run", taken, {}, HOST)
    weights.unlink()
    (tmp_path / "run" / "teacher.safetensors").write_bytes(b"x")
    data = json.loads((tmp_path / "run" / "run.json").read_text())
    assert data["checkpoint"] != str(weights)
    check_run_ahead(taken, tmp_path / "run", REGISTRY, resume=True)
