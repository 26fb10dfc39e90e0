"""From names and settings to a configuration: who wins over whom, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from condense.engine.catalog import NoiseOptions
from condense.errors import OptionError, UnknownNameError
from condense.recipe.config import network_like
from condense.recipe.method import Method, Recover, Teacher, Use
from condense.recipe.presets import OWN_OPTIONS
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure


def teacher_on(toys: Registry, dataset: str, *settings: tuple[str, Any]) -> tuple[int, float, int]:
    teacher = configure(toys, method="toy", dataset=dataset, settings=settings).recipe.teacher
    return teacher.epochs, teacher.lr, teacher.batch_size


def test_the_method_then_the_dataset_then_the_preset_then_the_user(toys: Registry) -> None:
    assert teacher_on(toys, "plain") == (1, 0.1, 11)
    assert teacher_on(toys, "common") == (2, 0.2, 22)
    assert teacher_on(toys, "special:somewhere") == (2, 0.3, 33)
    assert teacher_on(toys, "special:somewhere", ("teacher.batch_size", "44")) == (2, 0.3, 44)


def test_a_preset_for_a_kind_of_images_wins_over_the_dataset_and_loses_to_one_for_its_name(
    toys: Registry,
) -> None:
    assert teacher_on(toys, "colour") == (2, 0.4, 22)
    # Its name has a preset of its own, and its kind sets what the name's does not.
    assert teacher_on(toys, "special:x") == (2, 0.3, 33)
    assert configure(toys, method="toy", dataset="special:x").recipe.teacher.momentum == 0.6


def test_settings_of_a_dataset_win_over_those_for_its_kind(toys: Registry) -> None:
    teacher = configure(toys, method="toy", dataset="grey").recipe.teacher
    assert (teacher.epochs, teacher.batch_size) == (9, 70)
    assert teacher.model == Use(name="convnet", options={"width": 8, "depth": 2, "norm": "batch"})


def test_settings_of_a_dataset_for_a_protocol_win_over_its_others_and_lose_to_the_user(
    toys: Registry,
) -> None:
    def found(**changes: Any) -> tuple[int, int]:
        config = configure(toys, method="toy", dataset="grey", **changes)
        return config.evaluation.protocol.epochs, config.recipe.teacher.model.options["depth"]

    assert found(protocol="fkd") == (12, 1)
    assert found(protocol="fkd", settings={"protocol.epochs": 5}) == (5, 1)
    assert found(protocol="dc") == (toys.protocol("dc").epochs, 2)


def test_the_last_of_two_settings_wins(toys: Registry) -> None:
    assert teacher_on(toys, "plain", ("teacher.epochs", 5), ("teacher.epochs", 6))[0] == 6


def test_a_preset_reaches_components(toys: Registry) -> None:
    for dataset, weight in (("special:x", 3.0), ("plain", 2.0)):
        recipe = configure(toys, method="toy", dataset=dataset).recipe
        assert recipe.regularizers["smooth"].weight == weight


def test_the_dataset_keeps_what_the_user_typed(toys: Registry) -> None:
    assert configure(toys, method="toy", dataset="special:a/b").recipe.dataset.name == "special:a/b"


def test_the_protocol_of_the_method_unless_another_is_named(toys: Registry) -> None:
    def protocol(**changes: Any) -> str:
        return configure(toys, method="toy", dataset="plain", **changes).evaluation.protocol.name

    assert protocol() == "dc"
    assert protocol(protocol="fkd") == "fkd"


def test_what_a_preset_says_of_students_is_for_the_protocol_of_the_method(toys: Registry) -> None:
    def batch(**changes: Any) -> int:
        return configure(toys, method="toy", dataset="special:x", **changes).evaluation.protocol.batch_size

    assert batch() == batch(protocol="dc") == 7
    assert batch(protocol="fkd") == toys.protocol("fkd").batch_size
    assert batch(protocol="fkd", settings={"protocol.batch_size": 9}) == 9


def test_the_settings_for_many_images_lose_to_every_preset_and_to_the_user(toys: Registry) -> None:
    def lr(dataset: str, ipc: int, **changes: Any) -> float:
        return configure(toys, method="keeper", dataset=dataset, ipc=ipc, **changes).recipe.recover.lr

    assert [lr("plain", ipc) for ipc in (4, 5, 19, 20)] == [0.25, 0.5, 0.5, 2.0]
    assert [lr("special:x", ipc) for ipc in (4, 5)] == [0.1, 0.1]
    assert [lr("grey", ipc) for ipc in (4, 5)] == [3.0, 3.0]
    assert lr("special:x", 5, settings=[("lr", 7.0)], alone=False) == 7.0
    recipe = configure(toys, method="keeper", dataset="special:x", ipc=20).recipe
    assert (recipe.ipc, recipe.recover.batch) == (20, 10)
    assert recipe.recover.network.options == {"width": 128, "depth": 3, "norm": "batch"}


def test_every_option_of_its_own_reaches_its_group(toys: Registry) -> None:
    own: dict[str, Any] = {
        "seed": 4,
        "validation": 0.25,
        "students": 1,
        "reference": False,
        "device": "cuda:1",
        "precision": "fp32",
        "data_dir": "there",
        "loaders": 3,
        "jpeg_decoder": "cuda",
        "keep_minutes": 2.5,
        "compile": "on",
    }
    config = configure(toys, method="toy", dataset="plain", ipc=3, **own)
    assert (config.recipe.method, config.recipe.dataset.name) == ("toy", "plain")
    assert (config.recipe.ipc, config.recipe.seed, config.recipe.validation) == (3, 4, 0.25)
    assert (config.evaluation.students, config.evaluation.reference) == (1, False)
    machine = config.machine
    assert (machine.device, machine.precision, machine.data_dir) == ("cuda:1", "fp32", "there")
    assert (machine.loaders, machine.jpeg_decoder, machine.keep_minutes) == (3, "cuda", 2.5)
    assert machine.compile == "on"
    assert {*own, "method", "dataset", "ipc", "protocol"} == {key for key in OWN_OPTIONS if "." not in key}


@pytest.mark.parametrize("key", sorted(OWN_OPTIONS))
def test_options_of_their_own_are_not_settings(key: str, toys: Registry) -> None:
    with pytest.raises(OptionError) as caught:
        configure(toys, method="toy", dataset="plain", settings=[(key, "1")])
    option = key.partition(".")[0].replace("_", "-")
    assert str(caught.value) == f"{key!r} is an option of its own (--{option}), not one for --set"


def test_the_users_settings_of_a_dataset_win_over_a_methods_presets(
    make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    method = Method(
        name="preset",
        summary="x",
        recover=Recover(iterations=0),
        presets={"folder": {"dataset.test_share": 0.5, "dataset.size": 16}},
    )
    registry = make_registry(methods=[method])
    settings = [("dataset.test_share", 0.3)]
    config = configure(registry, method="preset", dataset=f"folder:{tmp_path}", settings=settings)
    assert (config.recipe.dataset.options["test_share"], config.recipe.dataset.options["size"]) == (0.3, 16)


# Names that stand for a network chosen elsewhere.


@pytest.mark.parametrize(
    ("protocol", "student", "expected"),
    [
        ("fkd", None, ("resnet18", None)),  # the protocol says: the teacher's
        ("fkd", "teacher", ("resnet18", None)),
        ("fkd", "convnet", ("convnet", 128)),
        ("roomy", None, ("convnet", 64)),  # the protocol's own
        ("roomy", "protocol", ("convnet", 64)),
        ("roomy", "teacher", ("resnet18", None)),
    ],
)
def test_the_network_that_students_really_are(
    protocol: str, student: str | None, expected: tuple[str, int | None], toys: Registry
) -> None:
    settings = [("student.model", student)] if student else []
    config = configure(toys, method="toy", dataset="plain", protocol=protocol, settings=settings)
    found = config.evaluation.student_network(config.recipe.teacher)
    assert (found.name, found.options.get("width")) == expected
    assert (found == config.recipe.teacher.model) is (expected[0] == "resnet18")


def test_the_network_that_stands_for_the_teachers(toys: Registry) -> None:
    settings = [("teacher.model", "convnet")]
    recipe = configure(toys, method="toy", dataset="plain", settings=settings).recipe
    assert recipe.random_network is recipe.teacher.model
    own = Use(name="resnet18")
    assert network_like(own, recipe.teacher) is own


def test_a_network_like_an_ensemble_is_like_its_first_member() -> None:
    teacher = Teacher(model=Use(name="ensemble", options={"members": ("convnet", "resnet18")}))
    assert network_like(Use(name="teacher"), teacher) == Use(name="convnet")


def test_students_like_a_pretrained_teacher_start_afresh(toys: Registry) -> None:
    settings = [("teacher.model", "resnet18"), ("teacher.model.pretrained", True)]
    config = configure(toys, method="toy", dataset="plain", protocol="fkd", settings=settings)
    teacher = config.recipe.teacher
    assert teacher.model.options["pretrained"] is True
    fresh = Use(name="resnet18", options={"stem": "auto", "pretrained": False})
    assert config.evaluation.student_network(teacher) == fresh
    assert config.recipe.random_network == fresh


def test_the_teachers_seed_is_the_runs_unless_it_has_one(toys: Registry) -> None:
    for settings, expected in (([], 5), ([("teacher.seed", 3)], 3), ([("teacher.seed", "0")], 0)):
        config = configure(toys, method="toy", dataset="plain", seed=5, settings=settings)
        assert config.recipe.teacher_seed == expected


def test_options_are_written_out_with_their_defaults(toys: Registry) -> None:
    recipe = configure(toys, method="toy", dataset="plain").recipe
    assert recipe.teacher.model.options == {"stem": "auto", "pretrained": False}
    assert set(recipe.initializer.options) == set(NoiseOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "tyo"}, r"unknown method 'tyo'. Did you mean 'toy'\? There are: keeper, toy"),
        ({"dataset": "plian"}, r"unknown dataset 'plian'. Did you mean 'plain'\?"),
        ({"protocol": "fdk"}, r"unknown protocol 'fdk'. Did you mean 'fkd'\?"),
        (
            {"without": ["smoth"]},
            r"unknown component of toy 'smoth'. Did you mean 'smooth'\? There are: match, smooth",
        ),
        ({"without": ["smooth", "smooth"]}, "unknown component of toy 'smooth'.*There are: match$"),
    ],
)
def test_unknown_names(arguments: dict[str, Any], message: str, toys: Registry) -> None:
    with pytest.raises(UnknownNameError, match=message):
        configure(toys, **{"method": "toy", "dataset": "plain", **arguments})


# Leaving components out.


def test_without_a_regularizer(toys: Registry) -> None:
    recipe = configure(toys, method="toy", dataset="plain", without=["smooth"]).recipe
    assert recipe.regularizers == {}
    assert list(recipe.losses) == ["match"]


def test_without_a_target_another_must_be_there(toys: Registry) -> None:
    with pytest.raises(
        OptionError, match=r"recover takes 10 steps, and no target is left to match.*targets.cross-entropy=1"
    ):
        configure(toys, method="toy", dataset="plain", without=["match"])
    config = configure(
        toys, method="toy", dataset="plain", settings=[("targets.cross-entropy", 1)], without=["match"]
    )
    assert list(config.recipe.targets) == ["cross-entropy"]


def test_without_any_target_nothing_is_recovered(toys: Registry) -> None:
    config = configure(toys, method="toy", dataset="plain", settings=[("iterations", 0)], without=["match"])
    assert config.recipe.targets == {}


def test_iterations_need_something_to_match(toys: Registry) -> None:
    with pytest.raises(OptionError, match="recover takes 5 steps, and no target is left to match"):
        configure(toys, method="keeper", dataset="plain", settings=[("iterations", "5")])
