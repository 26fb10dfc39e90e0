"""What a run found: means and deviations by hand."""

from __future__ import annotations

import pytest

from condense.engine.components import StudentResult
from condense.engine.evaluate import Score


def score(*accuracies: float) -> Score:
    return Score(
        label="mine",
        students=tuple(
            StudentResult(student=index, accuracy=accuracy, seconds=1.5, steps=7)
            for index, accuracy in enumerate(accuracies)
        ),
    )


def test_mean_and_sample_deviation() -> None:
    """Of 0.5, 0.6 and 0.7: 0.6, and the root of (0.01 + 0 + 0.01) / 2."""
    found = score(0.5, 0.6, 0.7)
    assert found.mean == pytest.approx(0.6)
    assert found.std == pytest.approx(0.1)
    assert found.to_dict() == {
        "label": "mine",
        "accuracy_mean": pytest.approx(0.6),
        "accuracy_std": pytest.approx(0.1),
        "accuracies": [0.5, 0.6, 0.7],
        "students": 3,
        "steps": 7,
        "seconds": 4.5,
    }


def test_one_student_has_no_deviation() -> None:
    assert score(0.5).std is None
    assert score(0.5).mean == 0.5
    assert score(0.5, 0.5).std == 0
