"""What a loss needs from the host: the combinations there are, and needs that depend on options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from condense.errors import PluginError
from condense.recipe.needs import (
    ImagesAlone,
    Needs,
    ThroughPool,
    ThroughRandomNetwork,
    ThroughTeacher,
    ThroughWeightGradients,
)
from condense.recipe.specs import FeatureTargetSpec, LossSpec, RegularizerSpec

PLAIN: dict[str, Any] = {"name": "mine", "summary": "x", "build": "builtins:dict"}
BOTH = ("batchnorm", "convolutions")


@pytest.mark.parametrize(
    ("through", "network", "statistics", "observes", "each_member", "weight_gradients"),
    [
        (ThroughTeacher(), "teacher", (), False, False, False),
        (ThroughTeacher(observes=True), "teacher", (), True, False, False),
        (ThroughTeacher(each_member=True), "teacher", (), False, True, False),
        (ThroughTeacher(statistics=("batchnorm",)), "teacher", ("batchnorm",), False, False, False),
        (
            ThroughTeacher(statistics=BOTH, observes=True, each_member=True),
            "teacher",
            BOTH,
            True,
            True,
            False,
        ),
        # Only a teacher shows real images before, and only a teacher can be several networks.
        (ThroughRandomNetwork(), "random", (), False, True, False),
        (ThroughRandomNetwork(statistics=BOTH), "random", BOTH, False, True, False),
        (ThroughWeightGradients(), "random", (), False, True, True),
        (ThroughPool(), "pool", (), False, True, False),
        (ThroughPool(statistics=BOTH), "pool", BOTH, False, True, False),
        (ThroughPool(weight_gradients=True), "pool", (), False, True, True),
        (ThroughPool(trained=True), "trained", (), False, True, False),
        (ThroughPool(trained=True, weight_gradients=True), "trained", (), False, True, True),
        (ImagesAlone(), "none", (), False, True, False),
    ],
)
def test_what_each_way_of_looking_means(
    through: Any,
    network: str,
    statistics: tuple[str, ...],
    observes: bool,
    each_member: bool,
    weight_gradients: bool,
) -> None:
    needs = Needs(through=through)
    assert needs.network == network
    assert needs.statistics == statistics
    assert needs.observes is observes
    assert needs.each_member is each_member
    assert needs.weight_gradients is weight_gradients


def test_a_loss_needs_little_unless_it_says_so() -> None:
    """A batch through the teacher, no real images beside it, in the run's precision."""
    assert Needs() == Needs(through=ThroughTeacher(), at_once="batch", real_per_class=0, float32=False)
    assert LossSpec(**PLAIN).needs_of(None) == Needs()


@pytest.mark.parametrize(
    ("through", "impossible"),
    [
        (ThroughRandomNetwork, {"observes": True}),
        (ThroughRandomNetwork, {"each_member": True}),
        (ThroughWeightGradients, {"observes": True}),
        (ThroughWeightGradients, {"statistics": ("batchnorm",)}),
        (ThroughPool, {"observes": True}),
        (ThroughPool, {"each_member": True}),
        (ImagesAlone, {"observes": True}),
        (ImagesAlone, {"statistics": ("convolutions",)}),
        (ImagesAlone, {"each_member": True}),
    ],
)
def test_combinations_without_a_meaning_cannot_be_written(
    through: type[Any], impossible: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        through(**impossible)


def test_what_is_seen_at_once_goes_with_every_way_of_looking() -> None:
    ways = (ThroughTeacher(), ThroughRandomNetwork(), ThroughWeightGradients(), ThroughPool(), ImagesAlone())
    for through in ways:
        for at_once in ("batch", "whole classes", "one class"):
            needs = Needs(through=through, at_once=at_once, real_per_class=3, float32=True)
            assert (needs.at_once, needs.real_per_class, needs.float32) == (at_once, 3, True)


def test_a_number_of_real_images_is_not_negative() -> None:
    assert Needs(real_per_class=0).real_per_class == 0
    with pytest.raises(ValueError, match="real_per_class must be 0 or more, not -1"):
        Needs(real_per_class=-1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Needs(through=ThroughTeacher),
            r"through must be a condense\.ThroughTeacher, .* or a condense\.ImagesAlone, not <class",
        ),  # type: ignore[arg-type]
        (lambda: Needs(through="teacher"), "through must be a .*, not 'teacher'"),  # type: ignore[arg-type]
        (
            lambda: Needs(at_once="classes"),
            "at_once must be one of batch, whole classes, one class, not 'classes'",
        ),  # type: ignore[arg-type]
        (
            lambda: ThroughTeacher(statistics="batchnorm"),
            "statistics must be a list of any of .*, not 'batchnorm'",
        ),  # type: ignore[arg-type]
        (
            lambda: ThroughRandomNetwork(statistics=("layernorm",)),  # type: ignore[arg-type]
            r"statistics must be a list of any of batchnorm, convolutions, not \('layernorm',\)",
        ),
    ],
)
def test_words_that_mean_nothing_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_layer_statistics_have_no_second_derivative() -> None:
    with pytest.raises(ValueError, match="a loss through weight gradients reads no statistics"):
        ThroughPool(weight_gradients=True, statistics=("batchnorm",))


def test_needs_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Needs().float32 = True  # type: ignore[misc]


# Needs of a spec.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    real: int = 8
    whole: bool = False


def of_options(options: Options) -> Needs:
    return Needs(
        through=ThroughRandomNetwork(),
        at_once="one class" if options.whole else "batch",
        real_per_class=options.real,
    )


@pytest.mark.parametrize("spec_type", [FeatureTargetSpec, RegularizerSpec])
def test_needs_may_depend_on_the_options(spec_type: type[LossSpec]) -> None:
    spec = spec_type(**PLAIN, options=Options, needs=of_options)
    assert spec.needs_of(Options()) == Needs(through=ThroughRandomNetwork(), real_per_class=8)
    wanted = Needs(through=ThroughRandomNetwork(), at_once="one class", real_per_class=2)
    assert spec.needs_of(Options(real=2, whole=True)) == wanted


NO_NEEDS = [None, ThroughTeacher(), {"real_per_class": 1}, "teacher"]


@pytest.mark.parametrize("spec_type", [FeatureTargetSpec, RegularizerSpec])
@pytest.mark.parametrize("answer", NO_NEEDS)
def test_a_function_that_gives_anything_but_needs_is_refused(spec_type: type[LossSpec], answer: Any) -> None:
    spec = spec_type(**PLAIN, needs=lambda options: answer)
    with pytest.raises(PluginError) as caught:
        spec.needs_of(Options())
    assert str(caught.value) == f"the needs of 'mine' must be a condense.Needs, not {answer!r}"


@pytest.mark.parametrize("spec_type", [FeatureTargetSpec, RegularizerSpec])
@pytest.mark.parametrize("answer", NO_NEEDS)
def test_a_spec_with_anything_but_needs_is_refused_when_it_is_made(
    spec_type: type[LossSpec], answer: Any
) -> None:
    with pytest.raises(ValueError, match=r"'mine': needs must be a condense\.Needs or a function, not "):
        spec_type(**PLAIN, needs=answer)
