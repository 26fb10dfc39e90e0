"""Finding plugins: what goes wrong with a stranger's code, and what must still work beside it."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest

from condense.errors import PluginError, UnknownNameError
from condense.recipe import hooks as hookspecs
from condense.recipe.hooks import hookimpl
from condense.recipe.method import Method, Recover
from condense.recipe.protocol import Protocol
from condense.recipe.registry import DISABLE_VARIABLE, KINDS, PluginStatus, Registry, _Loader, load_registry
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ModelSpec,
    NoOptions,
    RegularizerSpec,
)

DOCS = Path(__file__).parents[3] / "docs" / "plugins.md"
HOOKS = sorted(KINDS)


def offer(hook_name: str, name: str) -> Any:
    """The plainest thing that a hook may give."""
    expected = KINDS[hook_name][1]
    if expected is Method:
        return Method(name=name, summary="nothing", recover=Recover(iterations=0))
    if expected is Protocol:
        return Protocol(name=name, summary="nothing")
    return expected(name=name, summary="nothing", build="builtins:dict")


def hook(hook_name: str, *answer: Any) -> Callable[[], Sequence[Any]]:
    """A marked implementation of a hook that answers with `answer`."""

    def implementation() -> Sequence[Any]:
        return list(answer)

    implementation.__name__ = hook_name
    return hookimpl(implementation)


class Shelf:
    """Plugins that pretend to be installed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.points: list[importlib.metadata.EntryPoint] = []
        self._monkeypatch = monkeypatch
        self._folder = folder
        monkeypatch.setattr(importlib.metadata, "entry_points", self._entry_points)
        monkeypatch.syspath_prepend(str(folder))

    def _entry_points(self, *, group: str) -> list[importlib.metadata.EntryPoint]:
        return [point for point in self.points if point.group == group]

    def install(self, name: str, module: str) -> None:
        self.points.append(importlib.metadata.EntryPoint(name, module, "condense"))

    def add(self, name: str, module_name: str = "", **attributes: Any) -> None:
        """Install a plugin whose module has these attributes."""
        module = ModuleType(module_name or f"shelf_{name}")
        for attribute, value in attributes.items():
            setattr(module, attribute, value)
        self._monkeypatch.setitem(sys.modules, module.__name__, module)
        self.install(name, module.__name__)

    def write(self, name: str, text: str) -> str:
        """Install a plugin that is a file; the name of its module."""
        module_name = f"shelf_file_{name}"
        (self._folder / f"{module_name}.py").write_text(text)
        self._monkeypatch.delitem(sys.modules, module_name, raising=False)
        self.install(name, module_name)
        return module_name


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shelf:
    monkeypatch.delenv(DISABLE_VARIABLE, raising=False)
    result = Shelf(monkeypatch, tmp_path)
    # Loaded after every bad plugin below, whose names come earlier in the alphabet.
    result.add("good", condense_methods=hook("condense_methods", offer("condense_methods", "sound")))
    return result


def status_of(registry: Registry, name: str) -> PluginStatus:
    [status] = [status for status in registry.plugins if status.name == name]
    return status


def problem_beside_good(name: str) -> str:
    """Why the plugin was set aside, having made sure that the good one still answers."""
    registry = load_registry()
    assert status_of(registry, "good").problem == ""
    assert registry.method("sound").name == "sound"
    problem = status_of(registry, name).problem
    assert problem, f"{name} was not set aside"
    offers = [found.plugin for kind, _ in KINDS.values() for found in registry.offers(kind)]
    assert name not in offers
    return problem


# What every hook gives.


def test_the_kinds_are_exactly_the_hooks_of_the_contract() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    assert {name for name in vars(manager.hook) if not name.startswith("_")} == set(KINDS)


@pytest.mark.parametrize("hook_name", HOOKS)
def test_every_hook_offers_its_specs_by_name(shelf: Shelf, hook_name: str) -> None:
    spec = offer(hook_name, "mine")
    shelf.add("extra", **{hook_name: hook(hook_name, spec)})
    registry = load_registry()
    kind = KINDS[hook_name][0]
    assert registry.find(kind, "mine") is spec
    assert ("extra", spec) in [(found.plugin, found.spec) for found in registry.offers(kind)]
    assert status_of(registry, "extra").problem == ""


