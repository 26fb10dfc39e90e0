"""Columns, roles and the whole design, by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from condense.comparison.columns import ColumnSetup, SharedSettings, make_columns, shared_settings
from condense.comparison.design import Design, Place, design_comparison
from condense.comparison.outcome import Kind
from condense.data.dataset import RealDataset
from condense.errors import CondenseError, OptionError, UnknownNameError
from condense.recipe.config import Machine
from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.protocol import Protocol
from condense.recipe.published import Published
from condense.recipe.registry import Registry, load_registry
from condense.recipe.settings import network_of
from condense.recipe.training import Augment

BARE = Protocol(name="bare", labels="hard", epochs=7, augment=Augment(flip=True))
WISHFUL = Method(
    name="wishful",
    summary="wants a longer teacher on tiny",
    targets={"cross-entropy": Weighted()},
    recover=Recover(iterations=2),
    protocol="bare",
    presets={"tiny": {"teacher.epochs": 9, "protocol.lr": 0.5}},
    for_ipc={1: {"recover.lr": 0.125}, 5: {"recover.lr": 0.0625}},
    published=Published.table(
        {"tiny": {1: 40.0, 10: 60.0}, "large": {1: 20.0}}, student="resnet18", conditions="x", source="y"
    ),
)


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset(), methods=[WISHFUL], protocols=[BARE])


def shared(registry: Registry, *protocols: str, settings: Any = ()) -> list[SharedSettings]:
    return [shared_settings(registry, "tiny", name, settings, 3) for name in protocols]


def columns(
    registry: Registry, *protocols: str, settings: Any = (), **changes: Any
) -> tuple[ColumnSetup, ...]:
    usual: dict[str, Any] = {"epochs": (), "students": 2, "scores": True}
    return make_columns(registry, shared(registry, *protocols, settings=settings), **{**usual, **changes})


def test_protocols_by_lengths_with_what_the_scores_need(registry: Registry) -> None:
    found = columns(registry, "fkd", "bare", epochs=(2, 4))
    assert [(setup.column.key, setup.column.role, setup.column.labels) for setup in found] == [
        ("fkd@2", "score", "online"),
        ("fkd@2/hard", "hard", "hard"),
        ("fkd@2/plain", "plain", "online"),
        ("fkd@4", "score", "online"),
        ("fkd@4/hard", "hard", "hard"),
        ("fkd@4/plain", "plain", "online"),
        ("bare@2", "score", "hard"),
        ("bare@2/plain", "plain", "hard"),
        ("bare@4", "score", "hard"),
        ("bare@4/plain", "plain", "hard"),
    ]
    protocols = {setup.column.key: setup.evaluation.protocol for setup in found}
    assert protocols["fkd@2/hard"].augment == protocols["fkd@2"].augment != Augment()
    assert protocols["fkd@2/plain"].augment == protocols["bare@4/plain"].augment == Augment()
    assert all(setup.evaluation.protocol.epochs == setup.column.epochs for setup in found)
    assert all(setup.evaluation.protocol.labels == setup.column.labels for setup in found)
    assert {setup.column.student for setup in found} == {"convnet(width=8,depth=2)"}


def test_random_images_are_a_row_and_no_column_judges_them_once_more(registry: Registry) -> None:
    evaluations = [setup.evaluation for setup in columns(registry, "fkd", students=2)]
    assert [(found.students, found.reference) for found in evaluations] == [(2, False)] * 3


def test_without_scores_there_are_the_columns_alone(registry: Registry) -> None:
    found = columns(registry, "bare", scores=False)
    assert [setup.column.key for setup in found] == ["bare@7"]


def test_every_student_network_is_a_column_of_every_length(registry: Registry) -> None:
    networks = [network_of(text, registry) for text in ("resnet18", "convnet(width=4)")]
    found = columns(registry, "bare", networks=networks, epochs=(2, 4), scores=False)
    assert [setup.column.key for setup in found] == [
        "bare@2 resnet18",
        "bare@2 convnet(width=4)",
        "bare@4 resnet18",
        "bare@4 convnet(width=4)",
    ]
    assert [setup.evaluation.student.model for setup in found] == networks * 2
    assert [setup.column.student for setup in found] == ["resnet18", "convnet(width=4)"] * 2
    scored = columns(registry, "fkd", networks=networks)
    assert [setup.column.role for setup in scored] == ["score", "hard", "plain"] * 2
    assert scored[4].column.key.endswith("convnet(width=4)/hard")


def test_students_of_a_comparison_are_columns_and_share_the_images(registry: Registry) -> None:
    several = design(registry, student=["resnet18", "convnet(width=4)"], scores=False)
    alone = design(registry, student="convnet(width=4)", scores=False)
    assert several.runs == alone.runs
    assert several.columns[1].evaluation == alone.columns[0].evaluation
    assert alone.columns[0].column.key == "fkd@300"
    assert "--student 'resnet18,convnet(width=4)'" in several.command
    assert design(registry, student="resnet18,convnet(width=4)", scores=False) == several


def test_settings_of_protocols_are_for_every_column(registry: Registry) -> None:
    settings = [("protocol.labels", "soft"), ("student.model", "convnet"), ("student.model.norm", "instance")]
    found = columns(registry, "fkd", "bare", settings=settings)
    assert {setup.column.labels for setup in found if setup.column.role == "score"} == {"soft"}
    assert {setup.column.student for setup in found} == {"convnet(norm=instance)"}
    networks = {str(setup.evaluation.student.model.options["norm"]) for setup in found}
    assert networks == {"instance"}


def test_the_teacher_has_the_seed_of_the_comparison_unless_it_is_given_one(registry: Registry) -> None:
    assert {settings.teacher.seed for settings in shared(registry, "fkd", "bare")} == {3}
    given = shared(registry, "fkd", "bare", settings=[("teacher.seed", "8")])
    assert {settings.teacher.seed for settings in given} == {8}


@pytest.mark.parametrize(
    ("protocols", "epochs", "says"),
    [
        (("fkd",), (0,), "epochs must be at least 1, not 0"),
        (("fkd",), (5, 5), "number of epochs 5 stands twice"),
        (("fkd", "fkd"), (), "protocol fkd stands twice"),
        (("fdk",), (), "unknown protocol 'fdk'"),
    ],
)
def test_columns_that_cannot_be_are_refused(
    registry: Registry, protocols: tuple[str, ...], epochs: tuple[int, ...], says: str
) -> None:
    with pytest.raises(CondenseError) as caught:
        columns(registry, *protocols, epochs=epochs)
    assert says in str(caught.value)


def design(registry: Registry, *methods: str, **terms: Any) -> Design:
    return design_comparison("compare", methods or ["wmdd"], registry, dataset="tiny", **terms)


def test_every_row_and_seed_has_the_datasets_teacher_of_the_first_seed(registry: Registry) -> None:
    made = design(registry, "wishful", "wmdd", ipc=(1, 5), seeds=2, seed=4, settings={"teacher.lr": 0.3})
    assert all(config.recipe.teacher == made.shared.teacher for config in made.runs.values())
    assert (made.shared.teacher.epochs, made.shared.teacher.lr, made.shared.teacher.seed) == (1, 0.3, 4)
    assert made.seeds == (4, 5)
    assert {place.seed: config.recipe.seed for place, config in made.runs.items()} == {4: 4, 5: 5}
    assert len(made.runs) == 3 * 2 * 2 == len(list(made.places()))


def test_what_a_method_wants_otherwise_is_said(registry: Registry) -> None:
    notes = " ".join(design(registry, "wishful").notes)
    assert "wishful asks for teacher.epochs=9 (1 here); every row has the same teacher" in notes
    assert "wishful asks for protocol.lr=0.5 (0.05 here)" in notes
    assert "protocol bare, the one that wishful is reported under" in notes
    assert not any("random" in note for note in design(registry, "wishful").notes)


def test_what_the_user_asked_for_is_no_wish_of_the_method(registry: Registry) -> None:
    terms: dict[str, Any] = {"protocol": "fkd", "student": "convnet", "settings": {"teacher.epochs": 2}}
    assert not any("asks for" in note for note in design(registry, "random", **terms).notes)


def test_presets_count_by_images_per_class(registry: Registry) -> None:
    made = design(registry, "wishful", ipc=(1, 5), seeds=1)
    rates = {
        place.ipc: config.recipe.recover.lr for place, config in made.runs.items() if place.row == "wishful"
    }
    assert rates == {1: 0.125, 5: 0.0625}


def test_a_cell_does_not_depend_on_how_it_is_measured(registry: Registry) -> None:
    one = design(registry, protocol="fkd", epochs=3, student="convnet", seeds=1)
    other = design(registry, protocol="bare", scores=False, settings={"protocol.lr": 0.5}, seeds=1)
    assert one.runs == other.runs


def test_rows_say_what_they_change_in_full_and_typed(registry: Registry) -> None:
    made = design(
        registry, "wmdd", settings=[("wmdd:iterations", "7"), ("regularizers.class-batchnorm", "2")]
    )
    assert made.rows[0].settings == {"recover.iterations": 7, "regularizers.class-batchnorm": 2.0}
    assert made.rows[1].settings == {}
    assert made.rows[0].summary and made.rows[0].source


def test_the_protocol_is_that_of_the_first_method_that_makes_its_images(registry: Registry) -> None:
    design = design_comparison("compare", ["random", "wishful"], registry, dataset="tiny", ipc=1)
    assert design.columns[0].column.protocol == "bare"
    assert any(note.startswith("protocol bare, the one that wishful is reported") for note in design.notes)


def test_work_goes_seed_by_seed(registry: Registry) -> None:
    places = list(design(registry, "wmdd", ipc=(1, 2), seeds=2).places())
    assert places[:3] == [
        Place(row="wmdd", ipc=1, seed=0),
        Place(row="random", ipc=1, seed=0),
        Place(row="wmdd", ipc=2, seed=0),
    ]
    assert [place.seed for place in places] == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"seeds": 0}, "seeds must lie between 1 and 1000, not 0"),
        ({"students": 0}, "students must lie between 1 and 1000"),
        ({"seeds": "3"}, "seeds must be a whole number, not '3'"),
        ({"students": True}, "students must be a whole number, not True"),
        ({"ipc": ("1",)}, "ipcs must be a list of whole numbers, not ('1',)"),
        ({"validation": float("nan")}, "validation must be a finite number, not nan"),
        ({"scores": "no"}, "scores must be true or false, not 'no'"),
        ({"ipc": 0}, "images per class must be at least 1"),
        ({"ipc": (1, 1)}, "1 images per class stand twice"),
        ({"ipc": ()}, "no images per class"),
        ({"name": "cells"}, "must be one folder name"),
        ({"name": "a/b"}, "must be one folder name"),
        ({"validation": 1.5}, "validation must lie in"),
        ({"precision": "half"}, "precision=half: must be one of auto, bf16, fp32"),
        ({"student": "nope"}, "unknown model 'nope'"),
        ({"student": "convnet", "settings": {"student.model": "convnet"}}, "say the same thing"),
        ({"student": "convnet,convnet(width=128)"}, "student network convnet stands twice"),
        (
            {"student": "teacher,convnet(width=8,depth=2)"},
            "student network convnet(width=8,depth=2) stands twice",
        ),
        (
            {"student": "convnet,resnet18", "settings": {"student.model.width": 8}},
            "write it with its network",
        ),
        ({"epochs": 5, "settings": {"protocol.epochs": 3}}, "say the same thing"),
        ({"settings": {"iteratoins": 1}}, "row 'wmdd': unknown option 'iteratoins'"),
        ({"settings": {"teacher.epoch": 1}}, "unknown option"),
    ],
)
def test_terms_that_cannot_be_are_refused(registry: Registry, terms: dict[str, Any], says: str) -> None:
    with pytest.raises(CondenseError) as caught:
        design(registry, **terms)
    assert says in str(caught.value)


def test_the_name_follows_from_what_is_compared(registry: Registry) -> None:
    names = {
        design(registry, **terms).name
        for terms in ({}, {"ipc": 2}, {"seeds": 1}, {"students": 2}, {"epochs": 3}, {"settings": {"lr": 0.5}})
    }
    assert len(names) == 6
    assert all(name.startswith("compare-wmdd-random-tiny-") for name in names)
    elsewhere: dict[str, Any] = {"data_dir": "elsewhere", "device": "cuda:1", "precision": "fp32"}
    assert design(registry).name == design(registry, **elsewhere).name
    assert design(registry, name="mine").name == "mine"


def test_the_command_makes_the_same_design_again(registry: Registry) -> None:
    terms: dict[str, Any] = {"seeds": 2, "epochs": (2, 3), "protocol": ("fkd", "bare"), "scores": False}
    made = design(registry, "wmdd", ipc=(1, 5), reference=False, settings={"wmdd:lr": 0.5}, **terms)
    assert made.command == (
        "condense compare wmdd --dataset tiny --ipc 1,5 --seeds 2 --protocol fkd,bare --epochs 2,3 "
        "--set wmdd:lr=0.5 --no-reference --no-scores"
    )


def test_without_the_reference_no_scores_can_be_had(registry: Registry) -> None:
    made = design(registry, reference=False)
    assert [setup.column.role for setup in made.columns] == ["score"]
    assert any("scores are left out" in note for note in made.notes)
    assert not any("left out" in note for note in design(registry, reference=False, scores=False).notes)


def test_a_sweep_shares_the_cells_of_a_comparison(registry: Registry) -> None:
    swept = design_comparison(
        "sweep", "wmdd", registry, settings={"lr": [0.5, 0.25]}, dataset="tiny", seeds=1
    )
    alone = design(registry, settings={"lr": "0.5"}, seeds=1)
    assert (
        swept.runs[Place(row="wmdd lr=0.5", ipc=10, seed=0)] == alone.runs[Place(row="wmdd", ipc=10, seed=0)]
    )
    with pytest.raises(OptionError, match="nothing to sweep over"):
        design_comparison("sweep", "wmdd", registry, settings={}, dataset="tiny")


@pytest.mark.parametrize("kind", ["sweep", "ablate"])
def test_a_sweep_or_an_ablation_of_several_methods_is_refused(registry: Registry, kind: Kind) -> None:
    with pytest.raises(OptionError, match=f"{kind} takes one method, not 2"):
        design_comparison(kind, ["wmdd", "wishful"], registry, settings={"lr": [0.5, 1]}, dataset="tiny")


def test_one_method_may_be_named_by_its_name_alone(registry: Registry) -> None:
    alone, listed = (design_comparison("compare", named, registry) for named in ("wmdd", ["wmdd"]))
    assert alone == listed


def test_a_run_of_a_comparison_trains_no_students(registry: Registry) -> None:
    evaluations = [config.evaluation for config in design(registry, students=2).runs.values()]
    assert {(found.students, found.reference) for found in evaluations} == {(0, False)}


def test_every_run_is_computed_where_it_was_asked_for(registry: Registry) -> None:
    made = design(registry, device="cuda:1", precision="fp32", data_dir="elsewhere", validation=0.25)
    asked = Machine(device="cuda:1", precision="fp32", data_dir="elsewhere")
    assert {config.machine for config in made.runs.values()} == {made.machine} == {asked}
    assert {config.recipe.validation for config in made.runs.values()} == {made.validation} == {0.25}
    assert made.recipe == next(iter(made.runs.values())).recipe


def test_all_recipes_of_a_row_differ_in_seed_and_images_per_class_alone(registry: Registry) -> None:
    made = design(registry, "sre2l", ipc=(1, 5), seeds=2, reference=False)
    recipes = [config.recipe for config in made.runs.values()]
    assert [(recipe.seed, recipe.ipc) for recipe in recipes] == [(0, 1), (1, 1), (0, 5), (1, 5)]
    assert all(replace(recipe, seed=0, ipc=1) == made.recipe for recipe in recipes)
    assert made.recipe.dataset == made.shared.dataset == Use(name="tiny")


def test_a_row_has_what_was_published_on_the_dataset(registry: Registry) -> None:
    made = design_comparison(
        "compare", ["wishful", "random"], registry, dataset="tiny", settings={"wishful:lr": 0.5}
    )
    wishful, random = made.rows
    assert wishful.published == WISHFUL.published[:2]
    assert random.published == ()


def test_rows_of_a_sweep_or_an_ablation_are_not_the_published_method(registry: Registry) -> None:
    swept = design_comparison("sweep", "wishful", registry, dataset="tiny", settings={"lr": [0.5, 1]})
    assert {row.published for row in swept.rows} == {()}


def test_a_wish_for_another_size_of_images_is_noted() -> None:
    """WMDD enlarges Tiny ImageNet; in a comparison every row has the same images."""
    registry = load_registry()
    settled: dict[str, Any] = {"dataset": "tiny-imagenet", "reference": False}
    plain = design_comparison("compare", ["wmdd"], registry, **settled)
    assert {config.recipe.dataset.options["size"] for config in plain.runs.values()} == {64}
    [note] = [note for note in plain.notes if "dataset.size" in note]
    assert note == "wmdd asks for dataset.size=224 (64 here); every row has the same dataset"
    large = design_comparison("compare", ["wmdd"], registry, settings={"dataset.size": 224}, **settled)
    assert {config.recipe.dataset.options["size"] for config in large.runs.values()} == {224}
    assert not [note for note in large.notes if "dataset.size" in note]


def test_a_sweep_over_presets_has_their_settings() -> None:
    swept = design_comparison(
        "sweep", "wmdd", load_registry(), settings={"preset": "paper,small-grey"}, reference=False, seeds=1
    )
    assert [config.recipe.recover.iterations for config in swept.runs.values()] == [2000, 200]
    with pytest.raises(UnknownNameError, match="Did you mean 'paper'"):
        design_comparison("sweep", "wmdd", load_registry(), settings={"preset": "papr,small-grey"})
