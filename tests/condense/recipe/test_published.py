"""Published accuracies: what may stand in one, and which one is shown."""

from __future__ import annotations

from typing import Any

import pytest

from condense.recipe.published import Published, closest

GOOD: dict[str, Any] = {
    "dataset": "cifar10",
    "ipc": 10,
    "accuracy": 0.449,
    "student": "convnet",
    "conditions": "300 epochs",
    "source": "Table 1",
}


def test_a_table_is_written_as_it_is_printed() -> None:
    first, second, third = Published.table(
        {"cifar10": {1: 28.3, 10: (44.9, 0.5)}, "svhn": {50: (82.3, 0.0)}},
        student="convnet",
        conditions="300 epochs",
        source="Table 1",
        second_hand=True,
    )
    assert (first.dataset, first.ipc, first.accuracy, first.spread) == ("cifar10", 1, 0.283, None)
    assert second == Published(**GOOD, spread=0.005, second_hand=True)
    assert (third.dataset, third.ipc, third.accuracy, third.spread) == ("svhn", 50, 0.823, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 44.9}, r"the accuracy of a published accuracy is a fraction in \[0, 1\], not 44.9"),
        ({"accuracy": float("nan")}, "not nan"),
        ({"spread": -0.1}, "the spread of a published accuracy"),
        ({"ipc": 0}, "at least 1 image per class, not 0"),
        ({"source": ""}, "needs one line of source"),
        ({"conditions": "two\nlines"}, "needs one line of conditions"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Published(**(GOOD | change))


@pytest.mark.parametrize(
    ("student", "accuracy"),
    [
        ("resnet18", 0.6),
        ("timm:resnet18", 0.6),
        ("resnet18(stem=cifar)", 0.6),
        ("convnet(width=64)", 0.4),
        ("resnet50", 0.4),  # of no line, so the first one
    ],
)
def test_the_line_of_the_same_network_is_closest(student: str, accuracy: float) -> None:
    lines = [
        Published(**(GOOD | {"accuracy": 0.4})),
        Published(**(GOOD | {"accuracy": 0.6, "student": "resnet18"})),
    ]
    found = closest(lines, student)
    assert found is not None
    assert found.accuracy == accuracy


def test_without_a_line_nothing_is_closest() -> None:
    assert closest([], "convnet") is None
