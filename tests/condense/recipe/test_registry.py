"""Finding plugins: what goes wrong with a stranger's code, and what must still work beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy
import pytest

from condense.errors import UnknownNameError
from condense.recipe import hooks as hookspecs
from condense.recipe.hooks import hookimpl
from condense.recipe.method import Method, Recover
from condense.recipe.registry import KINDS, load_registry

DOCS = Path(__file__).parents[3] / "docs" / "plugins.md"
HOOKS = sorted(KINDS)
BARE = Method(name="bare", summary="nothing", recover=Recover(iterations=0))


def problem_beside_good(shelf: Any, name: str) -> str:
    """Why the plugin was set aside, having made sure that the good one still answers."""
    registry = load_registry()
    assert shelf.status_of(registry, "good").problem == ""
    assert registry.method("sound").name == "sound"
    problem = shelf.status_of(registry, name).problem
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
def test_every_hook_offers_its_specs_by_name(shelf: Any, hook_name: str) -> None:
    [spec] = shelf.offering("extra", hook_name, "mine")
    registry = load_registry()
    kind = KINDS[hook_name][0]
    assert registry.find(kind, "mine") is spec
    assert ("extra", spec) in [(found.plugin, found.spec) for found in registry.offers(kind)]
    assert shelf.status_of(registry, "extra").problem == ""


@pytest.mark.parametrize("hook_name", HOOKS)
def test_every_hook_has_an_entry_in_the_docs(hook_name: str) -> None:
    assert hook_name in DOCS.read_text(), f"docs/plugins.md does not mention {hook_name}"


@pytest.mark.parametrize("hook_name", HOOKS)
def test_every_hook_has_one_line_of_documentation(hook_name: str) -> None:
    text = getattr(hookspecs, hook_name).__doc__
    assert text
    assert "\n" not in text.strip()


def test_offers_are_listed_by_name(shelf: Any) -> None:
    shelf.offering("extra", "condense_models", "zebra", "ant")
    names = [found.spec.name for found in load_registry().offers("model")]
    assert names == sorted(names)
    assert {"zebra", "ant"} <= set(names)


def test_a_hook_may_be_implemented_under_another_name(shelf: Any) -> None:
    def anything() -> list[Method]:
        return [shelf.offer("condense_methods", "renamed")]

    shelf.add("extra", anything=hookimpl(anything, specname="condense_methods"))
    assert load_registry().method("renamed").name == "renamed"


def test_the_host_itself_offers_through_the_same_hooks(shelf: Any) -> None:
    registry = load_registry()
    assert {found.plugin for found in registry.offers("model")} == {"condense"}
    assert registry.plugins[0].name == "condense"
    assert registry.plugins[0].module == "condense.builtin"


# Plugins that fail.


def test_a_plugin_that_fails_to_import(shelf: Any) -> None:
    shelf.write("bad", "import there_is_no_such_module_at_all\n")
    assert "there_is_no_such_module_at_all" in problem_beside_good(shelf, "bad")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise RuntimeError('out of luck')", "RuntimeError: out of luck"),
        ("import sys; sys.exit('wrong licence')", "SystemExit: wrong licence"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_plugin_may_raise_anything_when_imported(shelf: Any, statement: str, reason: str) -> None:
    shelf.write("bad", statement + "\n")
    assert reason in problem_beside_good(shelf, "bad")


def test_a_misspelt_hook_is_named(shelf: Any) -> None:
    shelf.add("bad", condense_methds=shelf.hook("condense_methds", shelf.offer("condense_methods", "lost")))
    said = "unknown hook 'condense_methds'. Did you mean 'condense_methods'?"
    assert said in problem_beside_good(shelf, "bad")


def test_a_wrong_signature_names_hook_and_argument(shelf: Any) -> None:
    @hookimpl
    def condense_methods(registry: object) -> list[Method]:
        return []

    shelf.add("bad", condense_methods=condense_methods)
    problem = problem_beside_good(shelf, "bad")
    assert problem.startswith("condense_methods must take no arguments, and this one takes registry")


def test_a_hook_that_is_not_marked(shelf: Any) -> None:
    shelf.add("bad", condense_methods=lambda: [shelf.offer("condense_methods", "lost")])
    problem = problem_beside_good(shelf, "bad")
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
        (
            "DatasetSpec(name='bad', summary='x', build='a:b', like='odd')",
            "like 'odd' is neither 'module:fun",
        ),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_spec_that_cannot_be_used(shelf: Any, body: str, reason: str) -> None:
    shelf.write(
        "bad",
        "from dataclasses import dataclass\n"
        "from condense.recipe.hooks import hookimpl\n"
        "from condense.recipe.method import Method, Recover\n"
        "from condense.recipe.specs import DatasetSpec, ModelSpec\n"
        "@dataclass\n"
        "class Bare:\n"
        "    width: int\n"
        "@hookimpl\n"
        "def condense_models():\n"
        f"    return [{body}]\n",
    )
    assert reason in problem_beside_good(shelf, "bad")


@pytest.mark.parametrize("hook_name", HOOKS)
def test_a_hook_that_gives_something_of_another_type(shelf: Any, hook_name: str) -> None:
    other = "condense_models" if hook_name != "condense_models" else "condense_methods"
    shelf.add(
        "bad",
        **{hook_name: shelf.hook(hook_name, shelf.offer(hook_name, "fine"), shelf.offer(other, "stray"))},
    )
    problem = problem_beside_good(shelf, "bad")
    assert hook_name in problem
    assert f"is not an instance of {KINDS[hook_name][1].__name__}" in problem


@pytest.mark.parametrize(
    "answer", [None, "wmdd", 3, Method(name="bare", summary="nothing", recover=Recover(iterations=0))]
)
def test_a_hook_that_gives_no_list(shelf: Any, answer: object) -> None:
    shelf.add("bad", condense_methods=hookimpl(_named("condense_methods", answer)))
    assert "condense_methods must give a list of Method, not" in problem_beside_good(shelf, "bad")


def _named(name: str, answer: object) -> Callable[[], object]:
    def implementation() -> object:
        return answer

    implementation.__name__ = name
    return implementation


def test_an_api_version_that_is_not_spoken(shelf: Any) -> None:
    shelf.add("bad", condense_api=hookspecs.API_VERSION + 1)
    problem = problem_beside_good(shelf, "bad")
    assert f"version {hookspecs.API_VERSION + 1}" in problem
    assert f"speaks {hookspecs.API_VERSION}" in problem


def test_the_spoken_api_version_may_be_stated(shelf: Any) -> None:
    shelf.add("fine", condense_api=hookspecs.API_VERSION)
    assert shelf.status_of(load_registry(), "fine").problem == ""


def test_one_plugin_must_not_offer_a_name_twice(shelf: Any) -> None:
    shelf.offering("bad", "condense_models", "same", "same")
    assert "two of the kind model named 'same'" in problem_beside_good(shelf, "bad")


def test_two_plugins_of_one_name_are_both_set_aside(shelf: Any) -> None:
    shelf.offering("twin", "condense_models", "second", module="shelf_b")
    shelf.offering("twin", "condense_models", "first", module="shelf_a")
    registry = load_registry()
    twins = [status for status in registry.plugins if status.name == "twin"]
    assert [status.module for status in twins] == ["shelf_a", "shelf_b"]
    for status in twins:
        assert status.problem == "shelf_a and shelf_b both have this name; uninstall or rename one of them"
    for name in ("first", "second"):
        with pytest.raises(UnknownNameError, match=f"unknown model {name!r}"):
            registry.model(name)
    assert registry.method("sound").name == "sound"


def test_a_plugin_cannot_take_the_name_of_the_host(shelf: Any) -> None:
    shelf.add("condense", "shelf_impostor")
    host, impostor = (status for status in load_registry().plugins if status.name == "condense")
    assert (host.module, host.problem) == ("condense.builtin", "")
    assert impostor.module == "shelf_impostor"
    assert "the name 'condense' is that of condense itself" in impostor.problem


def test_one_module_under_two_names_answers_once(shelf: Any) -> None:
    [spec] = shelf.offering("alpha", "condense_models", "once", module="shelf_shared")
    shelf.install("beta", "shelf_shared")
    registry = load_registry()
    assert registry.model("once") == (spec, "")
    assert shelf.status_of(registry, "alpha").problem == ""
    assert shelf.status_of(registry, "beta").problem == "its module is the plugin 'alpha' already"