@pytest.mark.parametrize("hook_name", HOOKS)
def test_every_hook_has_an_entry_in_the_docs(hook_name: str) -> None:
    assert hook_name in DOCS.read_text(), f"docs/plugins.md does not mention {hook_name}"


@pytest.mark.parametrize("hook_name", HOOKS)
def test_every_hook_has_one_line_of_documentation(hook_name: str) -> None:
    text = getattr(hookspecs, hook_name).__doc__
    assert text
    assert "\n" not in text.strip()


def test_offers_are_listed_by_name(shelf: Shelf) -> None:
    specs = [offer("condense_models", name) for name in ("zebra", "ant")]
    shelf.add("extra", condense_models=hook("condense_models", *specs))
    names = [found.spec.name for found in load_registry().offers("model")]
    assert names == sorted(names)
    assert {"zebra", "ant"} <= set(names)


def test_a_hook_may_be_implemented_under_another_name(shelf: Shelf) -> None:
    def anything() -> list[Method]:
        return [offer("condense_methods", "renamed")]

    shelf.add("extra", anything=hookimpl(anything, specname="condense_methods"))
    assert load_registry().method("renamed").name == "renamed"


def test_the_host_itself_offers_through_the_same_hooks(shelf: Shelf) -> None:
    registry = load_registry()
    assert {found.plugin for found in registry.offers("model")} == {"condense"}
    assert registry.plugins[0].name == "condense"
    assert registry.plugins[0].module == "condense.builtin"


# Plugins that fail.


