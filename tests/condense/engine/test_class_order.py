"""The order of a network's outputs, found from its answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from condense.engine.class_order import find_order, usual_orders

TEXT = ("0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9")


def answers(meaning: list[int], right: float = 1.0, each: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The labels of `each` images of every class, and the outputs of a network that means labels by them.

    right: the fraction of answers that are not drawn at random.
    """
    draws = torch.Generator().manual_seed(seed)
    classes = len(meaning)
    labels = torch.arange(classes).repeat_interleave(each)
    output_of = torch.argsort(torch.tensor(meaning))
    guesses = torch.randint(classes, (len(labels),), generator=draws)
    known = torch.rand(len(labels), generator=draws) < right
    return labels, torch.where(known, output_of[labels], guesses)


def by_key(classes: tuple[str, ...], key: object) -> list[int]:
    return sorted(range(len(classes)), key=lambda label: key(classes[label]))  # type: ignore[operator]


def test_numbers_sorted_by_value() -> None:
    meaning = by_key(TEXT, int)
    assert meaning == [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3]
    found = find_order(*answers(meaning, right=0.9), TEXT)
    assert found is not None
    assert found.meaning == tuple(meaning)
    assert "sorted by number ('2' before '10')" in found.cause
    assert found.accuracy > 0.85


@pytest.mark.parametrize(
    ("classes", "key", "cause"),
    [
        (("b", "A", "c", "D", "e"), str, "sorted as text"),
        (("b", "A", "c", "D", "e"), str.lower, "without regard to case"),
        (
            ("n00000001 pear", "n00000002 apple", "n00000003 fig"),
            lambda name: name.partition(" ")[2],
            "without their WordNet ids",
        ),
        (("n00000003 pear", "n00000002 apple"), str, "sorted as text"),
        (("a", "b", "c"), lambda name: -ord(name), "in reverse"),
        (("a", "b", "c", "d"), lambda name: (ord(name) - ord("a") + 1) % 4, "numbered from 1"),
    ],
)
def test_usual_orders(classes: tuple[str, ...], key: object, cause: str) -> None:
    meaning = by_key(classes, key)
    found = find_order(*answers(meaning, each=40), classes)
    assert found is not None
    assert found.meaning == tuple(meaning)
    assert cause in found.cause


@pytest.mark.parametrize("classes", [12, 100])
def test_an_order_without_an_explanation(classes: int) -> None:
    meaning = torch.randperm(classes, generator=torch.Generator().manual_seed(4)).tolist()
    names = tuple(f"class {label:03d}" for label in range(classes))
    found = find_order(*answers(meaning, right=0.8), names)
    assert found is not None
    assert found.meaning == tuple(meaning)
    assert found.cause == ""


@pytest.mark.parametrize("right", [1.0, 0.9, 0.5, 0.1, 0.0])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 12])
def test_the_right_order_is_left_alone(right: float, seed: int, classes: int) -> None:
    names = TEXT[:classes]
    assert find_order(*answers(list(range(classes)), right, seed=seed), names) is None


def test_a_network_that_always_says_the_same_has_no_other_order() -> None:
    labels = torch.arange(10).repeat_interleave(30)
    assert find_order(labels, torch.full_like(labels, 7), TEXT[:10]) is None


def test_a_few_images_prove_nothing() -> None:
    assert find_order(torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0]), ("a", "b", "c")) is None


def test_usual_orders_differ_from_that_of_the_classes_and_from_each_other() -> None:
    orders = [meaning for _, meaning in usual_orders(TEXT)]
    assert len(set(orders)) == len(orders)
    assert tuple(range(len(TEXT))) not in orders
    assert all(sorted(meaning) == list(range(len(TEXT))) for meaning in orders)
