"""Configurations as plain data: what is passed on with a dataset, and the way to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from condense.errors import OptionError, UnknownNameError
from condense.recipe.config import RunConfig, public_settings
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import config_from_dict, configure
from condense.recipe.settings import complete

# What is passed on.


def test_settings_that_are_passed_on_name_no_place_of_this_machine(toys: Registry) -> None:
    config = configure(
        toys,
        method="toy",
        dataset="special:/home/me/pets",
        settings=[("teacher.checkpoint", "/home/me/weights.pt")],
        data_dir="/home/me/data",
    )
    shown = public_settings(config.recipe, config.evaluation)
    assert set(shown) == {"recipe", "evaluation"}
    assert "/home/me" not in json.dumps(shown)
    assert shown["recipe"]["dataset"]["name"] == "special:pets"
    everything = config.to_dict()
    assert everything["evaluation"]["student"].pop("together") == 1  # told only where it says something
    assert shown["evaluation"] == everything["evaluation"]
    differing = {key for key in shown["recipe"] if shown["recipe"][key] != everything["recipe"][key]}
    assert differing == {"dataset", "teacher"}


# To JSON and back.


def configurations(toys: Registry) -> dict[str, RunConfig]:
    return {
        "plain": configure(toys, method="toy", dataset="plain"),
        "changed": configure(
            toys,
            method="toy",
            dataset="special:a b/c",
            protocol="fkd",
            settings=[
                ("augment.crop_scale", "0.08,1"),
                ("augment.siamese", "flip,color"),
                ("teacher.model", "convnet"),
                ("student.model", "timm:resnet10t"),
                ("targets.cross-entropy", "0.5"),
                ("lr", "0.1"),
            ],
            without=["smooth"],
            seed=5,
            students=0,
            reference=False,
            device="cuda:1",
            data_dir="there",
        ),
        "keeper": configure(toys, method="keeper", dataset="common"),
    }


@pytest.mark.parametrize("which", ["plain", "changed", "keeper"])
def test_a_configuration_survives_being_written_down(which: str, toys: Registry) -> None:
    config = configurations(toys)[which]
    again = config_from_dict(json.loads(json.dumps(config.to_dict())), toys)
    assert again == config
    for group in RunConfig.GROUPS:
        assert getattr(again, group).hash == getattr(config, group).hash


def test_so_does_one_with_an_option_of_every_type(knobs: Any) -> None:
    config = knobs.changed(("initializer.range", "0.5,1"), ("initializer.names", "a,b"))
    again = config_from_dict(json.loads(json.dumps(config.to_dict())), knobs.registry)
    assert again == complete(config, knobs.registry)
    assert again.recipe.hash == config.recipe.hash


@pytest.mark.parametrize("method", ["wmdd", "random"])
def test_so_do_those_of_the_methods_that_come_with_condense(method: str) -> None:
    installed = load_registry(environment={})
    config = configure(installed, method=method)
    assert config_from_dict(json.loads(json.dumps(config.to_dict())), installed) == config


def test_what_is_written_down_has_three_groups_and_losses_by_name(toys: Registry) -> None:
    data = configurations(toys)["changed"].to_dict()
    assert list(data) == ["recipe", "evaluation", "machine"]
    assert data["recipe"]["targets"] == {
        "match": {"weight": 1.0, "options": {}},
        "cross-entropy": {"weight": 0.5, "options": {}},
    }
    assert data["recipe"]["regularizers"] == {}
    assert data["machine"] == {
        "device": "cuda:1",
        "precision": "auto",
        "data_dir": "there",
        "loaders": None,
        "jpeg_decoder": "cpu",
        "keep_minutes": 5.0,
        "compile": "auto",
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.pop("recipe"), "recipe is missing$"),
        (lambda data: data.pop("evaluation"), "evaluation is missing$"),
        (lambda data: data["recipe"].pop("method"), r"recipe\.method is missing$"),
        (lambda data: data["recipe"].update(ipc="ten"), r"recipe\.ipc must be a whole number, not 'ten'$"),
        (
            lambda data: data["recipe"].update(ipc=0),
            r"recipe: images per class must lie between 1 and 1000000, not 0$",
        ),
        (
            lambda data: data["recipe"]["recover"].update(lr=-1.0),
            r"recipe\.recover: lr must be above 0, not -1.0$",
        ),
        (
            lambda data: data["recipe"]["recover"].update(optimizer="sdg"),
            r"recipe\.recover\.optimizer must be one of adam, sgd, not 'sdg'$",
        ),
        (
            lambda data: data["recipe"].update(targets=[]),
            r"recipe\.targets must be a group of values by name, not \[\]$",
        ),
        (
            lambda data: data["evaluation"].update(students=-1),
            "students must lie between 0 and 10000, not -1",
        ),
        (
            lambda data: data["machine"].update(precision="half"),
            r"machine\.precision must be one of auto, bf16, fp32, not 'half'$",
        ),
    ],
)
def test_what_is_no_configuration(damage: Callable[[Any], Any], message: str, toys: Registry) -> None:
    data = json.loads(json.dumps(configurations(toys)["plain"].to_dict()))
    damage(data)
    with pytest.raises(OptionError, match=f"these are not the settings of a run: .*{message}"):
        config_from_dict(data, toys)


def test_a_configuration_whose_component_is_gone(toys: Registry) -> None:
    data = configurations(toys)["plain"].to_dict()
    initializer = data["recipe"]["initializer"]
    initializer["name"] = "noize"
    with pytest.raises(UnknownNameError, match="unknown initializer 'noize'"):
        config_from_dict(data, toys)
    initializer["name"] = "noise"
    initializer["options"] = {"colour": "pink"}
    with pytest.raises(OptionError, match=r"unknown option 'noise.colour'"):
        config_from_dict(data, toys)
    initializer["options"] = {}
    data["recipe"]["targets"]["gone"] = {"weight": 1.0, "options": {}}
    with pytest.raises(UnknownNameError, match="unknown feature target 'gone'"):
        config_from_dict(data, toys)
