"""The table: by hand for small outcomes, against slow loops for larger ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Row, TeacherFacts
from condense.comparison.statistics import augmentation_robust_score, label_robust_score
from condense.comparison.summary import Failure, Lead, summarise
from condense.recipe.published import Published

MakeOutcome = Callable[..., Outcome]
SOFT = Column(key="s", protocol="fkd", epochs=300, labels="online", student="convnet")
HARD = replace(SOFT, key="h", labels="hard", role="hard")
PLAIN = replace(SOFT, key="p", role="plain")
PARTS = {"images": 1000, "labels": 200, "teacher": 800}


def cell(row: str, seed: int, column: Column, *accuracies: float, **more: Any) -> Cell:
    return Cell(row=row, ipc=1, seed=seed, column=column.key, accuracies=accuracies, bytes=PARTS, **more)


def outcome(*cells: Cell, columns: tuple[Column, ...] = (SOFT,), **changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "name": "x",
        "kind": "compare",
        "dataset": "tiny",
        "classes": 2,
        "images": 10,
        "bytes": 20_000,
        "ipcs": (1,),
        "seeds": (0, 1, 2),
        "students": 2,
        "rows": tuple(Row(label=label, method=label) for label in ("a", "b", "random")),
        "columns": columns,
        "cells": cells,
        "teacher": TeacherFacts(model="convnet", accuracy=0.9, seconds=1.0, hash="", bytes=800),
        "reference": "random",
    }
    return Outcome(**(values | changes))


def test_a_line_by_hand() -> None:
    summary = summarise(
        outcome(
            cell("a", 0, SOFT, 0.5, 0.6, steps=30, seconds=2.0),
            cell("a", 1, SOFT, 0.7, 0.8, steps=30, seconds=4.0),
            cell("b", 0, SOFT, 0.6, 0.6),
            cell("b", 1, SOFT, 0.8, 0.9),
            distilled=(
                Distilled(row="a", ipc=1, seed=0, seconds={"squeeze": 99, "measure": 1, "recover": 2}),
                Distilled(row="a", ipc=1, seed=1, seconds={"measure": 2, "recover": 3, "relabel": 7}),
            ),
        )
    )
    first, second = summary.line("a", 1, "s"), summary.line("b", 1, "s")
    assert (first.mean, first.count, first.seeds) == (pytest.approx(0.65), 4, 2)
    assert first.interval == pytest.approx(stats.t.interval(0.95, 1, loc=0.65, scale=stats.sem([0.55, 0.75])))
    assert (first.difference, first.difference_interval, first.excludes_zero) == (None, None, None)
    assert (first.distil_seconds, first.train_seconds, first.steps) == (4.0, 3.0, 30)
    assert (first.bytes, dict(first.parts), first.compression) == (2000, PARTS, 10.0)
    assert (second.difference, second.paired) == (pytest.approx(0.075), 2)
    gaps = [0.05, 0.10]
    assert second.difference_interval == pytest.approx(
        stats.t.interval(0.95, 1, loc=0.075, scale=stats.sem(gaps))
    )
    assert second.excludes_zero is False
    assert second.distil_seconds is None
    missing = summary.line("random", 1, "s")
    assert (missing.mean, missing.interval, missing.bytes, missing.failure) == (None, None, None, "")
    assert (summary.first, summary.references, summary.ceiling) == ("a", ("random",), 0.9)


def test_scores_need_all_they_are_made_of() -> None:
    cells = {
        ("a", "s"): cell("a", 0, SOFT, 0.8, 0.7),
        ("random", "s"): cell("random", 0, SOFT, 0.6),
        ("a", "h"): cell("a", 0, HARD, 0.5),
        ("a", "p"): cell("a", 0, PLAIN, 0.7),
        ("random", "p"): cell("random", 0, PLAIN, 0.4),
    }
    columns = (SOFT, HARD, PLAIN)
    lrs = label_robust_score(full_hard=0.9, synthetic_hard=0.5, synthetic=0.75, random=0.6)
    ars = augmentation_robust_score(synthetic=0.75, random=0.6, synthetic_plain=0.7, random_plain=0.4)

    def scores(*left_out: tuple[str, str], **changes: Any) -> tuple[Any, Any]:
        kept = (found for place, found in cells.items() if place not in left_out)
        line = summarise(outcome(*kept, columns=columns, **changes)).line("a", 1, "s")
        return line.lrs, line.ars

    assert scores() == (pytest.approx(lrs), pytest.approx(ars))
    assert scores(("a", "h")) == (None, pytest.approx(ars))
    assert scores(("a", "p")) == scores(("random", "p")) == (pytest.approx(lrs), None)
    assert scores(("random", "s")) == scores(reference="") == scores(("a", "s")) == (None, None)
    assert scores(teacher=None) == (None, pytest.approx(ars))


def test_scores_are_over_the_seeds_that_have_everything() -> None:
    line = summarise(
        outcome(
            cell("a", 0, SOFT, 0.8),
            cell("a", 1, SOFT, 0.1),
            cell("a", 0, HARD, 0.5),
            cell("random", 0, SOFT, 0.6),
            cell("random", 2, SOFT, 0.2),
            columns=(SOFT, HARD),
        )
    ).line("a", 1, "s")
    assert line.lrs == label_robust_score(full_hard=0.9, synthetic_hard=0.5, synthetic=0.8, random=0.6)


def test_hard_labels_are_their_own_hard_column_and_partners_match_in_length() -> None:
    hard = replace(SOFT, labels="hard")
    other = replace(PLAIN, epochs=1000)
    line = summarise(
        outcome(
            cell("a", 0, hard, 0.8),
            cell("random", 0, hard, 0.6),
            cell("a", 0, other, 0.1),
            cell("random", 0, other, 0.1),
            columns=(hard, other),
        )
    ).line("a", 1, "s")
    assert line.lrs == label_robust_score(full_hard=0.9, synthetic_hard=0.8, synthetic=0.8, random=0.6)
    assert line.ars is None


def test_only_a_lead_that_is_settled_is_the_best() -> None:
    noise = (0.0, 0.05, -0.05)
    ahead = [
        cell(row, seed, SOFT, level + noise[seed] + 0.001 * seed * number)
        for number, (row, level) in enumerate((("a", 0.5), ("b", 0.7), ("random", 0.4)))
        for seed in range(3)
    ]
    summary = summarise(outcome(*ahead))
    (lead,) = summary.leads
    assert (lead.row, lead.next, lead.clear) == ("b", "a", True)
    assert lead.difference == pytest.approx(0.201)
    assert [line.row for line in summary.lines if line.best] == ["b"]
    assert summary.line("b", 1, "s").excludes_zero is True

    one_seed = summarise(outcome(*(found for found in ahead if found.seed == 0)))
    assert one_seed.leads == (
        Lead(ipc=1, column="s", row="b", next="a", difference=pytest.approx(0.2), interval=None, clear=False),
    )
    assert not any(line.best for line in one_seed.lines)
    assert summarise(outcome(cell("a", 0, SOFT, 0.5))).leads == ()


def test_failures_are_told_once_and_where_they_are() -> None:
    broken = [Distilled(row="b", ipc=1, seed=seed, failure="no memory") for seed in (0, 1, 2)]
    summary = summarise(
        outcome(
            cell("a", 0, SOFT, 0.5, 0.6),
            Cell(row="a", ipc=1, seed=1, column="s", failure="it diverged"),
            Cell(row="a", ipc=1, seed=2, column="s", failure="it diverged"),
            Cell(row="b", ipc=1, seed=0, column="s", failure="no memory"),
            distilled=tuple(broken),
        )
    )
    assert summary.failures == (
        Failure(row="b", ipcs=(1,), column="", seeds=(0, 1, 2), reason="no memory"),
        Failure(row="a", ipcs=(1,), column="s", seeds=(1, 2), reason="it diverged"),
    )
    half, none = summary.line("a", 1, "s"), summary.line("b", 1, "s")
    assert (half.mean, half.failure) == (pytest.approx(0.55), "seeds 1, 2: it diverged")
    assert (none.mean, none.failure, none.distil_seconds) == (None, "no memory", None)


def test_every_line_is_that_of_a_slow_loop(make_outcome: MakeOutcome) -> None:
    found = make_outcome(seeds=(0, 1), epochs=(300,))
    summary = summarise(found)
    assert len(summary.lines) == 4 * 3 * 2
    assert [column.key for column in summary.columns] == ["fkd@300", "dc@300"]
    for line in summary.lines:
        values = [
            accuracy
            for part in found.cells
            if (part.row, part.ipc, part.column) == (line.row, line.ipc, line.column)
            for accuracy in part.accuracies
        ]
        assert line.mean == pytest.approx(statistics.fmean(values))
        assert line.count == 4
        assert line.lrs is not None
        assert line.ars is not None
    assert [line.row for line in summary.group(10, "dc@300")] == [row.label for row in found.rows]
    with pytest.raises(KeyError):
        summary.line("a", 3, "s")


def test_nothing_found_yet_is_a_table_of_unknowns() -> None:
    summary = summarise(outcome())
    assert {(line.mean, line.lrs, line.failure) for line in summary.lines} == {(None, None, "")}
    assert summarise(outcome(rows=())).lines == ()


def test_a_line_has_what_was_published_for_its_ipc_and_student() -> None:
    lines = Published.table(
        {"tiny": {1: 40.0, 10: 60.0}}, student="resnet18", conditions="x", source="y"
    ) + Published.table({"tiny": {1: 30.0}}, student="convnet", conditions="x", source="y")
    rows = (Row(label="a", method="a", published=lines), Row(label="b", method="b"))
    other = replace(SOFT, key="o", student="timm:resnet18")
    third = replace(SOFT, key="t", student="resnet50")
    columns = (SOFT, other, third)
    summary = summarise(outcome(rows=rows, columns=columns, ipcs=(1, 10, 50)))
    assert summary.line("a", 1, "s").published == lines[2]
    assert summary.line("a", 1, "o").published == summary.line("a", 1, "t").published == lines[0]
    assert summary.line("a", 10, "s").published == lines[1]
    assert summary.line("a", 50, "s").published is summary.line("b", 1, "s").published is None
    assert summary.published("a", 1, columns) == (lines[2], lines[0])
    assert [summary.shows_published(ipc) for ipc in (1, 10, 50)] == [True, True, False]
