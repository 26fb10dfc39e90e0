"""The work of a whole comparison, by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from condense.comparison.amount import amount_ahead
from condense.comparison.design import Design, design_comparison
from condense.data.dataset import RealDataset
from condense.recipe.registry import KINDS, Offer, Registry


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    """The tiny dataset, whose spec says that it has 3 classes, 21 + 12 images."""
    base = make_registry(make_dataset())
    spec, _ = base.dataset("tiny")
    known = replace(spec, classes=3, images=(21, 12), side=8, like="small-grey")
    found = {kind: {offer.spec.name: offer for offer in base.offers(kind)} for kind, _ in KINDS.values()}
    found["dataset"]["tiny"] = Offer("test", known)
    return Registry(found, base.plugins, {})


def design(registry: Registry, methods: Sequence[str], **terms: Any) -> Design:
    usual: dict[str, Any] = {"dataset": "tiny", "ipc": 2, "seeds": 2, "epochs": 5, "scores": False}
    return design_comparison("compare", methods, registry, **{**usual, **terms})


def test_teachers_images_and_students_are_added_up(registry: Registry) -> None:
    """Teacher: 21 images once, and a test on 12. wmdd: 21 measured in 2 views, 7 steps on 6 images, 2 seeds;
    random: nothing.
    A student: 5 epochs on 6 images, with the teacher beside it, and a test on 12; 2 rows, 2 seeds, 3 students."""
    made = design(
        registry,
        ["wmdd"],
        students=3,
        settings={"wmdd:iterations": 7, "wmdd:initializer": "real", "wmdd:select.students": 0},
    )
    found = amount_ahead(made, registry)
    assert found is not None
    assert found.teachers == (21 + 12, 21)
    assert found.images == (2 * (2 * 21 + 42), 2 * 42)
    assert found.students == (12 * (2 * 30 + 12), 12 * 30)
    assert list(found.parts()) == ["teachers", "images", "students"]
    assert found.divided == found.students[1] + found.images[1]  # two seeds side by side


def test_the_images_of_one_cell_are_not_divided(registry: Registry) -> None:
    settings = {"wmdd:iterations": 7, "wmdd:initializer": "real", "wmdd:select.students": 0}
    found = amount_ahead(design(registry, ["wmdd"], seeds=1, settings=settings), registry)
    assert found is not None
    assert found.images[1] == 42
    assert found.divided == found.students[1]


def test_rows_and_seeds_share_a_pool(registry: Registry) -> None:
    """3 networks, 2 epochs of 21 images, once. Each of 2 seeds and 2 ipc: 4 steps, in which the real images pass the
    drawn network forward, and the synthetic ones it and the trained network in both directions."""
    settings = {"iterations": 4, "pool.networks": 3, "pool.epochs": 2, "parametrization": "identity"}
    made = design(registry, ["ncfm"], reference=False, ipc=(1, 2), settings=settings)
    found = amount_ahead(made, registry)
    assert found is not None
    pool, synthetic = 3 * 2 * 21, 2 * 4 * 2 * (3 + 6)
    assert found.images == (pool + synthetic + 2 * 2 * 4 * 21, pool + synthetic)


def test_every_teacher_and_every_student_network_counts(registry: Registry) -> None:
    one = amount_ahead(design(registry, ["random"]), registry)
    more = amount_ahead(
        design(
            registry,
            ["random"],
            teacher_model="convnet,resnet18",
            student="convnet,resnet18,convnet(width=3)",
        ),
        registry,
    )
    assert one is not None and more is not None
    assert more.teachers == (2 * one.teachers[0], 2 * one.teachers[1])
    assert more.students == (6 * one.students[0], 6 * one.students[1])


def test_a_dataset_that_has_to_be_looked_at_is_not_counted(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    plain = make_registry(make_dataset())
    assert amount_ahead(design(plain, ["random"]), plain) is None
