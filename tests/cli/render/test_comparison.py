"""The tables of a comparison: every number is there at every width, and nothing is wider than the terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from condense_cli.render.comparison import PieceReporter, outcome_parts
from condense_cli.render.progress import LineReporter
from rich.console import Console

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Row, TeacherFacts, under_teacher
from condense.comparison.work import ComparisonResult
from condense.recipe.published import Published

ROWS = ("wmdd", "another method with a name that is far too long for a table", "random")


def accuracy(row: int, seed: int, column: int) -> float:
    return 0.8 - 0.1 * row + 0.01 * seed * (1 + row) + 0.001 * column


def result(
    columns: int = 1, rows: Sequence[str] = ROWS, failing: str = "", labels: str = "online"
) -> ComparisonResult:
    """Return a made-up comparison. labels: "hard" gives label-robust scores without further students."""
    made = [
        Column(key=f"fkd@{epochs}", protocol="fkd", epochs=epochs, labels=labels, student="convnet")
        for epochs in range(100, 100 + columns)
    ]
    places = [(number, row, seed) for number, row in enumerate(rows) for seed in (0, 1, 2)]
    outcome = Outcome(
        name="made-up",
        kind="compare",
        dataset="tiny",
        classes=3,
        images=21,
        bytes=1344,
        ipcs=(10,),
        seeds=(0, 1, 2),
        students=1,
        rows=tuple(Row(label=row, method=row) for row in rows),
        columns=tuple(made),
        distilled=tuple(
            Distilled(
                row=row,
                ipc=10,
                seed=seed,
                seconds={"recover": 60.0 + number},
                failure="it is so" if row == failing else "",
            )
            for number, row, seed in places
        ),
        cells=tuple(
            Cell(
                row=row,
                ipc=10,
                seed=seed,
                column=column.key,
                accuracies=(accuracy(number, seed, place),),
                seconds=9.0,
                bytes={"images": 100, "labels": 10, "teacher": 90},
            )
            for number, row, seed in places
            for place, column in enumerate(made)
            if row != failing
        ),
        teacher=TeacherFacts(model="convnet", accuracy=0.912, seconds=1.0, hash="abc", bytes=100),
        reference="random" if "random" in rows else "",
        finished=True,
    )
    return ComparisonResult(path=Path("runs/made-up"), outcome=outcome)


def shown(found: ComparisonResult, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    for part in outcome_parts(found, width):
        console.print(part, soft_wrap=isinstance(part, str))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [72, 80, 100, 120, 200])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_every_number_is_there_and_nothing_is_too_wide(width: int, columns: int) -> None:
    found = result(columns)
    text = shown(found, width)
    assert max(map(len, text.splitlines())) <= width
    for line in found.summary.lines:
        assert line.mean is not None
        assert f" {100 * line.mean:.1f} ± " in text
    for column in range(columns):
        assert text.count(f"fkd, {100 + column} epochs ") >= 1
    assert "all real images (teacher)" in text and "91.2" in text
    assert "random (reference)" in text


def test_wide_terminals_have_columns_side_by_side() -> None:
    assert shown(result(3), 80).count("trained on") > shown(result(3), 200).count("trained on") == 1


def test_marks_show_differences_that_are_not_chance() -> None:
    text = shown(result(), 120)
    assert " *" in text and "* its 95 % interval excludes 0" in text
    assert "fkd, 100 epochs: wmdd leads, " in text


def table_below(text: str, title: str) -> list[list[str]]:
    """Return the cells of the last table with this title, headings first; two spaces separate cells."""
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    start = max(number for number, line in enumerate(lines) if line[0] == title)
    return [lines[start], *lines[start + 2 : lines.index([""], start)]]


def test_costs_are_shown_below_the_accuracies() -> None:
    costs = table_below(shown(result(rows=("wmdd", "random")), 80), "fkd, 100 epochs")
    # 21 images of 64 bytes over 200 that are stored
    assert costs == [
        ["fkd, 100 epochs", "distil", "train one", "stored", "compression"],
        ["wmdd", "1 min 00 s", "9.0 s", "200 B", "6.7×"],
        ["random (reference)", "1 min 01 s", "9.0 s", "200 B", "6.7×"],
    ]


def test_scores_are_shown_where_there_are_some() -> None:
    found = result(rows=("wmdd", "random"), labels="hard")
    lrs = {line.row: line.lrs for line in found.summary.lines}
    costs = table_below(shown(found, 100), "fkd, 100 epochs")
    assert costs[0][1:3] == ["LRS", "ARS"]
    assert [row[1:3] for row in costs[1:]] == [[f"{lrs['wmdd']:.3f}", "–"], [f"{lrs['random']:.3f}", "–"]]
    narrow = shown(found, 80)  # breaks the label "random (reference)"
    assert "LRS, ARS" in narrow and all(
        f" {score:.3f} " in narrow for score in lrs.values() if score is not None
    )
    assert "LRS" not in shown(result(), 80)


def test_failures_have_their_reason() -> None:
    text = shown(result(failing="wmdd"), 80)
    assert ["wmdd", "failed"] in [line.split() for line in text.splitlines()]
    assert "wmdd, ipc 10, seeds 0, 1, 2: it is so" in text


def test_a_single_row_has_no_differences() -> None:
    text = shown(result(rows=("wmdd",)), 80)
    assert "difference" not in text.lower()


def test_a_piece_says_its_number_and_the_time_left() -> None:
    console = Console(file=io.StringIO(), width=80)
    told = PieceReporter(LineReporter(console))
    told.piece(1, 4, "wmdd, seed 0", None)
    told.piece(2, 4, "wmdd, seed 1", 125.0)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "[1/4] wmdd, seed 0",
        "[2/4] wmdd, seed 1; about 2 min 05 s left in all",
    ]


def test_student_networks_are_the_titles_of_the_columns() -> None:
    found = result(columns=2)
    networks = ("resnet18", "timm:vit_tiny")
    columns = tuple(
        replace(column, epochs=100, student=network)
        for column, network in zip(found.outcome.columns, networks, strict=True)
    )
    text = shown(replace(found, outcome=replace(found.outcome, columns=columns)), 120)
    [head] = [line for line in text.splitlines() if line.split()[:2] == ["trained", "on"]]
    assert head.split()[2::2] == list(networks)
    assert "every network learns from the same images. Protocol: fkd, 100 epochs." in text
    assert all(f"{network}: wmdd" in text for network in networks)


@pytest.mark.parametrize("width", [80, 100, 200])
def test_published_accuracies_are_a_column(width: int) -> None:
    found = result(columns=2, rows=("wmdd", "random"))
    published = Published.table({"tiny": {10: (64.8, 0.4)}}, student="resnet18", conditions="x", source="y")
    rows = tuple(replace(row, published=published * (row.label == "wmdd")) for row in found.outcome.rows)
    text = shown(replace(found, outcome=replace(found.outcome, rows=rows)), width)
    assert max(map(len, text.splitlines())) <= width
    heads = [line for line in text.splitlines() if line.split()[:2] == ["trained", "on"]]
    assert all(head.rstrip().endswith("published") for head in heads)
    assert text.count("64.8 ± 0.4 (resnet18)") == len(heads)
    assert text.count("Published: percent on the test images of tiny") == 1
    assert "ublished" not in shown(found, width)


def test_costs_of_several_students_are_one_line_for_each_row() -> None:
    found = result(columns=3, rows=("wmdd", "random"))
    networks = ("resnet18", "convnet", "timm:vit_tiny")
    columns = tuple(
        replace(column, epochs=100, student=network)
        for column, network in zip(found.outcome.columns, networks, strict=True)
    )
    seconds = dict(zip((column.key for column in columns), (9.0, 30.0, 2.5), strict=True))
    cells = tuple(replace(cell, seconds=seconds[cell.column]) for cell in found.outcome.cells)
    made = replace(found, outcome=replace(found.outcome, columns=columns, cells=cells))
    for width in (72, 80, 120):
        text = shown(made, width)
        assert max(map(len, text.splitlines())) <= width
        assert text.count("train one") == 1
        assert table_below(text, "3 students")[1:] == [
            ["wmdd", "1 min 00 s", "2.5–30.0 s", "200 B", "6.7×"],
            ["random (reference)", "1 min 01 s", "2.5–30.0 s", "200 B", "6.7×"],
        ]
    said = "Of several students, the lowest to the highest. The costs of each are in compare.md"
    assert said in " ".join(text.split())


def under(found: ComparisonResult, teachers: Sequence[str]) -> ComparisonResult:
    """The same comparison with all rows under each of several teachers."""
    outcome = found.outcome
    assert outcome.teacher is not None

    def renamed(parts: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(replace(part, row=under_teacher(part.row, one)) for one in teachers for part in parts)

    rows = (
        replace(row, label=under_teacher(row.label, one), teacher=one)
        for one in teachers
        for row in outcome.rows
    )
    facts = {one: replace(outcome.teacher, model=one) for one in teachers}
    return replace(
        found,
        outcome=replace(
            outcome,
            rows=tuple(rows),
            cells=renamed(outcome.cells),
            distilled=renamed(outcome.distilled),
            teachers=facts,
        ),
    )


@pytest.mark.parametrize("width", [80, 120])
def test_rows_of_several_teachers_stand_below_them_and_no_label_is_broken(width: int) -> None:
    teachers = ("convnet(width=64)", "timm:resnet10t")
    text = shown(under(result(rows=("wmdd", "random")), teachers), width)
    assert max(map(len, text.splitlines())) <= width
    for first in ("trained on", "fkd, 100 epochs"):
        table = [row[0] for row in table_below(text, first)]
        wanted = [["teacher " + one, "wmdd", "random (reference)"] for one in teachers]
        if first == "trained on":
            wanted = [[*rows, "all real images"] for rows in wanted]
        assert table[1:] == [label for rows in wanted for label in rows]
    assert "fkd, 100 epochs, teacher timm:resnet10t: wmdd leads, " in text
    assert "teacher=" not in text
    head = table_below(text, "trained on")[0]
    assert head[-2:] == ["to wmdd", "to first teacher"]
    assert "points to the same row under the first teacher, convnet(width=64)" in " ".join(text.split())
