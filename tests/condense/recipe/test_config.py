"""The three groups of a configuration: what their hashes depend on, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from condense.recipe.config import Evaluation, Machine, Recipe, RunConfig, by_content, public_settings
from condense.recipe.method import Student, Teacher, Use, Weighted
from condense.recipe.resolve import with_judge
from condense.recipe.settings import flatten

# Another valid value for every setting whose value has no obvious other one, by the last part of its key.
OTHERS: dict[str, Any] = {
    "method": "another",
    "dataset": "imagenette",
    "initializer": "real",
    "evaluator": "others",
    "model": "convnet",
    "network": "convnet",
    "stem": "tiny",
    "checkpoint": "weights.safetensors",
    "optimizer": "adamw",
    "schedule": "constant",
    "chunk": "slots",
    "crop_schedule": "linear",
    "crop_scale": (0.5, 1.0),
    "crop_ratio": (0.5, 2.0),
    "siamese": ("flip",),
    "siamese_always": ("flip",),
    "inner_on": "real",
    "inner_labels": "online",
    "draw": "interpolated",
    "mode": "eval",
    "betas": (0.1, 0.2),
    "labels": "hard",
    "check": "note",
    "name": "another",
    "summary": "another",
    "source": "another",
    "form": "norms",
    "text": "another",
    "names": ("a",),
    "starts": ("real",),
    "pair": (2.0, 3.0),
    "range": (0.5, 1.0),
    "device": "cpu",
    "precision": "fp32",
    "data_dir": "there",
    "loaders": 3,
    "jpeg_decoder": "cuda",
    "keep_minutes": 1.0,
    "compile": "off",
    "together": 3,
    "limit": 3,
    "seed": 7,
    "validation": 0.5,
    "jitter": 0.25,
    "weight_decay": 0.5,
}
OTHER_BY_KEY = {
    "recover.optimizer": "sgd",
    "protocol.optimizer": "sgd",
    "recover.inner.schedule": "cosine",
    "teacher.seed": 11,
    "protocol.model": "resnet18",
    "judge.model": "resnet18",
    "judge.optimizer": "sgd",
    "parametrization": "mosaic",
    "regularizers.smooth": 3.0,
}
# An image that is recovered has one class, so that nothing else can be said. A judge that is absent has no settings.
WITHOUT_ANOTHER = {"recover.augment.cutmix", "recover.inner.augment.cutmix", "judge"}


def another(key: str, value: Any) -> Any:
    """A valid value of the setting `key` that is not `value`."""
    if key in OTHER_BY_KEY:
        return OTHER_BY_KEY[key]
    if key.rpartition(".")[2] in OTHERS:
        return OTHERS[key.rpartition(".")[2]]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value / 2 or 0.5


def changes(group: Any, knobs: Any, start: RunConfig | None = None) -> dict[str, RunConfig]:
    """The plain configuration, or `start`, with each setting of a group changed, by key."""
    found = {}
    for key, value in flatten(group).items():
        if key not in WITHOUT_ANOTHER:
            found[key] = knobs.changed((key, another(key, value)), start=start)
            assert flatten(found[key]) != flatten(start or knobs.config), key
    return found


# What hashes depend on.

# Settings that decide neither an image nor an accuracy.
NO_IMAGE = {"teacher.check", "judge.name", "judge.summary", "judge.source"}


def test_the_hash_of_a_recipe_depends_on_every_setting_of_it_and_on_no_other(knobs: Any) -> None:
    config = with_judge(knobs.changed(("select.students", 1)), knobs.registry)
    found = changes(config.recipe, knobs, start=config)
    assert {key.partition(".")[0] for key in found} == {field.name for field in fields(Recipe)}
    same = {key for key, changed in found.items() if changed.recipe.hash == config.recipe.hash}
    assert same == NO_IMAGE
    hashes = {changed.recipe.hash for changed in found.values()}
    assert len(hashes | {config.recipe.hash}) == len(found) + 1 - len(NO_IMAGE)
    for group in (config.evaluation, config.machine):
        for key, changed in changes(group, knobs, start=config).items():
            assert changed.recipe.hash == config.recipe.hash, key


def test_settings_of_students_that_judge_nothing_decide_nothing(knobs: Any) -> None:
    """Neither the hash nor what is passed on tells of them, so that both are as without them."""
    config = knobs.config
    idle = with_judge(knobs.changed(("select.epochs", 3), ("select.starts", "real")), knobs.registry)
    assert idle.recipe.hash == config.recipe.hash
    passed = public_settings(idle.recipe, idle.evaluation)
    assert passed == public_settings(config.recipe, config.evaluation)
    assert not {"select", "judge"} & passed["recipe"].keys()


def test_the_hash_of_a_recipe_depends_on_which_losses_it_has(knobs: Any) -> None:
    recipe = knobs.config.recipe
    others = [
        replace(recipe, regularizers={}),
        replace(recipe, targets={**recipe.targets, "cross-entropy": Weighted()}),
        replace(recipe, targets=recipe.regularizers, regularizers=recipe.targets),
    ]
    assert len({recipe.hash, *(other.hash for other in others)}) == 4


def test_what_decides_nothing_is_not_passed_on(knobs: Any) -> None:
    plain, noted = knobs.config, knobs.changed(("teacher.check", "note"))
    shown, same = (public_settings(config.recipe, config.evaluation) for config in (plain, noted))
    assert shown == same
    assert "check" not in shown["recipe"]["teacher"]


def test_a_teachers_seed_that_is_the_runs_makes_no_other_recipe(knobs: Any) -> None:
    """None stands for the seed of the run."""
    config = knobs.changed(("seed", 3))
    assert config.recipe.teacher.seed is None
    same = knobs.changed(("teacher.seed", 3), start=config)
    other = knobs.changed(("teacher.seed", 4), start=config)
    assert same.recipe.hash == config.recipe.hash
    assert other.recipe.hash != config.recipe.hash
    # Another seed of the run is another recipe, also where the teacher keeps its own.
    assert knobs.changed(("seed", 5), start=same).recipe.hash != same.recipe.hash


NO_SCORE = {"students", "reference", "protocol.name", "protocol.summary", "protocol.source"}


def test_the_hash_of_an_evaluation_depends_on_what_decides_a_score(knobs: Any) -> None:
    config = knobs.config
    found = changes(config.evaluation, knobs)
    assert {key.partition(".")[0] for key in found} == {field.name for field in fields(Evaluation)}
    same = {key for key, changed in found.items() if changed.evaluation.hash == config.evaluation.hash}
    assert same == NO_SCORE
    others = {changed.evaluation.hash for key, changed in found.items() if key not in NO_SCORE}
    assert len(others) == len(found) - len(NO_SCORE)
    assert {"protocol.epochs", "protocol.labels", "student.model"} <= found.keys() - same
    for group in (config.recipe, config.machine):
        for key, changed in changes(group, knobs).items():
            assert changed.evaluation.hash == config.evaluation.hash, key


def test_the_label_of_an_evaluation_names_the_protocol_the_epochs_and_the_hash(knobs: Any) -> None:
    evaluation = knobs.changed(("protocol.epochs", 12)).evaluation
    assert evaluation.label == f"fkd-12-{evaluation.hash[:10]}"
    assert len(evaluation.hash) == 64


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Machine(device="cuda:0"), Machine(device="cuda:1"), True),
        (Machine(device="cuda"), Machine(device="cuda:1"), True),
        (Machine(data_dir="here"), Machine(data_dir="there"), True),
        (Machine(loaders=0), Machine(loaders=8), True),
        (Machine(keep_minutes=0), Machine(), True),
        (Machine(jpeg_decoder="cuda"), Machine(), False),
        (Machine(device="cuda"), Machine(device="cpu"), False),
        (Machine(device="auto"), Machine(device="cpu"), False),
        (Machine(precision="bf16"), Machine(precision="fp32"), False),
        (Machine(precision="auto"), Machine(precision="fp32"), False),
    ],
)
def test_the_hash_of_a_machine_is_that_of_its_kind(one: Machine, other: Machine, same: bool) -> None:
    assert (one.hash == other.hash) is same
    assert one != other


def test_the_machines_that_settings_can_stand_for() -> None:
    def kinds(**options: Any) -> list[tuple[str, str, str]]:
        return [
            (kind.device, kind.precision, kind.data_dir)
            for kind in Machine(data_dir="here", **options).kinds()
        ]

    assert kinds(device="cuda:1", precision="fp32") == [("cuda:1", "fp32", "here")]
    assert kinds(device="cpu") == [("cpu", "bf16", "here"), ("cpu", "fp32", "here")]
    assert kinds(precision="bf16") == [(device, "bf16", "here") for device in ("cpu", "cuda", "mps")]
    found = kinds()
    assert len(set(found)) == len(found) == 6
    assert not {"auto"} & {part for kind in found for part in kind}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda config: replace(config.recipe, ipc=0),
            "images per class must lie between 1 and 1000000, not 0",
        ),
        (lambda config: replace(config.recipe, validation=1.0), r"validation must lie in \[0, 1\), not 1.0"),
        (
            lambda config: replace(config.recipe, validation=-0.1),
            r"validation must lie in \[0, 1\), not -0.1",
        ),
        (
            lambda config: replace(config.recipe, targets=config.recipe.regularizers),
            "'smooth' is named both as a target and as a regularizer",
        ),
        (
            lambda config: replace(config.evaluation, students=-1),
            "students must lie between 0 and 10000, not -1",
        ),
        (
            lambda config: Machine(precision="half"),  # type: ignore[arg-type]
            "precision must be one of auto, bf16, fp32, not 'half'",
        ),
    ],
)
def test_values_that_a_group_refuses(make: Callable[[RunConfig], Any], message: str, knobs: Any) -> None:
    with pytest.raises(ValueError, match=message):
        make(knobs.config)


def test_a_checkpoint_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    for name, content in (("a", b"weights"), ("b", b"weights"), ("c", b"others")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (by_content(Teacher(checkpoint=str(tmp_path / name))) for name in "abc")
    assert a == b != c
    assert len(a.checkpoint) == 32
    for teacher in (Teacher(), Teacher(checkpoint=str(tmp_path / "gone"))):
        assert by_content(teacher) == teacher
    (tmp_path / "a").write_bytes(b"changed since")
    assert by_content(Teacher(checkpoint=str(tmp_path / "a"))) != b


def test_a_network_in_a_folder_is_known_by_its_content_and_shown_without_its_place(
    tmp_path: Path, knobs: Any
) -> None:
    for name, content in (("a", b"weights"), ("b", b"weights"), ("c", b"others")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    uses = [Use(name=f"timm:local-dir:{tmp_path / name}") for name in ("a", "b", "c", "gone")]
    a, b, c, gone = (by_content(Teacher(model=use)) for use in uses)
    assert a == b != c
    assert gone == Teacher(model=uses[3])
    config = knobs.config
    recipe = replace(
        config.recipe,
        teacher=replace(config.recipe.teacher, model=uses[0]),
        recover=replace(config.recipe.recover, network=uses[1]),
    )
    evaluation = replace(config.evaluation, student=Student(model=uses[2]))
    shown = public_settings(recipe, evaluation)
    assert str(tmp_path) not in str(shown)
    assert shown["recipe"]["teacher"]["model"]["name"] == "timm:local-dir:a"
    assert shown["evaluation"]["student"]["model"]["name"] == "timm:local-dir:c"
