"""Two components of one name, disabled plugins, and looking up what plugins offer."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from condense.errors import PluginError, UnknownNameError
from condense.recipe.registry import DISABLE_VARIABLE, load_registry
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ModelSpec,
    NoOptions,
    RegularizerSpec,
)

# Two components of one name.


def test_neither_of_two_components_of_one_name_answers(shelf: Any) -> None:
    for plugin in ("left", "right"):
        shelf.offering(plugin, "condense_models", "same", f"only-{plugin}")
    registry = load_registry()
    with pytest.raises(PluginError, match="plugins 'left' and 'right' both offer a model named 'same'"):
        registry.model("same")
    assert "same" not in [found.spec.name for found in registry.offers("model")]
    assert registry.model("only-left")[0].name == "only-left"
    assert registry.model("only-right")[0].name == "only-right"
    assert shelf.status_of(registry, "left").problem == shelf.status_of(registry, "right").problem == ""


def test_a_third_component_of_the_name_does_not_win(shelf: Any) -> None:
    for plugin in ("a", "b", "c"):
        shelf.offering(plugin, "condense_models", "same")
    with pytest.raises(PluginError, match="'a' and 'b' and 'c'"):
        load_registry().model("same")


def test_what_the_host_offers_stands_and_what_others_offer_under_its_name_is_left_out(shelf: Any) -> None:
    for plugin in ("greedy", "greedier"):
        shelf.offering(plugin, "condense_models", "convnet", f"only-{plugin}")
    registry = load_registry()
    assert registry.model("convnet") == load_registry(["greedy", "greedier"]).model("convnet")
    assert registry.plugin_of("model", "convnet") == "condense"
    assert registry.contested == {("model", "convnet"): ("condense", "greedier", "greedy")}
    assert registry.model("only-greedy")[0].name == "only-greedy"


def test_one_name_may_serve_two_kinds(shelf: Any) -> None:
    [method] = shelf.offering("left", "condense_methods", "same")
    [model] = shelf.offering("right", "condense_models", "same")
    registry = load_registry()
    assert registry.method("same") is method
    assert registry.model("same")[0] is model


# Disabled plugins.


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_disabled_plugin_is_not_even_imported(
    shelf: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    module_name = shelf.write("loud", "raise RuntimeError('imported')\n")
    if way == "environment":
        monkeypatch.setenv(DISABLE_VARIABLE, "loud,")
    registry = load_registry(["loud"] if way == "argument" else [])
    assert module_name not in sys.modules
    assert shelf.status_of(registry, "loud").problem == "disabled"
    assert registry.method("sound").name == "sound"


def test_disabling_a_plugin_that_is_not_installed(shelf: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown plugin 'goood'. Did you mean 'good'\?"):
        load_registry(["goood"])


# Looking up.


def test_an_unknown_name_lists_the_valid_ones(shelf: Any) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'soundd'. Did you mean 'sound'\?") as caught:
        load_registry().method("soundd")
    assert "set aside" not in str(caught.value)


def test_an_unknown_name_tells_of_plugins_set_aside(shelf: Any) -> None:
    shelf.write("bad", "raise RuntimeError('out of luck')\n")
    with pytest.raises(UnknownNameError) as caught:
        load_registry().method("from-bad")
    assert str(caught.value).endswith("Plugins set aside: bad (RuntimeError: out of luck)")


def test_what_stands_after_the_colon(shelf: Any) -> None:
    registry = load_registry()
    assert registry.dataset("folder:a/b:c")[1] == "a/b:c"
    assert registry.model("timm:resnet10t")[0].name == "timm"
    with pytest.raises(UnknownNameError, match="dataset 'folder' needs a PATH: write folder:PATH"):
        registry.dataset("folder")
    with pytest.raises(UnknownNameError, match="model 'convnet' takes nothing after a colon, but '64' came"):
        registry.model("convnet:64")


def test_build_calls_what_the_spec_names(shelf: Any) -> None:
    spec = InitializerSpec(name="mine", summary="x", build=lambda options, *more: (options, more))
    options = NoOptions()
    assert spec.builder()(options, 1, 2) == (options, (1, 2))


@pytest.mark.parametrize(
    "spec_type",
    [FeatureTargetSpec, RegularizerSpec, InitializerSpec, EvaluatorSpec, ModelSpec, DatasetSpec],
)
def test_building_what_cannot_be_imported_is_a_plugin_error(spec_type: type[Any]) -> None:
    spec = spec_type(name="mine", summary="x", build="there_is_no_such_module:Thing")
    with pytest.raises(PluginError, match="'mine' cannot be built from 'there_is_no_such_module:Thing'"):
        spec.builder()


def test_an_error_in_what_is_built_has_its_place_and_its_prints_stay_out_of_the_output(
    shelf: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shelf_built.py").write_text("print('imported')\n\nhalf = 1 / 0\n")
    spec = InitializerSpec(name="mine", summary="x", build="shelf_built:Thing")
    said = r"'mine' cannot be built from 'shelf_built:Thing' \(shelf_built.py, line 3\): ZeroDivisionError: division"
    with pytest.raises(PluginError, match=said):
        spec.builder()
    assert capsys.readouterr() == ("", "imported\n")
