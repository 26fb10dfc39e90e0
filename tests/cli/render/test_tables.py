"""The outcome table and listings at any width."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from condense_cli.render.console import write
from condense_cli.render.listing import listing
from condense_cli.render.tables import evaluation_table, outcome_table
from rich.console import Console

from condense.text import setting_text

OUTCOME: dict[str, Any] = {
    "method": "wmdd",
    "dataset": "fashion-mini",
    "ipc": 10,
    "seed": 3,
    "path": "/a/very/long/path/to/some/folder/of/runs/that/does/not/fit/on/a/line/wmdd-fashion-mini",
    "grid": "runs/x/grid.png",
    "report": "runs/x/report.html",
    "protocol": {"name": "fkd", "epochs": 300, "labels": "online"},
    "rows": [
        {
            "label": "wmdd",
            "accuracy_mean": 0.7634,
            "accuracy_std": 0.0042,
            "students": 3,
            "steps": 600,
            "seconds": 9.0,
        },
        {
            "label": "random real images",
            "accuracy_mean": 0.0912,
            "accuracy_std": None,
            "students": 1,
            "steps": 600,
            "seconds": 9.0,
        },
    ],
    "teacher_accuracy": 0.912,
    "seconds": {"squeeze": 61.0, "measure": 0.5, "evaluate": 12.0},
    "bytes": {"images": 37_240, "labels": 100, "teacher": 1_300_000},
    "settings": {"recipe": {"validation": 0.0}},
    "choice": None,
}


def drawn(parts: list[Any], width: int, terminal: bool = True) -> str:
    class File(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    file = File()
    console = Console(file=file, width=width, highlight=False, markup=False, color_system=None)
    write(console, *parts)
    return file.getvalue()


def test_the_outcome_at_80_columns() -> None:
    lines = [" ".join(line.split()) for line in drawn(outcome_table(OUTCOME), 80).splitlines()]
    assert "wmdd on fashion-mini, 10 images per class, seed 3" in lines
    assert "wmdd 76.3 ± 0.4 % 3 students" in lines
    assert "random real images 9.1 % one student" in lines
    assert "all real images (the teacher) 91.2 %" in lines
    assert "protocol fkd: 300 epochs, 600 steps, online labels" in lines
    times = "time squeeze 1 min 01 s, measure 0.50 s, evaluate 12.0 s, together 1 min 14 s"
    assert times in " ".join(lines)
    assert "size images 37.2 kB, labels 100 B, teacher 1.3 MB" in lines
    assert f"run {OUTCOME['path']}" in lines


@pytest.mark.parametrize("width", [120, 80, 60, 40, 30])
@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_cut_at_any_width(width: int, terminal: bool) -> None:
    text = drawn(outcome_table(OUTCOME), width, terminal)
    assert "…" not in text
    letters = re.sub(r"[\s─]", "", text)
    for word in ("wmdd", "76.3", "random", "91.2", "online", "together", "1.3", OUTCOME["path"]):
        assert word in letters


def test_a_path_can_be_copied_whole_from_a_pipe() -> None:
    assert OUTCOME["path"] in drawn(outcome_table(OUTCOME), 40, terminal=False)


def test_a_run_without_students_or_teacher() -> None:
    nothing = {
        **OUTCOME,
        "rows": [],
        "teacher_accuracy": None,
        "bytes": {"images": 1, "labels": 1, "teacher": 0},
    }
    text = drawn(outcome_table(nothing), 80)
    assert "(no students were trained)" in text
    assert "teacher" not in text


def test_accuracy_on_held_out_images_is_marked() -> None:
    text = drawn(outcome_table({**OUTCOME, "settings": {"recipe": {"validation": 0.1}}}), 80)
    assert "10.0 % of the training images" in " ".join(text.split())


def test_images_that_students_chose_are_named() -> None:
    """Without this, real images that the students kept would pass for the method's own."""
    assert "chosen from candidates" not in drawn(outcome_table(OUTCOME), 80)
    chosen = {"kept_text": "the start k-means, without recovery"}
    text = drawn(outcome_table({**OUTCOME, "choice": chosen}), 80)
    assert "images chosen from candidates: the start k-means, without recovery" in " ".join(text.split())


def test_an_evaluation_has_a_row_for_each_network() -> None:
    row = {**OUTCOME["rows"][0], "student": "resnet18", "accuracy_interval": (0.751, 0.775)}
    data = {**OUTCOME, "rows": [row], "table": "runs/one/evaluations/t.md"}
    lines = [" ".join(line.split()) for line in drawn(evaluation_table(data), 80).splitlines()]
    assert "resnet18 76.3 ± 0.4 % 75.1 to 77.5 3 students" in lines
    assert "table runs/one/evaluations/t.md" in lines
    assert "time 9.0 s" in lines


@pytest.mark.parametrize("width", [80, 40, 25])
def test_a_listing_folds_long_texts(width: int) -> None:
    row = {"name": "class-batchnorm", "plugin": "wmdd", "summary": "statistics of each class " * 5}
    text = drawn([listing([row], ("name", "plugin", "summary"))], width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("statis") == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (None, "none"), ((0.08, 1.0), "0.08,1"), ((), '""'), ("", '""'), (1e-05, "1e-05")],
)
def test_setting_text(value: Any, text: str) -> None:
    assert setting_text(value) == text
