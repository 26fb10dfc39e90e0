"""Teachers as rows: what is compared with what, and how it is shown."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condense.comparison.design import Design, Place, design_comparison
from condense.comparison.outcome import Cell, Column, Outcome, Row, TeacherFacts, under_teacher
from condense.comparison.report.markdown import render_markdown
from condense.comparison.report.page import render_page
from condense.comparison.report.panels import panels
from condense.comparison.statistics import label_robust_score
from condense.comparison.summary import summarise
from condense.data.dataset import RealDataset
from condense.errors import CondenseError
from condense.recipe.method import Use
from condense.recipe.registry import Registry

MakeOutcome = Callable[..., Outcome]
SMALL, LARGE = "convnet(width=4,depth=2)", "convnet(width=16,depth=2)"
COLUMN = Column(key="s", protocol="fkd", epochs=300, labels="hard", student="convnet")


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset())


def design(registry: Registry, *methods: str, **terms: Any) -> Design:
    usual: dict[str, Any] = {"dataset": "tiny", "seeds": 2, "teacher_model": [SMALL, LARGE]}
    return design_comparison("compare", methods or ("wmdd",), registry, **{**usual, **terms})


def test_every_row_is_there_once_for_each_teacher(registry: Registry) -> None:
    made = design(registry, "wmdd", "dm")
    assert [row.label for row in made.rows] == [
        f"{method} teacher={teacher}" for teacher in (SMALL, LARGE) for method in ("wmdd", "dm", "random")
    ]
    assert [row.stem for row in made.rows] == ["wmdd", "dm", "random"] * 2
    assert [row.teacher for row in made.rows] == [SMALL] * 3 + [LARGE] * 3
    assert made.reference == "random"
    assert len(made.runs) == len(list(made.places())) == 12


def test_each_teacher_gets_the_settings_that_hold_with_it(registry: Registry) -> None:
    """WMDD's weights for Fashion-MNIST have the unit of a ConvNet's features."""
    made = design(registry, dataset="fashion-mini", teacher_model=[SMALL, "resnet18"])
    forms = {
        teacher: made.runs[Place(row=f"wmdd teacher={teacher}", ipc=10, seed=0)]
        .recipe.targets["barycenter"]
        .options["form"]
        for teacher in (SMALL, "resnet18")
    }
    assert forms == {SMALL: "norms", "resnet18": "relative"}
    assert [note for note in made.notes if "chosen with" in note] == [
        "wmdd's settings for fashion-mini were chosen with the teacher convnet; with resnet18, only --set "
        "preset=fashion-mini uses them"
    ]


def test_the_rows_of_a_method_differ_in_the_teachers_network_alone(registry: Registry) -> None:
    made = design(registry)
    small, large = (
        made.runs[Place(row=f"wmdd teacher={teacher}", ipc=10, seed=0)].recipe for teacher in (SMALL, LARGE)
    )
    assert small.teacher.model == Use(name="convnet", options={"width": 4, "depth": 2, "norm": "batch"})
    assert made.recipe_of(LARGE).teacher == large.teacher
    alone = design(registry, teacher_model=LARGE)
    assert alone.rows[0].label == "wmdd" and alone.rows[0].teacher == ""
    assert alone.runs[Place(row="wmdd", ipc=10, seed=0)].recipe == large
    assert alone.teachers == {"": large.teacher}


def test_students_are_the_same_under_every_teacher(registry: Registry) -> None:
    made = design(registry)
    assert {setup.column.student for setup in made.columns} == {SMALL}
    assert {setup.evaluation.student.model.options["width"] for setup in made.columns} == {4}
    assert any(f"the students are {SMALL} in every row" in note for note in made.notes)
    chosen = design(registry, student="convnet(depth=1),resnet18", scores=False)
    assert [setup.column.student for setup in chosen.columns] == ["convnet(depth=1)", "resnet18"]
    assert not any("in every row, whatever" in note for note in chosen.notes)
    assert f"--teacher-model '{SMALL},{LARGE}'" in chosen.command


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"teacher_model": "convnet,convnet(width=128)"}, "teacher convnet stands twice"),
        ({"teacher_model": "convnet,resnet"}, "Did you mean 'resnet18'?"),
        ({"settings": {"teacher.model": "convnet"}}, "--teacher-model and --set teacher.model say the same"),
        (
            {"settings": {"teacher.model.width": 3}},
            "write it with its network: --teacher-model 'convnet(width=...)'",
        ),
        ({"settings": {"teacher.checkpoint": "a.pt"}}, "is one teacher, and --teacher-model names 2"),
        ({"teacher_model": "convnet,teacher"}, "the teacher needs a network of its own"),
    ],
)
def test_teachers_that_cannot_be_are_refused(registry: Registry, terms: dict[str, Any], says: str) -> None:
    with pytest.raises(CondenseError) as caught:
        design(registry, **terms)
    assert says in str(caught.value)


ACCURACIES = {
    ("wmdd", "a"): {0: 0.5, 1: 0.7},
    ("random", "a"): {0: 0.4, 1: 0.5},
    ("wmdd", "b"): {0: 0.6, 1: 0.9},
    ("random", "b"): {0: 0.3, 1: 0.5},
}


def by_hand() -> Outcome:
    teachers = {
        name: TeacherFacts(model=name, accuracy=reached, seconds=1.0, hash="", bytes=8)
        for name, reached in (("a", 0.9), ("b", 0.8))
    }
    return Outcome(
        name="x",
        kind="compare",
        dataset="tiny",
        classes=2,
        images=10,
        bytes=20_000,
        ipcs=(1,),
        seeds=(0, 1),
        students=1,
        rows=tuple(
            Row(label=under_teacher(method, teacher), method=method, teacher=teacher)
            for method, teacher in ACCURACIES
        ),
        columns=(COLUMN,),
        cells=tuple(
            Cell(row=under_teacher(*place), ipc=1, seed=seed, column="s", accuracies=(reached,))
            for place, found in ACCURACIES.items()
            for seed, reached in found.items()
        ),
        teacher=teachers["a"],
        teachers=teachers,
        reference="random",
    )


def test_a_row_is_compared_with_the_first_row_of_its_teacher_and_with_itself_under_the_first() -> None:
    summary = summarise(by_hand())
    wmdd_a, random_a, wmdd_b, random_b = summary.lines
    assert (wmdd_a.base, wmdd_a.difference, wmdd_a.teacher_difference) == ("", None, None)
    assert random_a.base == "wmdd teacher=a"
    assert random_a.difference == pytest.approx((0.4 + 0.5 - 0.5 - 0.7) / 2)
    assert random_a.teacher_difference is None
    assert wmdd_b.base == ""
    assert wmdd_b.teacher_difference == pytest.approx((0.1 + 0.2) / 2)
    low, high = wmdd_b.teacher_difference_interval or (0, 0)
    assert (high - low) / 2 == pytest.approx(12.7062 * statistics.stdev([0.1, 0.2]) / 2**0.5, rel=1e-4)
    assert wmdd_b.teacher_excludes_zero is False
    assert random_b.base == "wmdd teacher=b"
    assert random_b.difference == pytest.approx(-0.35)
    assert random_b.teacher_difference == pytest.approx(-0.05)


def test_every_teacher_has_its_own_lead_ceiling_and_reference() -> None:
    summary = summarise(by_hand())
    assert [(lead.row, lead.next) for lead in summary.leads] == [
        ("wmdd teacher=a", "random teacher=a"),
        ("wmdd teacher=b", "random teacher=b"),
    ]
    assert (summary.first, summary.teachers, summary.ceiling) == ("wmdd", ("a", "b"), None)
    assert summary.ceilings == {"a": 0.9, "b": 0.8}
    assert summary.references == ("random teacher=a", "random teacher=b")
    wmdd_b = summary.line("wmdd teacher=b", 1, "s")
    assert wmdd_b.lrs == pytest.approx(
        label_robust_score(full_hard=0.8, synthetic_hard=0.75, synthetic=0.75, random=0.4)
    )


@pytest.fixture
def outcome(make_outcome: MakeOutcome) -> Outcome:
    return make_outcome(
        labels=("wmdd", "random"), teachers=(SMALL, "resnet18"), ipcs=(10,), epochs=(300,), protocols=("fkd",)
    )


def test_the_markdown_shows_both_differences_and_every_ceiling(outcome: Outcome) -> None:
    text = render_markdown(outcome, summarise(outcome))
    plain = text.replace("\\", "")
    assert f"| difference to wmdd | difference to teacher {SMALL} |" in plain
    assert "points to wmdd under the same teacher" in plain
    assert f"| teacher {SMALL}, on all real images (ceiling) | 91.2 |  |  |" in plain
    assert "| teacher resnet18, on all real images (ceiling) | 90.2 |  |  |" in plain
    assert plain.count("(reference)") == 2
    assert f"Ceilings: the teachers, trained on all real images, {SMALL} 91.2, resnet18 90.2." in plain


def test_the_page_shows_both_differences_and_every_ceiling(outcome: Outcome, tmp_path: Path) -> None:
    page = render_page(outcome, summarise(outcome), tmp_path)
    assert f"To teacher {SMALL}</th>" in page and "To wmdd</th>" in page
    assert page.count("ceiling</span>") == 2
    assert page.count('<span class="tag">reference</span>') >= 2
    assert "Teacher: resnet18" in page


def test_a_chart_of_several_teachers_has_no_ceiling(outcome: Outcome, make_outcome: MakeOutcome) -> None:
    assert {panel.ceiling for panel in panels(outcome, summarise(outcome))} == {None}
    one = make_outcome(ipcs=(10,), epochs=(300,))
    assert {panel.ceiling for panel in panels(one, summarise(one))} == {0.912}


def test_one_method_alone_has_the_difference_between_teachers_alone(make_outcome: MakeOutcome) -> None:
    found = make_outcome(labels=("wmdd",), teachers=("a", "b"), ipcs=(10,), epochs=(300,), protocols=("fkd",))
    text = render_markdown(found, summarise(found))
    assert "difference to wmdd" not in text
    assert "difference to teacher a" in text
