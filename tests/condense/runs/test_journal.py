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
from condense.recipe.config import Machine, RunConfig
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.resolve import config_from_dict, configure
from condense.runs.journal import Journal, saved_config


@pytest.fixture
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset())


@pytest.fixture
def config(registry: Registry) -> RunConfig:
    return configure(registry, method="wmdd", dataset="tiny", ipc=2, data_dir="here")


HOST = {"cores": "2", "computes": "cpu, float32"}


def begin(path: Path, config: RunConfig) -> Journal:
    return Journal.begin(path, config, {"python": "3"}, HOST)


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "run.json").read_text())
    return found


def test_it_is_there_from_the_beginning(tmp_path: Path, config: RunConfig, registry: Registry) -> None:
    path = tmp_path / "one"
    begin(path, config)
    found = content(path)
    assert (found["name"], found["status"], found["outcome"], found["stages"]) == ("one", "running", None, {})
    assert (found["format"], found["versions"], found["host"]) == (2, {"python": "3"}, HOST)
    assert found["checkpoint"] == ""
    assert list(found["settings"]) == ["recipe", "evaluation", "machine"]
    for place in (path, path / "run.json"):
        assert config_from_dict(saved_config(place), registry) == config


def test_seconds_of_pieces_add_up_also_over_attempts(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    journal = begin(path, config)
    journal.add("squeeze", 1.5, {"accuracy": 0.5})
    journal.add("recover", 2.0, {})
    assert content(path)["stages"] == {
        "squeeze": {"seconds": 1.5, "accuracy": 0.5},
        "recover": {"seconds": 2.0},
    }
    again = Journal.resume(path, config, config, HOST)
    again.add("recover", 0.25, {})
    assert again.seconds == {"squeeze": 1.5, "recover": 2.25}
    again.finish({"rows": [1]})
    assert (content(path)["status"], content(path)["outcome"]) == ("done", {"rows": [1]})


def test_other_settings_are_named(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    begin(path, config)
    recipe = config.recipe
    other = replace(config, recipe=replace(recipe, ipc=3, recover=replace(recipe.recover, lr=0.5)))
    with pytest.raises(StorageError) as caught:
        Journal.resume(path, other, config, HOST)
    assert str(caught.value) == (
        f"{path} was started with other settings: ipc (2 then, 3 now), recover.lr (0.25 then, 0.5 now). "
        "Repeat them, or choose another --name"
    )
    fewer = replace(config, recipe=replace(recipe, regularizers={}))
    with pytest.raises(StorageError, match=r"regularizers\.class-batchnorm \(10\.0 then, None now\)"):
        Journal.resume(path, fewer, config, HOST)


def test_another_evaluation_or_place_is_taken_over(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    begin(path, config)
    evaluation = replace(config.evaluation, students=7, protocol=Protocol(name="mine", epochs=2))
    other = replace(
        config, evaluation=evaluation, machine=Machine(device="cuda:1", precision="fp32", data_dir="moved")
    )
    Journal.resume(path, other, config, HOST).save()
    assert content(path)["settings"] == json.loads(json.dumps(other.to_dict()))


@pytest.mark.parametrize("computes", ["cpu, bfloat16", "cuda, float32"])
def test_another_kind_of_machine_is_named(computes: str, tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    begin(path, config)
    with pytest.raises(StorageError) as caught:
        Journal.resume(path, config, config, {**HOST, "computes": computes})
    assert str(caught.value) == (
        f"{path} was started on cpu, float32, and this is {computes}, which gives other images; "
        "set --device and --precision, or choose another --name"
    )
    # Another computer of the same kind will do.
    Journal.resume(path, config, config, {"cores": "64", "computes": "cpu, float32"})


def test_folders_without_a_run(tmp_path: Path, config: RunConfig) -> None:
    with pytest.raises(StorageError, match="there is not a run directory"):
        Journal.resume(tmp_path / "gone", config, config, HOST)
    with pytest.raises(StorageError, match=r"is not a run directory: it has no run\.json"):
        Journal.resume(tmp_path, config, config, HOST)
    for text in (
        "[]",
        "{}",
        '{"settings": {}}',
        '{"format": 2, "config": {}}',
        '{"format": 2, "settings": []}',
    ):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(StorageError, match=r"run\.json is not the run\.json of a run of condense$"):
            saved_config(tmp_path)


@pytest.mark.parametrize("version", [1, 3])
def test_a_run_of_another_format_says_so(version: int, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": version, "config": {}, "settings": {}}))
    for place in (tmp_path, tmp_path / "run.json"):
        with pytest.raises(StorageError) as caught:
            saved_config(place)
        assert str(caught.value) == (
            f"{tmp_path / 'run.json'} has format {version}, and this version of condense reads format 2; "
            "start the run again, or use the version of condense that wrote it"
        )


def test_a_folder_in_use_is_left_alone(tmp_path: Path, config: RunConfig) -> None:
    begin(tmp_path / "one", config)
    before = content(tmp_path / "one")
    with pytest.raises(
        StorageError, match="exists already; choose another --name, or continue it with --resume"
    ):
        begin(tmp_path / "one", replace(config, recipe=replace(config.recipe, ipc=1)))
    assert content(tmp_path / "one") == before


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (StorageError("no space left"), "failed", "no space left"),
        (ZeroDivisionError("by zero\nand more"), "failed", "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), "interrupted", ""),
        (SystemExit(143), "interrupted", ""),
    ],
)
def test_it_says_how_a_run_ended(
    error: BaseException, status: str, failure: str, tmp_path: Path, config: RunConfig
) -> None:
    path = tmp_path / "one"
    journal = begin(path, config)
    with pytest.raises(type(error)), journal.stopping():
        raise error
    assert (content(path)["status"], content(path)["failure"]) == (status, failure)
    again = Journal.resume(path, config, config, HOST)
    again.save()
    assert (content(path)["status"], content(path)["failure"]) == ("running", "")
    with again.stopping():
        again.finish({})
    assert content(path)["status"] == "done"


def test_a_run_that_cannot_say_how_it_ended_says_why_it_ended(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    journal = begin(path, config)
    (path / "run.json").unlink()
    path.rmdir()
    path.write_text("a file where the folder was")
    with pytest.raises(StorageError, match="no space left"), journal.stopping():
        raise StorageError("no space left")


def test_a_run_does_not_go_on_with_a_plugin_that_has_changed(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    Journal.begin(path, config, {}, HOST, {"mine": "1", "other": "2"})
    assert content(path)["sources"] == {"mine": "1", "other": "2"}
    # Another evaluation may have another plugin, and need one no longer.
    Journal.resume(path, config, config, HOST, {"mine": "1", "judge": "3"}).save()
    assert content(path)["sources"] == {"mine": "1", "other": "2", "judge": "3"}
    with pytest.raises(StorageError) as caught:
        Journal.resume(path, config, config, HOST, {"mine": "9"})
    assert str(caught.value) == (
        f"the source of plugin 'mine' has changed since {path} was started, so that its results would be mixed with "
        "old ones; choose another --name (with --teachers DIR, runs share the teacher)"
    )


def test_a_run_directory_that_has_gone_is_told(tmp_path: Path, config: RunConfig) -> None:
    path = tmp_path / "one"
    journal = begin(path, config)
    path.rename(tmp_path / "moved")
    with pytest.raises(StorageError, match="has gone: the run directory was moved or removed"):
        journal.finish({})
    assert not path.exists()
    (tmp_path / "moved").rename(path)
    journal.finish({})
    assert content(path)["status"] == "done"


def test_recover_goes_on_compiled_or_not_as_it_was_started(tmp_path: Path, config: RunConfig) -> None:
    """Chunks of both kinds would differ in their last bits. Students are pieces of their own."""
    path = tmp_path / "one"
    Journal.begin(path, config, {"python": "3"}, {**HOST, "compiled": "recover, evaluate"})
    with pytest.raises(
        StorageError,
        match=r"was started with recover compiled, and here nothing would be, .* set --compile, or",
    ):
        Journal.resume(path, config, config, {**HOST, "compiled": "evaluate"})
    Journal.resume(path, config, config, {**HOST, "compiled": "recover"}).save()
    assert content(path)["host"]["compiled"] == "recover"
