"""Specs: which descriptions are refused, and how a builder is found."""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.errors import PluginError
from condense.recipe.specs import ModelSpec, NoOptions, Spec, check_options_type


def spec(**changes: object) -> Spec:
    return Spec(**{"name": "mine", "summary": "one line", "build": "collections:OrderedDict", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a", "wmdd", "sre2l", "class-batchnorm", "2-d"])
def test_names_that_can_be_typed(name: str) -> None:
    assert spec(name=name).name == name


@pytest.mark.parametrize("name", ["", "A", "a b", "a_b", "-a", "a-", "a--b", "a:b", "a.b", "ä", "a\n"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not lower-case words joined by hyphens"):
        spec(name=name)


@given(st.text(max_size=10))
def test_a_name_that_passes_can_stand_in_a_dotted_key_and_before_a_colon(name: str) -> None:
    try:
        accepted = spec(name=name).name
    except ValueError:
        return
    assert re.sub("[a-z0-9-]", "", accepted) == ""


@pytest.mark.parametrize("summary", ["", "two\nlines"])
def test_a_summary_is_one_line(summary: str) -> None:
    with pytest.raises(ValueError, match="needs a summary of one line"):
        spec(summary=summary)


@pytest.mark.parametrize("build", ["collections", "a:b:c", ":b", "a:", "a:b.c", "a b:c", ""])
def test_a_build_is_a_module_and_an_attribute(build: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"build {build!r} is not 'module:attribute'")):
        spec(build=build)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec().name = "other"  # type: ignore[misc]


def test_a_builder_by_name_or_as_it_is() -> None:
    assert spec().builder() is OrderedDict
    assert spec(build=dict).builder() is dict


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Thing = 1 / 0\n", "ZeroDivisionError"),
        ("Other = 1\n", "has no attribute 'Thing'"),
        ("import no_such_module_either\n", "no_such_module_either"),
    ],
)
def test_a_builder_that_cannot_be_had(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = f"builder_{abs(hash(text))}"
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(PluginError, match=f"'mine' cannot be built from '{module}:Thing'.*{reason}"):
        spec(build=f"{module}:Thing").builder()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Good:
    width: int = 3
    names: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bare:
    depth: int = 1
    width: int


def test_options_with_defaults_are_accepted() -> None:
    check_options_type("mine", Good)
    check_options_type("mine", NoOptions)


@pytest.mark.parametrize("options", [dict, None, Good(), "Good"])
def test_options_that_are_no_dataclass(options: object) -> None:
    with pytest.raises(ValueError, match="the options of 'mine' are not a dataclass"):
        spec(options=options)


def test_an_option_without_a_default() -> None:
    with pytest.raises(ValueError, match="option 'width' of 'mine' has no default"):
        ModelSpec(name="mine", summary="x", build="a:b", options=Bare)
