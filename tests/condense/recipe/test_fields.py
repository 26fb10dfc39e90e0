"""Every field of every settings dataclass refuses what its annotation does not allow, whoever makes the object."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from condense.recipe.config import Evaluation, Machine, Recipe, RunConfig
from condense.recipe.fields import checked, fit, readable, wanted
from condense.recipe.method import Method, Pool, Recover, Student, Teacher, Use, Weighted
from condense.recipe.needs import Needs, ThroughRandomNetwork, ThroughTeacher
from condense.recipe.protocol import Protocol
from condense.recipe.registry import KINDS, load_registry
from condense.recipe.resolve import configure
from condense.recipe.selection import Selection
from condense.recipe.specs import DatasetSpec, InitializerSpec, ModelSpec, RegularizerSpec
from condense.recipe.training import Augment, Training
from condense.recipe.variant import Variant

if TYPE_CHECKING:
    from fractions import Fraction

REGISTRY = load_registry(environment={})
CONFIG = configure(REGISTRY, method="wmdd")
SPEC = {"name": "mine", "summary": "x", "build": "a:b"}


def examples() -> list[Any]:
    """One object of every settings dataclass, plugins' options included."""
    found: list[Any] = [CONFIG, CONFIG.recipe, CONFIG.evaluation, CONFIG.machine]
    found += [Recover(), Teacher(), Student(), Pool(), Selection(), Training(), Augment()]
    found += [Use(name="x"), Weighted()]
    found += [
        Protocol(name="x"),
        Variant(label="x"),
        Method(name="x", summary="x", recover=Recover(iterations=0)),
    ]
    found += [Needs(), ThroughTeacher(), ThroughRandomNetwork()]
    found += [kind(**SPEC) for kind in (DatasetSpec, ModelSpec, InitializerSpec, RegularizerSpec)]
    specs = [offer.spec for kind, _ in KINDS.values() for offer in REGISTRY.offers(kind)]
    options = {spec.options for spec in specs if not isinstance(spec, Method | Protocol)}
    return [*found, *(kind() for kind in sorted(options, key=lambda kind: kind.__qualname__))]


def fields() -> list[Any]:
    found = []
    for example in examples():
        hints = typing.get_type_hints(type(example))
        for field in dataclasses.fields(example):
            known_as = f"{type(example).__name__}.{field.name}"
            found.append(pytest.param(example, field.name, hints[field.name], id=known_as))
    return found


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
)


def msgspec_refuses(value: Any, hint: Any) -> bool:
    """A second opinion on types, by a library that has its own rules for them."""
    try:
        msgspec.convert(value, hint, strict=True)
    except msgspec.ValidationError:
        return True
    except TypeError:  # a type that msgspec does not know, such as a function
        return False
    return False


@pytest.mark.parametrize(("example", "name", "hint"), fields())
@settings(max_examples=30, deadline=None)
@given(value=VALUES)
def test_what_an_annotation_does_not_allow_is_refused(example: Any, name: str, hint: Any, value: Any) -> None:
    endless = isinstance(value, float) and not math.isfinite(value) and hint is not Any
    if endless or msgspec_refuses(value, hint):
        with pytest.raises(ValueError, match=rf"{name} "):
            dataclasses.replace(example, **{name: value})


@pytest.mark.parametrize(("example", "name", "hint"), fields())
def test_what_is_there_is_accepted_and_stays(example: Any, name: str, hint: Any) -> None:
    same = dataclasses.replace(example, **{name: getattr(example, name)})
    assert same == example
    assert fit(getattr(example, name), hint) == getattr(example, name)


# Numbers that may be negative: every other one has a minimum, so that a new field needs one or a line here.
ANY_SIGN = {"Weighted.weight", "Recipe.seed", "Teacher.seed"}


