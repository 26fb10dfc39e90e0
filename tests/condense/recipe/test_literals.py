"""Values that are none of those that a field lists are refused wherever an object is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest
from condense_wmdd.options import BarycenterOptions, ClassBatchNormOptions

from condense.models.catalog import ConvNetOptions, ResNetOptions
from condense.recipe.literals import check_literals
from condense.recipe.method import Recover, Teacher
from condense.recipe.protocol import Protocol
from condense.recipe.training import Training


@dataclass
class Cup:
    size: Literal["small", "large"] = "small"
    label: str = "anything"


def test_the_message_lists_what_is_allowed() -> None:
    check_literals(Cup(size="large"))
    with pytest.raises(ValueError, match="size must be one of small, large, not 'huge'"):
        check_literals(Cup(size="huge"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Training(optimizer="sdg"), "optimizer"),  # type: ignore[arg-type]
        (lambda: Training(schedule="cosin"), "schedule"),  # type: ignore[arg-type]
        (lambda: Teacher(schedule="cosin"), "schedule"),  # type: ignore[arg-type]
        (lambda: Recover(chunk="slot"), "chunk"),  # type: ignore[arg-type]
        (lambda: Recover(optimizer="rmsprop"), "optimizer"),  # type: ignore[arg-type]
        (lambda: Recover(crop_schedule="lin"), "crop_schedule"),  # type: ignore[arg-type]
        (lambda: Protocol(name="x", labels="softt"), "labels"),  # type: ignore[arg-type]
        (lambda: ConvNetOptions(norm="bach"), "norm"),  # type: ignore[arg-type]
        (lambda: ResNetOptions(stem="cifr"), "stem"),  # type: ignore[arg-type]
        (lambda: BarycenterOptions(solver="quantise"), "solver"),  # type: ignore[arg-type]
        (lambda: ClassBatchNormOptions(form="square"), "form"),  # type: ignore[arg-type]
    ],
)
def test_options_refuse_a_name_that_does_not_exist(make: Callable[[], object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be one of "):
        make()


def test_recover_needs_two_betas() -> None:
    with pytest.raises(ValueError, match="betas must be two numbers"):
        Recover(betas=(0.5,))  # type: ignore[arg-type]
