"""methods, datasets, models, protocols, components."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

Invoke = Callable[..., Result]

RIVAL = """
from condense import Method, Recover, hookimpl

@hookimpl
def condense_methods():
    return [Method(name="wmdd", summary="another of this name", recover=Recover(iterations=0))]
"""

PROTOCOL = """
from condense import Protocol, Use, hookimpl

@hookimpl
def condense_protocols():
    network = Use(name="convnet", options={"width": 4})
    return [Protocol(name="quick", summary="one epoch with hard labels", epochs=1, model=network)]
"""


@pytest.mark.parametrize(
    ("command", "name", "plugin"),
    [
        ("methods", "wmdd", "wmdd"),
        ("methods", "random", "baselines"),
        ("datasets", "fashion-mini", "condense"),
        ("datasets", "folder:PATH", "condense"),
        ("models", "convnet", "condense"),
        ("components", "barycenter", "wmdd"),
        ("components", "mosaic", "condense"),
        ("components", "class-batchnorm", "wmdd"),
        ("components", "students", "condense"),
        ("components", "noise", "condense"),
        ("protocols", "fkd", "condense"),
        ("protocols", "dc", "condense"),
    ],
)
def test_each_thing_has_one_line_with_its_plugin(
    condense: Invoke, command: str, name: str, plugin: str
) -> None:
    result = condense(command)
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.split()[0] == name]
    assert plugin in line.split()
    (entry,) = [entry for entry in json.loads(condense(command, "--json").stdout) if entry["name"] == name]
    assert entry["plugin"] == plugin
    assert entry["summary"] in line


@pytest.mark.parametrize("command", ["methods", "datasets", "models", "protocols", "components"])
def test_everything_listed_can_be_shown(condense: Invoke, command: str) -> None:
    for entry in json.loads(condense(command, "--json").stdout):
        name = entry["name"].partition(":")[0]
        result = condense(command, "show", name)
        assert result.exit_code == 0, result.output
        assert entry["summary"].split()[0] in result.stdout
        data = json.loads(condense(command, "show", name, "--json").stdout)
        assert data["summary"] == entry["summary"]
        assert json.loads(condense(command, "--json", "show", name).stdout) == data


@pytest.mark.parametrize("command", ["methods", "datasets", "models", "protocols", "components"])
def test_an_unknown_name_is_answered_with_the_nearest(condense: Invoke, command: str) -> None:
    name = json.loads(condense(command, "--json").stdout)[0]["name"].partition(":")[0]
    result = condense(command, "show", name + "x")
    assert result.exit_code == 1
    assert f"unknown {command.removesuffix('s')} '{name}x'. Did you mean {name!r}?" in result.stderr


def test_a_method_shows_source_recipe_and_defaults(condense: Invoke) -> None:
    text = condense("methods", "show", "wmdd").stdout
    assert "arXiv 2311.18531" in " ".join(text.split())
    lines = [line.split() for line in text.splitlines()]
    assert ["regularizers.class-batchnorm", "10"] in lines
    assert ["targets.barycenter.solver", "quantize"] in lines
    assert ["recover.betas", "0.5,0.9"] in lines
    assert ["protocol", "fkd"] in lines


@pytest.mark.parametrize(
    ("key", "shown"), [("imagenette", "imagenette"), ("small-grey", "small grey images")]
)
def test_a_method_shows_its_presets_by_dataset_and_kind_of_images(
    condense: Invoke, add_plugins: Callable[..., None], key: str, shown: str
) -> None:
    more = f'presets={{"{key}": {{"recover.lr": 0.1}}}}, summary='
    add_plugins(mine=RIVAL.replace('"wmdd"', '"mine"').replace("summary=", more))
    text = condense("methods", "show", "mine").stdout
    assert text.split(f"Instead, on {shown}")[1].split() == ["recover.lr", "0.1"]
    data = json.loads(condense("methods", "show", "mine", "--json").stdout)
    assert data["presets"] == {key: {"recover.lr": 0.1}}


def test_a_method_shows_its_pool_if_it_has_one(condense: Invoke) -> None:
    text = condense("methods", "show", "ncfm").stdout
    assert "pool.networks" in text
    assert "pool." not in condense("methods", "show", "wmdd").stdout


def test_a_method_shows_although_a_component_of_it_is_missing(condense: Invoke) -> None:
    result = condense("--disable-plugin", "baselines", "methods", "show", "wmdd")
    assert result.exit_code == 0
    assert "targets.barycenter" in result.stdout


def test_a_component_shows_its_options_as_keys_of_set(condense: Invoke) -> None:
    text = condense("components", "show", "class-batchnorm").stdout
    line = next(line for line in text.splitlines() if "regularizers.class-batchnorm.form" in line)
    assert line.split()[1:] == ["norms", "squares", "or", "norms", "or", "relative"]
    assert "It has no options." in condense("components", "show", "real").stdout


def test_a_protocol_shows_how_students_are_trained(condense: Invoke) -> None:
    lines = [line.split() for line in condense("protocols", "show", "dc").stdout.splitlines()]
    assert ["protocol.epochs", "1000"] in lines
    assert ["protocol.labels", "hard"] in lines
    assert ["protocol.model", "convnet"] in lines
    assert ["protocol.model.norm", "instance"] in lines
    assert ["protocol.model.width", "128"] in lines


def test_a_protocol_of_a_plugin(condense: Invoke, add_plugins: Callable[..., None]) -> None:
    add_plugins(mine=PROTOCOL)
    [line] = [line for line in condense("protocols").stdout.splitlines() if line.startswith("quick")]
    assert line.split() == ["quick", "mine", "one", "epoch", "with", "hard", "labels"]
    lines = [line.split() for line in condense("protocols", "show", "quick").stdout.splitlines()]
    for setting in (["protocol.epochs", "1"], ["protocol.model", "convnet"], ["protocol.model.width", "4"]):
        assert setting in lines
    words = [
        "run",
        "--method",
        "random",
        "--ipc",
        "1",
        "--students",
        "1",
        "--device",
        "cpu",
        "--no-reference",
    ]
    result = condense(*words, "--protocol", "quick", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["settings"]["evaluation"]["protocol"]["name"] == "quick"
    assert data["rows"][0]["students"] == 1
    assert "squeeze" not in data["seconds"]
    result = condense(*words, "--protocol", "quikc")
    assert result.exit_code == 1
    said, _, listed = result.stderr.strip().partition(" There are: ")
    assert said.endswith("unknown protocol 'quikc'. Did you mean 'quick'?")
    assert {"dc", "fkd", "quick"} <= set(listed.split(", "))


def test_a_method_shows_what_it_changes_for_many_images(
    condense: Invoke, add_plugins: Callable[..., None]
) -> None:
    source = RIVAL.replace('"wmdd"', '"mine"').replace("Method, Recover", "Method, Recover, Variant")
    more = 'for_ipc={1: {"lr": 0.5}, 50: {"lr": 0.1}}, variants=(Variant(label="a"),), summary='
    add_plugins(mine=source.replace("summary=", more))
    text = condense("methods", "show", "mine").stdout
    assert text.split("Instead, from 1 image per class on")[1].split()[:2] == ["lr", "0.5"]
    assert text.split("Instead, from 50 images per class on")[1].split()[:2] == ["lr", "0.1"]
    assert text.split("Rows of its ablation")[1].split() == ["a:", "as", "it", "is"]
    data = json.loads(condense("methods", "show", "mine", "--json").stdout)
    assert data["presets_by_ipc"] == {"1": {"lr": 0.5}, "50": {"lr": 0.1}}
    assert data["variants"] == [{"label": "a", "settings": {}, "without": []}]
    assert not [key for key in data["settings"] if key.startswith(("for_ipc", "variants", "presets"))]


def test_every_listing_marks_names_that_two_plugins_offer(
    condense: Invoke, add_plugins: Callable[..., None]
) -> None:
    offers = """
