"""The curriculum of crops: from large ones to those of the method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condense.data.dataset import RealDataset
from condense.data.views import draw_view
from condense.engine import chunks as chunks_module
from condense.engine.recover import crop_scale
from condense.engine.standard import CrossEntropy
from condense.models.network import Network
from condense.recipe.method import Recover
from condense.recipe.specs import NoOptions
from condense.recipe.training import Augment


def about(least: float, most: float = 0.9) -> Any:
    """These shares, but for rounding."""
    return pytest.approx((least, most))


def curriculum(**options: Any) -> Recover:
    """From 0.6 to 0.2 over the first 60 of 100 steps, unless said otherwise."""
    chosen = {"iterations": 100, "crop_start": 0.6, "crop_share": 0.6, **options}
    return Recover(augment=Augment(crop_scale=(0.2, 0.9), flip=True), **chosen)


@pytest.mark.parametrize(
    ("schedule", "least"),
    [
        # at steps 0, 20, 30, 40, 59, 60 and 99
        ("none", [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]),
        ("step", [0.6, 0.6, 0.6, 0.6, 0.6, 0.2, 0.2]),
        ("linear", [0.6, 0.6 - 0.4 / 3, 0.4, 0.6 - 0.8 / 3, 0.6 - 0.4 * 59 / 60, 0.2, 0.2]),
        # The cosine of a third of pi is 1/2.
        ("cosine", [0.6, 0.5, 0.4, 0.3, 0.4 + 0.2 * math.cos(math.pi * 59 / 60), 0.2, 0.2]),
    ],
)
def test_the_least_crop_by_hand(schedule: str, least: list[float]) -> None:
    options = curriculum(crop_schedule=schedule)
    found = [crop_scale(options, iteration) for iteration in (0, 20, 30, 40, 59, 60, 99)]
    assert found == [about(share) for share in least]


def test_the_curriculum_takes_all_steps_unless_told_otherwise() -> None:
    options = curriculum(crop_schedule="linear", crop_share=1.0)
    for iteration, least in ((0, 0.6), (50, 0.4), (75, 0.3), (99, 0.204)):
        assert crop_scale(options, iteration) == about(least)


def test_a_curriculum_starts_at_the_greatest_share_at_most() -> None:
    for schedule in ("step", "linear", "cosine"):
        assert crop_scale(curriculum(crop_schedule=schedule, crop_start=1.0), 0) == about(0.9)


def test_without_crops_there_is_no_curriculum() -> None:
    assert crop_scale(Recover(iterations=10, crop_start=0.5), 0) is None


@given(st.sampled_from(["step", "linear", "cosine"]), st.integers(1, 200), st.floats(0.01, 1), st.data())
def test_the_least_crop_goes_one_way_and_stays_between_its_ends(
    schedule: str, iterations: int, share: float, data: st.DataObject
) -> None:
    start = data.draw(st.floats(0.2, 0.9))
    options = curriculum(crop_schedule=schedule, iterations=iterations, crop_share=share, crop_start=start)
    least = [found[0] for step in range(iterations) if (found := crop_scale(options, step))]
    assert least[0] == pytest.approx(start)
    assert all(0.2 - 1e-9 <= later <= earlier + 1e-9 for earlier, later in itertools.pairwise(least))


def test_every_step_has_the_crops_of_its_place_in_the_curriculum(
    make_dataset: Callable[..., RealDataset],
    make_network: Callable[..., Network],
    make_recovery: Callable[..., Any],
    make_chunk: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Augment] = []

    def keep(augment: Augment, *more: Any) -> Any:
        asked.append(augment)
        return draw_view(augment, *more)

    monkeypatch.setattr(chunks_module, "draw_view", keep)
    dataset = make_dataset()
    views = Augment(crop_scale=(0.2, 0.8), flip=True)
    recover = make_recovery(
        dataset,
        make_network(dataset),
        CrossEntropy(NoOptions()),
        augment=views,
        crop_schedule="linear",
        crop_start=0.6,
        crop_share=0.5,
    )
    recover(make_chunk(dataset, range(3)))
    assert [augment.crop_scale for augment in asked] == [about(least, 0.8) for least in (0.6, 0.4, 0.2, 0.2)]
    assert all(replace(augment, crop_scale=(0.2, 0.8)) == views for augment in asked)
