"""The tables say what students kept, so that real images do not pass for recovered ones."""

from __future__ import annotations

from collections.abc import Callable

from condense.comparison.outcome import Distilled, Outcome
from condense.comparison.report.chosen import chosen_texts
from condense.comparison.report.markdown import render_markdown
from condense.comparison.summary import summarise

START = "the start k-means, without recovery"
END = "step 200 of 200, begun with real"


def test_seeds_that_kept_the_same_are_counted(make_outcome: Callable[..., Outcome]) -> None:
    kept = {(1, 0): START, (1, 1): END, (1, 2): START, (10, 0): END, (10, 1): END, (10, 2): END}
    images = [Distilled(row="wmdd", ipc=ipc, seed=seed, kept=text) for (ipc, seed), text in kept.items()]
    images += [Distilled(row="random", ipc=1, seed=0)]
    outcome = make_outcome(distilled=tuple(images))
    assert chosen_texts(outcome) == [
        f"Images of wmdd, 1 image per class, chosen from candidates by students: {START} (2 seeds); {END} (1 seed).",
        f"Images of wmdd, 10 images per class, chosen from candidates by students: {END} (3 seeds).",
    ]
    assert f"{END} (3 seeds)" in render_markdown(outcome, summarise(outcome))


def test_nothing_is_said_where_nobody_chose(make_outcome: Callable[..., Outcome]) -> None:
    assert chosen_texts(make_outcome()) == []