@pytest.mark.parametrize(("example", "name", "hint"), fields())
def test_every_number_has_a_range(example: Any, name: str, hint: Any) -> None:
    kinds = set(typing.get_args(hint)) | {hint}
    field = f"{type(example).__name__}.{name}"
    if not kinds & {int, float} or field in ANY_SIGN:
        return
    lowest: Any = -(10**6) if int in kinds else -1e6
    if typing.get_origin(hint) is tuple:
        lowest = (lowest,) * len(typing.get_args(hint))
    with pytest.raises(ValueError, match="-1"):
        dataclasses.replace(example, **{name: lowest})


# Examples, with what is said.


@checked
@dataclass(frozen=True, kw_only=True)
class Cup:
    """A field of every kind of type."""

    size: Literal["small", "large"] = "small"
    label: str = "anything"
    count: int = 1
    share: float = 0.5
    hot: bool = False
    limit: int | None = None
    range: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    parts: tuple[Literal["lid", "ear"], ...] = ()
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    use: Use = dataclasses.field(default_factory=lambda: Use(name="tea"))
    level: float | Literal["auto"] = "auto"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("size", "huge", "size must be one of small, large, not 'huge'"),
        ("size", 1, "size must be one of small, large, not 1"),
        ("label", 3, "label must be a text, not 3"),
        ("count", "3", "count must be a whole number, not '3'"),
        ("count", True, "count must be a whole number, not True"),
        ("count", 1.0, "count must be a whole number, not 1.0"),
        ("share", "0.5", "share must be a number, not '0.5'"),
        ("share", 10**400, f"share must be a finite number, not {str(10**400)[:77]}..."),
        ("share", math.nan, "share must be a finite number, not nan"),
        ("hot", 1, "hot must be true or false, not 1"),
        ("limit", 0.5, "limit must be a whole number or none, not 0.5"),
        ("range", (1.0,), "range must be two numbers, not (1.0,)"),
        ("range", (0.0, math.inf), "range must be two numbers, all finite, not (0.0, inf)"),
        ("names", "tea", "names must be a list of texts, not 'tea'"),
        ("parts", ("leg",), "parts must be a list of any of lid, ear, not ('leg',)"),
        ("notes", {"a": "b"}, "notes must be a mapping from texts to whole numbers, not {'a': 'b'}"),
        ("use", "tea", "use must be a condense.Use, not 'tea'"),
        ("level", "low", "level must be a number or auto, not 'low'"),
        ("label", b"x" * 200, f"label must be a text, not {'b' + repr('x' * 200)[:76]}..."),
    ],
)
def test_the_message_names_the_field_what_it_takes_and_what_came(
    field: str, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match="must be") as caught:
        Cup(**{field: value})
    assert str(caught.value) == message


def test_whole_numbers_are_numbers_and_lists_are_tuples() -> None:
    cup = Cup(share=1, range=[0, 2], names=["a"], level=3)  # type: ignore[arg-type]
    assert (cup.share, cup.range, cup.names, cup.level) == (1.0, (0.0, 2.0), ("a",), 3.0)
    assert [type(value) for value in (cup.share, *cup.range, cup.level)] == [float] * 4
    # So equal settings have equal hashes.
    assert dataclasses.replace(CONFIG.recipe, recover=Recover(lr=1)).hash == (
        dataclasses.replace(CONFIG.recipe, recover=Recover(lr=1.0)).hash
    )


def test_numbers_of_numpy_are_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    cup = Cup(count=numpy.int64(3), share=numpy.float32(0.5), label=numpy.str_("x"))
    assert [type(value) for value in (cup.count, cup.share, cup.label)] == [int, float, str]
    with pytest.raises(ValueError, match="share must be a finite number, not"):
        Cup(share=numpy.float64("nan"))


@pytest.mark.parametrize("kind", [Training, Teacher, lambda **fields: Protocol(name="mine", **fields)])
def test_who_is_wrong_is_named_where_it_has_a_name(kind: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match=r"optimizer must be one of sgd, adam, adamw, not 'SGD'$") as caught:
        kind(optimizer="SGD")
    assert str(caught.value).startswith("Protocol 'mine': ") == (kind not in (Training, Teacher))


