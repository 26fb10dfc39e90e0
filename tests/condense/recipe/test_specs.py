"""Specs: which descriptions are refused, and how a builder is found."""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.errors import PluginError
from condense.recipe.registry import load_registry
from condense.recipe.specs import ModelSpec, NoOptions, Spec, check_options_type

if TYPE_CHECKING:
    from fractions import Fraction


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
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bare:
    depth: int = 1
    width: int


def test_options_with_defaults_are_accepted() -> None:
    check_options_type("mine", Good)
    check_options_type("mine", NoOptions)


@pytest.mark.parametrize("options", [dict, None, Good(), "Good"])
def test_options_that_are_no_dataclass(options: object) -> None:
    with pytest.raises(
        ValueError, match=r"(the options of 'mine' are not a dataclass|'mine': options must be a class)"
    ):
        spec(options=options)


def test_an_option_without_a_default() -> None:
    with pytest.raises(ValueError, match="option 'width' of 'mine' has no default"):
        ModelSpec(name="mine", summary="x", build="a:b", options=Bare)


# Types of options.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder:
    width: int = 1
    where: Path = Path()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    entries: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unseen:
    width: int = 1
    share: Fraction | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unfit:
    form: Literal["squares", "norms"] = "square"  # type: ignore[assignment]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutOfRange:
    width: int = 0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width must be at least 1, not {self.width}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            Folder,
            r"option 'where' of 'mine' has the type Path, which cannot be set from text; use bool, int, float",
        ),
        (Table, r"option 'entries' of 'mine' has the type dict\[str, int\], which cannot be set from text"),
        (
            Unseen,
            r"option 'share' of 'mine' has the type Fraction \| None, which cannot be read \(name 'Fraction'",
        ),
        (
            Unfit,
            r"the defaults of the options of 'mine' do not fit: form must be one of squares, norms, not 'square'",
        ),
        (OutOfRange, r"the defaults of the options of 'mine' do not fit: width must be at least 1, not 0"),
    ],
)
def test_options_that_nobody_could_set(options: type, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(options=options)


def test_options_are_checked_from_then_on_whoever_makes_them() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Plain:
        width: int = 1

    assert Plain(width="wide")  # type: ignore[arg-type]
    spec(options=Plain)
    with pytest.raises(ValueError, match="width must be a whole number, not 'wide'"):
        Plain(width="wide")  # type: ignore[arg-type]


def test_a_broken_type_sets_the_plugin_aside_with_the_name_of_the_field(shelf: Any) -> None:
    shelf.write(
        "careless",
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import TYPE_CHECKING\n"
        "import condense\n"
        "if TYPE_CHECKING:\n"
        "    from fractions import Fraction\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Options:\n"
        "    share: Fraction | None = None\n"
        "@condense.hookimpl\n"
        "def condense_models():\n"
        "    return [condense.ModelSpec(name='net', summary='x', options=Options, build='a:b')]\n",
    )
    registry = load_registry()
    assert "option 'share' of 'net'" in shelf.status_of(registry, "careless").problem
    assert registry.method("sound")
