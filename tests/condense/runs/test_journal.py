"""run.json: what it says at each point, and when a run may go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from condense.data.dataset import RealDataset
from condense.errors import StorageError
from condense.recipe.config import RunConfig, config_from_dict, configure
from condense.recipe.registry import Registry
from condense.runs.journal import Journal, saved_config


@pytest.fixture
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset())


@pytest.fixture
def config(registry: Registry) -> RunConfig:
    return configure(registry, method="wmdd", dataset="tiny", ipc=2, data_dir="here")


def begin(path: Path, config: RunConfig) -> Journal:
    return Journal.begin(path, config, {"python": "3"}, {"cores": "2"})


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "run.json").read_text())
    return found


def test_it_is_there_from_the_beginning(tmp_path: Path, config: RunConfig, registry: Registry) -> None:
    path = tmp_path / "one"
    begin(path, config)
    found = content(path)
    assert (found["name"], found["status"], found["outcome"], found["stages"]) == ("one", "running", None, {})
    assert (found["versions"], found["host"]) == ({"python": "3"}, {"cores": "2"})
    for place in (path, path / "run.json"):
        assert config_from_dict(saved_config(place), registry) == config


def test_stages_are_timed_also_where_they_fail_and_add_up(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    journal = begin(path, config)
    with pytest.raises(KeyboardInterrupt), journal.stage("squeeze") as facts:
        facts["accuracy"] = 0.5
        raise KeyboardInterrupt
    first = content(path)["stages"]["squeeze"]
    assert first["accuracy"] == 0.5
    assert first["seconds"] > 0
    again = Journal.resume(path, config, config)
    with again.stage("squeeze"):
        pass
    assert content(path)["stages"]["squeeze"]["seconds"] > first["seconds"]
    assert set(again.seconds) == {"squeeze"}
    again.finish({"rows": [1]})
    assert (content(path)["status"], content(path)["outcome"]) == ("done", {"rows": [1]})


def test_other_settings_are_named(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    begin(path, config)
    other = replace(config, ipc=3, recover=replace(config.recover, lr=0.5))
    with pytest.raises(StorageError) as caught:
        Journal.resume(path, other, config)
    assert str(caught.value) == (
        f"{path} was started with other settings: ipc (2 then, 3 now), recover.lr (0.25 then, 0.5 now). "
        "Repeat them, or choose another --name"
    )
    fewer = replace(config, regularizers=())
    with pytest.raises(StorageError, match=r"regularizers\.class-batchnorm \(10\.0 then, None now\)"):
        Journal.resume(path, fewer, config)
    Journal.resume(path, replace(config, data_dir="moved"), config)


def test_folders_without_a_run(tmp_path: Path, config: RunConfig) -> None:
    with pytest.raises(StorageError, match="there is no run directory"):
        Journal.resume(tmp_path / "gone", config, config)
    with pytest.raises(StorageError, match=r"is no run directory: it has no run\.json"):
        Journal.resume(tmp_path, config, config)
    for text in ("[]", '{"format": 2, "config": {}}', '{"format": 1}'):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(StorageError, match=r"run\.json is not the run\.json of a run of this version"):
            saved_config(tmp_path)


def test_a_folder_in_use_is_left_alone(tmp_path: Path, config: RunConfig) -> None:
    begin(tmp_path / "one", config)
    before = content(tmp_path / "one")
    with pytest.raises(
        StorageError, match="exists already; choose another --name, or continue it with --resume"
    ):
        begin(tmp_path / "one", replace(config, ipc=1))
    assert content(tmp_path / "one") == before