@dataclass(frozen=True)
class Below(Cup):
    """A dataclass below a checked one, with an own check that expects right types."""

    depth: int = 1

    def __post_init__(self) -> None:
        if self.depth < 0:
            raise ValueError("too deep")


def test_the_check_comes_first_and_reaches_what_is_inherited() -> None:
    below = checked(Below)
    with pytest.raises(ValueError, match="depth must be a whole number, not 'x'"):
        below(depth="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be one of"):
        below(size="huge")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="too deep"):
        below(depth=-1)
    assert checked(checked(Below)) is below
    with pytest.raises(TypeError):
        below(unknown=1)  # type: ignore[call-arg]


# Text.


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("3", int, 3),
        ("-3", int, -3),
        ("1e3", int, 1000),
        ("5.0", int, 5),
        ("0.1", float, 0.1),
        ("3", float, 3.0),
        ("TRUE", bool, True),
        ("0", bool, False),
        ("a,b", str, "a,b"),
        ("none", str, "none"),
        ("none", int | None, None),
        ("4", int | None, 4),
        ("0.08,1", tuple[float, float], (0.08, 1.0)),
        ("", tuple[str, ...], ()),
        ("a, b", tuple[str, ...], ("a", "b")),
        ("norms", Literal["norms", "squares"], "norms"),
        ("8", Literal[4, 8], 8),
        ("auto", float | Literal["auto"], "auto"),
        ("2", float | Literal["auto"], 2.0),
        ("none", tuple[float, float] | None, None),
    ],
)
def test_texts_are_read_as_their_types_want_them(text: str, hint: Any, value: Any) -> None:
    found = fit(text, hint, read=True)
    assert found == value
    assert type(found) is type(value)
    assert readable(hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1.5", int),
        ("1_000", int),
        ("1e400", int),
        ("nan", int),
        ("nan", float),
        ("inf", float),
        ("yes", bool),
        ("NORMS", Literal["norms", "squares"]),
        ("none", int),
        ("1,2,3", tuple[float, float]),
        ("x", tuple[int, ...]),
    ],
)
def test_texts_that_are_not_read(text: str, hint: Any) -> None:
    with pytest.raises(ValueError, match=r"^must be "):
        fit(text, hint, read=True)


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_what_is_written_is_read_again(whole: int, number: float, truth: bool) -> None:
    for value, hint in ((whole, int), (number, float), (truth, bool)):
        assert fit(str(value), hint, read=True) == value


@pytest.mark.parametrize(
    "hint", [Path, dict[str, int], list[int], tuple[tuple[int, int], ...], Use, Any, int | Path, complex]
)
def test_types_that_text_cannot_set(hint: Any) -> None:
    assert not readable(hint)


def test_types_in_words() -> None:
    assert wanted(int | float | None) == "a whole number, a number or none"
    assert wanted(tuple[int, int, int]) == "three whole numbers"
    assert wanted(tuple[int, str]) == "two values"
    assert wanted(Path) == "of the type Path"


def test_a_type_that_is_nowhere_to_be_found_is_no_reason_to_accept_everything() -> None:
    @checked
    @dataclass(frozen=True)
    class Lost:
        share: Fraction

    with pytest.raises(NameError, match="Fraction"):
        Lost("x")  # type: ignore[arg-type]


def test_every_group_of_settings_is_checked() -> None:
    """Whatever a run consists of is a dataclass with the check."""

    def below(value: Any) -> Iterator[type]:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            yield type(value)
            for field in dataclasses.fields(value):
                yield from below(getattr(value, field.name))
        elif isinstance(value, Mapping):
            for one in value.values():
                yield from below(one)

    kinds = set(below(CONFIG))
    assert {RunConfig, Recipe, Evaluation, Machine, Protocol, Teacher, Recover, Augment, Use} <= kinds
    tested = {type(example) for example in examples()}
    assert kinds <= tested