def test_a_plugin_that_fails_to_import(shelf: Shelf) -> None:
    shelf.write("bad", "import there_is_no_such_module_at_all\n")
    assert "there_is_no_such_module_at_all" in problem_beside_good("bad")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise RuntimeError('out of luck')", "RuntimeError: out of luck"),
        ("import sys; sys.exit('wrong licence')", "SystemExit: wrong licence"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_plugin_may_raise_anything_when_imported(shelf: Shelf, statement: str, reason: str) -> None:
    shelf.write("bad", statement + "\n")
    assert reason in problem_beside_good("bad")


def test_a_misspelt_hook_is_named(shelf: Shelf) -> None:
    shelf.add("bad", condense_methds=hook("condense_methds", offer("condense_methods", "lost")))
    assert "condense_methds" in problem_beside_good("bad")


def test_a_wrong_signature_names_hook_and_argument(shelf: Shelf) -> None:
    @hookimpl
    def condense_methods(registry: object) -> list[Method]:
        return []

    shelf.add("bad", condense_methods=condense_methods)
    problem = problem_beside_good("bad")
    assert "condense_methods" in problem
    assert "registry" in problem


def test_a_hook_that_is_not_marked(shelf: Shelf) -> None:
    shelf.add("bad", condense_methods=lambda: [offer("condense_methods", "lost")])
    problem = problem_beside_good("bad")
    assert "condense_methods is not marked with @condense.hookimpl" in problem


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("ModelSpec(name='Bad Name', summary='x', build='a:b')", "'Bad Name' is not lower-case words"),
        ("ModelSpec(name='bad', summary='', build='a:b')", "needs a summary of one line"),
        ("ModelSpec(name='bad', summary='x', build='a.b')", "'a.b' is not 'module:attribute'"),
        ("ModelSpec(name='bad', summary='x', build='a:b', options=dict)", "are not a dataclass"),
        (
            "ModelSpec(name='bad', summary='x', build='a:b', options=Bare)",
            "option 'width' of 'bad' has no def",
        ),
        ("Method(name='bad', summary='x')", "2000 steps without a target"),
        ("Method(name='Bad', summary='x', recover=Recover(iterations=0))", "'Bad' is not lower-case words"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_spec_that_cannot_be_used(shelf: Shelf, body: str, reason: str) -> None:
    shelf.write(
        "bad",
        "from dataclasses import dataclass\n"
        "from condense.recipe.hooks import hookimpl\n"
        "from condense.recipe.method import Method, Recover\n"
        "from condense.recipe.specs import ModelSpec\n"
        "@dataclass\n"
        "class Bare:\n"
        "    width: int\n"
        "@hookimpl\n"
        "def condense_models():\n"
        f"    return [{body}]\n",
    )
    assert reason in problem_beside_good("bad")


@pytest.mark.parametrize("hook_name", HOOKS)
def test_a_hook_that_gives_something_of_another_type(shelf: Shelf, hook_name: str) -> None:
    other = "condense_models" if hook_name != "condense_models" else "condense_methods"
    shelf.add("bad", **{hook_name: hook(hook_name, offer(hook_name, "fine"), offer(other, "stray"))})
    problem = problem_beside_good("bad")
    assert hook_name in problem
    assert f"is no {KINDS[hook_name][1].__name__}" in problem


@pytest.mark.parametrize("answer", [None, "wmdd", 3, offer("condense_methods", "bare")])
def test_a_hook_that_gives_no_list(shelf: Shelf, answer: object) -> None:
    shelf.add("bad", condense_methods=hookimpl(_named("condense_methods", answer)))
    assert "condense_methods must give a list of Method, not" in problem_beside_good("bad")


def _named(name: str, answer: object) -> Callable[[], object]:
    def implementation() -> object:
        return answer

    implementation.__name__ = name
    return implementation


def test_an_api_version_that_is_not_spoken(shelf: Shelf) -> None:
    shelf.add("bad", condense_api=hookspecs.API_VERSION + 1)
    problem = problem_beside_good("bad")
    assert f"version {hookspecs.API_VERSION + 1}" in problem
    assert f"speaks {hookspecs.API_VERSION}" in problem


def test_the_spoken_api_version_may_be_stated(shelf: Shelf) -> None:
    shelf.add("fine", condense_api=hookspecs.API_VERSION)
    assert status_of(load_registry(), "fine").problem == ""


def test_one_plugin_must_not_offer_a_name_twice(shelf: Shelf) -> None:
    twice = [offer("condense_models", "same"), offer("condense_models", "same")]
    shelf.add("bad", condense_models=hook("condense_models", *twice))
    assert "two of the kind model named 'same'" in problem_beside_good("bad")


def test_two_plugins_of_one_name_do_not_hide_each_other_silently(shelf: Shelf) -> None:
    shelf.add("twin", "shelf_b", condense_models=hook("condense_models", offer("condense_models", "second")))
    shelf.add("twin", "shelf_a", condense_models=hook("condense_models", offer("condense_models", "first")))
    registry = load_registry()
    first, second = (status for status in registry.plugins if status.name == "twin")
    assert (first.module, first.problem) == ("shelf_a", "")
    assert second.module == "shelf_b"
    assert "'shelf_a' took this name first" in second.problem
    assert registry.model("first")[0].name == "first"
    with pytest.raises(UnknownNameError, match="unknown model 'second'"):
        registry.model("second")


def test_a_plugin_cannot_take_the_name_of_the_host(shelf: Shelf) -> None:
    shelf.add("condense", "shelf_impostor")
    _, impostor = (status for status in load_registry().plugins if status.name == "condense")
    assert impostor.module == "shelf_impostor"
    assert "'condense.builtin' took this name first" in impostor.problem


def test_one_module_under_two_names_answers_once(shelf: Shelf) -> None:
    spec = offer("condense_models", "once")
    shelf.add("alpha", "shelf_shared", condense_models=hook("condense_models", spec))
    shelf.install("beta", "shelf_shared")
    registry = load_registry()
    assert registry.model("once") == (spec, "")
    assert status_of(registry, "alpha").problem == ""
    assert status_of(registry, "beta").problem != ""


def test_a_failed_plugin_is_unregistered(shelf: Shelf) -> None:
    shelf.add("bad", condense_methds=hook("condense_methds"), condense_models=hook("condense_models"))
    loader = _Loader()
    loader.add("bad", "", "shelf_bad")
    loader.add("good", "", "shelf_good")
    assert not loader._manager.has_plugin("bad")
    assert loader._manager.has_plugin("good")
    answering = loader._manager.hook.condense_models.get_hookimpls()
    assert [implementation.plugin_name for implementation in answering] == []


# Two components of one name.


def test_neither_of_two_components_of_one_name_answers(shelf: Shelf) -> None:
    for plugin in ("left", "right"):
        specs = [offer("condense_models", "same"), offer("condense_models", f"only-{plugin}")]
        shelf.add(plugin, condense_models=hook("condense_models", *specs))
    registry = load_registry()
    with pytest.raises(PluginError, match="plugins 'left' and 'right' both offer a model named 'same'"):
        registry.model("same")
    assert "same" not in [found.spec.name for found in registry.offers("model")]
    assert registry.model("only-left")[0].name == "only-left"
    assert registry.model("only-right")[0].name == "only-right"
    assert status_of(registry, "left").problem == status_of(registry, "right").problem == ""


def test_a_third_component_of_the_name_does_not_win(shelf: Shelf) -> None:
    for plugin in ("a", "b", "c"):
        shelf.add(plugin, condense_models=hook("condense_models", offer("condense_models", "same")))
    with pytest.raises(PluginError, match="'a' and 'b' and 'c'"):
        load_registry().model("same")


def test_a_plugin_cannot_replace_what_the_host_offers(shelf: Shelf) -> None:
    shelf.add("greedy", condense_models=hook("condense_models", offer("condense_models", "convnet")))
    with pytest.raises(PluginError, match="'condense' and 'greedy'"):
        load_registry().model("convnet")
    assert load_registry(["greedy"]).model("convnet")[0].name == "convnet"


def test_one_name_may_serve_two_kinds(shelf: Shelf) -> None:
    method, model = offer("condense_methods", "same"), offer("condense_models", "same")
    shelf.add("left", condense_methods=hook("condense_methods", method))
    shelf.add("right", condense_models=hook("condense_models", model))
    registry = load_registry()
    assert registry.method("same") is method
    assert registry.model("same")[0] is model


# Disabled plugins.


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_disabled_plugin_is_not_even_imported(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    module_name = shelf.write("loud", "raise RuntimeError('imported')\n")
    if way == "environment":
        monkeypatch.setenv(DISABLE_VARIABLE, "loud,")
    registry = load_registry(["loud"] if way == "argument" else [])
    assert module_name not in sys.modules
    assert status_of(registry, "loud").problem == "disabled"
    assert registry.method("sound").name == "sound"


def test_disabling_a_plugin_that_is_not_installed(shelf: Shelf) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown plugin 'goood'. Did you mean 'good'\?"):
        load_registry(["goood"])


# Looking up.


def test_an_unknown_name_lists_the_valid_ones(shelf: Shelf) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'soundd'. Did you mean 'sound'\?") as caught:
        load_registry().method("soundd")
    assert "set aside" not in str(caught.value)


def test_an_unknown_name_tells_of_plugins_set_aside(shelf: Shelf) -> None:
    shelf.write("bad", "raise RuntimeError('out of luck')\n")
    with pytest.raises(UnknownNameError) as caught:
        load_registry().method("from-bad")
    assert "Plugins set aside: bad (RuntimeError: out of luck)" in str(caught.value)


def test_what_stands_after_the_colon(shelf: Shelf) -> None:
    registry = load_registry()
    assert registry.dataset("folder:a/b:c")[1] == "a/b:c"
    assert registry.model("timm:resnet10t")[0].name == "timm"
    with pytest.raises(UnknownNameError, match="dataset 'folder' needs a PATH: write folder:PATH"):
        registry.dataset("folder")
    with pytest.raises(UnknownNameError, match="model 'convnet' takes nothing after a colon, but '64' came"):
        registry.model("convnet:64")


def test_build_calls_what_the_spec_names(shelf: Shelf) -> None:
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