from condense import (DatasetSpec, EvaluatorSpec, FeatureTargetSpec, InitializerSpec, Method, ModelSpec,
    ParametrizationSpec, Protocol, Recover, RegularizerSpec, hookimpl)
def spec(kind, *names):
    return lambda: [kind(name=name, summary="x", build="a:b") for name in names]
condense_datasets = hookimpl(spec(DatasetSpec, "fashion-mini", "new"), specname="condense_datasets")
condense_models = hookimpl(spec(ModelSpec, "convnet", "new"), specname="condense_models")
condense_initializers = hookimpl(spec(InitializerSpec, "noise", "new"), specname="condense_initializers")
@hookimpl
def condense_protocols():
    return [Protocol(name=name, summary="x") for name in ("fkd", "new")]
@hookimpl
def condense_methods():
    return [Method(name=name, summary="x", recover=Recover(iterations=0)) for name in ("imported", "new")]
"""
    add_plugins(one=offers, two=offers)
    hosts = {"datasets": "fashion-mini", "models": "convnet", "components": "noise", "protocols": "fkd"}
    for command, name in {**hosts, "methods": "imported"}.items():
        lines = condense(command).stdout.splitlines()
        [new] = [line for line in lines if line.split()[0] == "new"]
        assert "[clash: plugins 'one' and 'two' offer it, so none counts; disable one]" in new
        [host] = [line for line in lines if line.split()[0] == name]
        clash = "clash: condense's own counts, and that of 'one' and 'two' is left out"
        assert host.endswith(f"[{clash}]")
        rows = {row["name"]: row for row in json.loads(condense(command, "--json").stdout)}
        assert (rows["new"]["plugin"], rows[name]["plugin"]) == ("one, two", "condense")
        assert rows[name]["clash"] == clash
        assert clash in condense(command, "show", name).stdout
        refused = condense(command, "show", "new")
        assert refused.exit_code == 1
        assert "plugins 'one' and 'two' both offer" in refused.stderr


def test_a_key_can_be_copied_from_a_narrow_terminal(
    condense: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("condense_cli.render.console.UNWRAPPED", 80)
    lines = condense("methods", "show", "g-vbsm").stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert ["regularizers.convolutions.first_weight", "10"] in [line.split() for line in lines]


def test_a_dataset_shows_the_kind_of_its_images_and_what_it_sets_for_every_method(condense: Invoke) -> None:
    assert "kind of images: small grey images" in condense("datasets", "show", "fashion-mini").stdout
    text = condense("datasets", "show", "cifar10").stdout
    for line in ("classes: 10", "images: 50000 training, 10000 test", "side length: 32 pixels"):
        assert line in text
    assert "looked for in the data folder as: cifar-10-batches-py/" in text
    data = json.loads(condense("datasets", "show", "cifar10", "--json").stdout)
    assert (data["classes"], data["images"], data["side"]) == (10, [50000, 10000], 32)
    text = condense("datasets", "show", "folder").stdout
    assert "classes: " not in text
    assert "kind of images: found from the images" in text
    for kind in ("small grey images", "small colour images", "photographs"):
        assert f"Settings for every method, for {kind}" in text
    data = json.loads(condense("datasets", "show", "folder", "--json").stdout)
    assert data["like"] == ""
    assert data["settings_by_kind"]["photographs"]["teacher.model"] == "resnet18"


def test_a_method_lists_what_was_published_for_it(condense: Invoke) -> None:
    text = " ".join(condense("methods", "show", "g-vbsm").stdout.split())
    assert "Published accuracies, %" in text
    assert "student convnet: 3 blocks of width 128" in text
    assert "IPC 1 10 50 100 cifar10 53.5 ± 0.6 59.2 ± 0.4" in text
    assert "tiny-imagenet 47.6 ± 0.3 51.0 ± 0.4" in text
    data = json.loads(condense("methods", "show", "g-vbsm", "--json").stdout)
    assert {
        "dataset": "cifar10",
        "ipc": 50,
        "accuracy": 0.543,
        "spread": 0.003,
        "student": "convnet",
    }.items() <= next(
        one for one in data["published"] if (one["ipc"], one["student"]) == (50, "convnet")
    ).items()
    assert "Published" not in condense("methods", "show", "k-center").stdout
