"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from condense.comparison.outcome import Column, Outcome
from condense.comparison.report.wording import (
    accuracy_text,
    column_title,
    crossed,
    footnotes,
    lead_paragraph,
    lead_text,
    protocols_text,
    ratio_text,
    signed,
)
from condense.comparison.summary import Lead, Line, summarise

MakeOutcome = Callable[..., Outcome]


def line(**values: object) -> Line:
    return replace(Line(row="a", ipc=1, column="s"), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"mean": 0.8523, "interval": (0.8483, 0.8563), "count": 6}, "85.2 ± 0.4"),
        ({"mean": 0.8523, "interval": (0.8483, 0.8563), "count": 4}, "85.2 ± 0.4 (n=4)"),
        ({"mean": 1.0, "count": 1}, "100.0 (n=1)"),
        ({"failure": "no memory"}, "failed"),
        ({}, "–"),
    ],
)
def test_accuracies(values: dict[str, object], text: str) -> None:
    assert accuracy_text(line(**values), 6) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.024, "+2.4"), (-0.1, "-10.0"), (0.0004, "0.0"), (-0.0004, "0.0"), (0.0, "0.0")]
)
def test_differences_have_a_sign(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1234.5, "1,234×"), (9.96, "10×"), (3.21, "3.2×"), (0.0712, "0.071×"), (None, "–")]
)
def test_ratios(ratio: float | None, text: str) -> None:
    assert ratio_text(ratio) == text


def test_titles_name_the_student_where_it_matters() -> None:
    first = Column(key="a", protocol="fkd", epochs=1, labels="online", student="convnet")
    second = replace(first, key="b", student="resnet18", role="hard")
    longer = replace(first, key="c", epochs=2)
    other = replace(second, key="d", protocol="dc")
    assert column_title(first, [first]) == "fkd, 1 epoch"
    # One protocol and length, several students: the students are the titles.
    assert column_title(second, [first, second]) == "resnet18, with hard labels"
    assert column_title(second, [first, second, longer]) == "fkd, 1 epoch, resnet18, with hard labels"
    assert column_title(first, [first, longer]) == "fkd, 1 epoch"
    # Every protocol has a student of its own, which a narrow terminal leaves out.
    assert column_title(first, [first, other]) == "fkd, 1 epoch, convnet"
    assert column_title(first, [first, other], brief=True) == "fkd, 1 epoch"
    assert column_title(first, [first, second, longer], brief=True) == "fkd, 1 epoch, convnet"
    assert crossed([first, second]) and not crossed([first, other])
    assert protocols_text([first, second, longer]) == "fkd, 1 epoch; fkd, 2 epochs"


@pytest.mark.parametrize(
    ("difference", "interval", "clear", "text"),
    [
        (0.024, (0.021, 0.027), True, "wmdd leads, +2.4 ± 0.3 over random"),
        (0.002, (-0.01, 0.014), False, "+0.2 ± 1.2 over random, which may be chance"),
        (0.002, None, False, "+0.2 over random, one seed in common says nothing of the spread"),
        (None, None, False, "– over random, no seed in common"),
    ],
)
def test_leads(
    difference: float | None, interval: tuple[float, float] | None, clear: bool, text: str
) -> None:
    lead = Lead(
        ipc=1,
        column="s",
        row="wmdd",
        next="random",
        difference=difference,
        interval=interval,
        clear=clear,
    )
    assert lead_text(lead).endswith(text)
    assert lead_text(lead).startswith("Not settled: wmdd") is not clear


def test_footnotes_speak_of_what_is_shown_only(make_outcome: MakeOutcome) -> None:
    full = make_outcome()
    notes = " ".join(footnotes(full, summarise(full)))
    for part in ("n = 6: 3 seeds × 2 students", "Reference: random", "Ceiling: the teacher", "LRS", "3.9 MB"):
        assert part in notes
    one = make_outcome(labels=("wmdd",), seeds=(0,), students=1, teacher=None, validation=0.1)
    notes = " ".join(footnotes(one, summarise(one)))
    assert "on 10 % of the training images" in notes
    assert "no interval" in notes
    for part in ("Reference", "Ceiling", "Bold", "Difference", "LRS"):
        assert part not in notes


@pytest.mark.parametrize(
    ("kind", "word"), [("compare", "rows"), ("sweep", "settings"), ("ablate", "variants")]
)
def test_kinds_differ_in_words(make_outcome: MakeOutcome, kind: str, word: str) -> None:
    assert lead_paragraph(make_outcome(kind=kind)).startswith(f"4 {word} on fashion-mini")
