"""What a configuration makes necessary: which stages run, and what is said of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from condense.data.dataset import RealDataset
from condense.engine.plan import Plan, make_plan
from condense.errors import OptionError, PluginError
from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.needs import (
    ImagesAlone,
    Needs,
    ThroughPool,
    ThroughRandomNetwork,
    ThroughTeacher,
    ThroughWeightGradients,
)
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import FeatureTargetSpec, InitializerSpec, NoOptions, RegularizerSpec


def never(options: Any) -> Any:
    raise AssertionError("a plan builds nothing")


@dataclass(frozen=True, kw_only=True)
class Reach:
    """exact: whether float32 is needed. real: real images of each class."""

    exact: bool = False
    real: int = 2


def computed(options: Reach) -> Needs:
    return Needs(through=ThroughRandomNetwork(), real_per_class=options.real, float32=options.exact)


def target(name: str, needs: Any, options: type = NoOptions) -> FeatureTargetSpec:
    return FeatureTargetSpec(name=name, summary="x", build=never, needs=needs, options=options)


TARGETS = [
    target("fresh", Needs(through=ThroughRandomNetwork())),
    target("whole", Needs(at_once="whole classes")),
    target("single", Needs(at_once="one class")),
    target("gradients", Needs(through=ThroughWeightGradients())),
    target("pooled", Needs(through=ThroughPool())),
    target("alone", Needs(through=ImagesAlone())),
    target("watching", Needs(through=ThroughTeacher(observes=True))),
    target("reaching", computed, Reach),
    target("odd", lambda options: "everything"),
]
METHODS = [
    Method(
        name=spec.name,
        summary="x",
        targets={spec.name: Weighted()},
        recover=Recover(iterations=3),
        protocol="dc",
    )
    for spec in TARGETS
]


def initializer(name: str, **needs: bool) -> InitializerSpec:
    return InitializerSpec(name=name, summary="x", build=never, **needs)


@pytest.fixture
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(
        make_dataset(),
        feature_targets=TARGETS,
        regularizers=[RegularizerSpec(name="beside", summary="x", build=never)],
        initializers=[initializer("asking", needs_teacher=True), initializer("reader", uses_targets=True)],
        methods=METHODS,
    )


def plan(registry: Registry, method: str, **changes: Any) -> Plan:
    changes = {"dataset": "tiny", "students": 1, "settings": [], "alone": False, **changes}
    return make_plan(configure(registry, method=method, **changes), registry)


def names(found: Plan) -> list[str]:
    return [loss.name for loss in found.losses]


KEPT = {"protocol": "dc"}
SOFT = {"settings": [("protocol.labels", "soft")]}
CASES = [
    # method, changes, needs a teacher, measures, compares with random images
    ("wmdd", {}, True, True, True),
    ("wmdd", {"protocol": "dc", "students": 0}, True, True, False),
    ("wmdd", {"settings": [("iterations", 0)], "protocol": "dc"}, False, False, True),
    (
        "wmdd",
        {"settings": [("iterations", 0), ("initializer", "real")], "protocol": "dc"},
        False,
        False,
        False,
    ),
    ("wmdd", {"without": ["barycenter", "class-batchnorm"]}, True, False, True),
    ("wmdd", {"reference": False}, True, True, False),
    ("random", {}, True, False, False),
    # Several real images in one are something else than the reference.
    ("random", {"settings": [("parametrization", "mosaic")]}, True, False, True),
    ("random", {"protocol": "dc"}, False, False, False),
    ("random", {"students": 0}, False, False, False),
    ("random", {"protocol": "dc", "settings": [("initializer", "asking")]}, True, False, True),
    ("random", {"protocol": "dc", **SOFT}, True, False, False),
    # Soft labels are made before any student is trained, and online ones while students are trained.
    ("random", {"protocol": "dc", "students": 0, **SOFT}, True, False, False),
    ("random", {"protocol": "fkd", "students": 0}, False, False, False),
    ("fresh", {}, False, False, True),
    ("fresh", {"protocol": "fkd"}, True, False, True),
    ("gradients", {}, False, False, True),
    ("alone", {}, False, False, True),
    ("whole", {}, True, False, True),
    ("watching", {}, True, True, True),
    # An initializer that reads the targets has them fitted, so there is a teacher to fit them by.
    ("wmdd", {**KEPT, "settings": [("iterations", 0), ("initializer", "reader")]}, True, True, True),
    ("random", {**KEPT, "settings": [("initializer", "reader")]}, False, False, True),
]


@pytest.mark.parametrize(("method", "changes", "teacher", "measures", "reference"), CASES)
def test_stages_that_a_configuration_needs(
    method: str, changes: dict[str, Any], teacher: bool, measures: bool, reference: bool, registry: Registry
) -> None:
    found = plan(registry, method, **changes)
    assert (found.needs_teacher, found.measures, found.reference) == (teacher, measures, reference)
    said = dict(found.stages())
    assert list(said) == ["squeeze", "measure", "recover", "relabel", "evaluate"]
    assert said["squeeze"].startswith("skipped") is not teacher
    assert said["measure"].startswith("skipped") is not measures
    assert said["recover"].startswith("keep") is not bool(found.recipe.recover.iterations)
    assert ("random real images" in said["evaluate"]) is reference
    assert said["evaluate"].startswith("skipped") is (changes.get("students") == 0)


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("hard", "nothing to do: labels are hard"),
        ("soft", "the teacher's logits of every image"),
        ("online", "nothing to do: labels are online"),
    ],
)
def test_what_is_said_of_labels(mode: str, said: str, registry: Registry) -> None:
    found = plan(registry, "random", settings=[("protocol.labels", mode)])
    assert dict(found.stages())["relabel"] == said


def test_losses_are_targets_then_regularizers_with_their_weights(registry: Registry) -> None:
    found = plan(registry, "wmdd", settings=[("regularizers.class-batchnorm", 3)])
    assert [(loss.name, loss.kind, loss.weight) for loss in found.losses] == [
        ("barycenter", "feature target", 1.0),
        ("cross-entropy", "feature target", 1.0),
        ("class-batchnorm", "regularizer", 3.0),
    ]
    for loss in found.losses:
        assert loss.spec is registry.find(loss.kind, loss.name)
        assert isinstance(loss.options, loss.spec.options)
        assert loss.needs == loss.spec.needs_of(loss.options)


def test_needs_are_computed_from_the_options(registry: Registry) -> None:
    def needs(*settings: tuple[str, Any]) -> Needs:
        [loss] = plan(registry, "reaching", settings=settings).losses
        return loss.needs

    random = ThroughRandomNetwork()
    assert needs() == Needs(through=random, real_per_class=2)
    assert needs(("targets.reaching.real", 7)) == Needs(through=random, real_per_class=7)
    exact = needs(("targets.reaching.real", 0), ("targets.reaching.exact", True))
    assert exact == Needs(through=random, float32=True)


def test_needs_that_are_none_are_the_plugins_mistake(registry: Registry) -> None:
    with pytest.raises(PluginError) as caught:
        plan(registry, "odd")
    assert str(caught.value) == "the needs of 'odd' must be a condense.Needs, not 'everything'"


def test_needs_that_make_no_sense_cannot_be_written_down() -> None:
    """Real images are shown through a trained teacher alone; weights that take gradients are a random network's."""
    nonsense: list[tuple[type, str, Any]] = [
        (ThroughRandomNetwork, "observes", True),
        (ThroughWeightGradients, "observes", True),
        (ImagesAlone, "observes", True),
        (ThroughWeightGradients, "statistics", ("batchnorm",)),
        (ThroughWeightGradients, "statistics", ("convolutions",)),
        (ImagesAlone, "statistics", ("batchnorm",)),
        (ThroughTeacher, "weight_gradients", True),
    ]
    for through, name, value in nonsense:
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            through(**{name: value})
    gradients = Needs(through=ThroughWeightGradients())
    assert (gradients.network, gradients.weight_gradients, gradients.statistics) == ("random", True, ())
    assert not gradients.observes


def test_nothing_is_planned_that_is_not_used(registry: Registry) -> None:
    """Without steps there are no regularizers, and targets only for an initializer that reads them."""
    kept = [("iterations", 0)]
    assert plan(registry, "wmdd", settings=kept).losses == ()
    found = plan(registry, "wmdd", settings=[*kept, ("initializer", "reader")])
    assert names(found) == ["barycenter", "cross-entropy"]
    moving = plan(registry, "wmdd", settings=[("initializer", "reader")])
    assert names(moving) == ["barycenter", "cross-entropy", "class-batchnorm"]
    assert moving.initializer is registry.find("initializer", "reader")


@pytest.mark.parametrize("chunk", ["slots", "one-slot"])
@pytest.mark.parametrize("method", ["whole", "single"])
def test_chunks_of_slots_tear_classes_apart(method: str, chunk: str, registry: Registry) -> None:
    slots = ("chunk", chunk)
    with pytest.raises(OptionError) as caught:
        plan(registry, method, settings=[slots])
    assert str(caught.value) == (
        f"recover.chunk={chunk}: '{method}' needs all images of a class at once; use recover.chunk=classes, or leave "
        f"it out with --without {method}"
    )
    assert plan(registry, method).losses
    assert plan(registry, "fresh", settings=[slots]).losses
    # If no step is taken, no loss is asked for.
    reading = [slots, ("iterations", 0), ("initializer", "reader")]
    assert names(plan(registry, method, settings=reading)) == [method]


def test_a_loss_that_sees_classes_alone_says_what_it_does_to_others(registry: Registry) -> None:
    added = [("regularizers.beside", 1), ("targets.fresh", 1)]
    assert plan(registry, "single").notes == plan(registry, "wmdd").notes == ()
    assert plan(registry, "single", settings=added[:1]).notes == (
        "single has every step done one class at a time, so that beside sees one class at a time as well",
    )
    assert plan(registry, "single", settings=added).notes == (
        "single has every step done one class at a time, so that fresh, beside see one class at a time as well",
    )


@pytest.mark.parametrize(
    ("mode", "side", "kind"),
    [("L", 28, "small grey images"), ("RGB", 28, "small colour images"), ("RGB", 200, "photographs")],
)
def test_a_kind_of_images_that_was_found_is_said(
    mode: str, side: int, kind: str, tmp_path: Path, registry: Registry
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new(mode, (side, side)).save(tmp_path / name / "1.png")
    assert plan(registry, "random", dataset=f"folder:{tmp_path}").notes == (
        f"settings for {kind} are used; --set dataset.like=KIND chooses those for another kind",
    )
    assert plan(registry, "random", dataset="fashion-mini").notes == ()


def test_wmdds_statistics_of_a_class_need_all_of_it_and_its_barycenter_does_not(registry: Registry) -> None:
    slots = [("chunk", "slots")]
    for without in ([], ["barycenter"]):
        with pytest.raises(OptionError, match="'class-batchnorm' needs all images of a class at once"):
            plan(registry, "wmdd", settings=slots, without=without)
    found = plan(registry, "wmdd", settings=slots, without=["class-batchnorm"])
    assert names(found) == ["barycenter", "cross-entropy"]


def test_a_curriculum_needs_crops(registry: Registry) -> None:
    settings = [("recover.augment.crop_scale", "none"), ("recover.crop_schedule", "linear")]
    with pytest.raises(
        OptionError, match="crop_schedule=linear changes random resized crops, and there are none"
    ):
        plan(registry, "wmdd", settings=settings)
    kept = plan(registry, "wmdd", settings=[*settings, ("recover.iterations", 0)])
    assert kept.recipe.recover.iterations == 0


RANDOM_NETWORKS = [
    ("recover.network", "convnet"),
    ("recover.network_steps", 2),
    ("recover.inner.epochs", 1),
]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            RANDOM_NETWORKS[0],
            "recover.network has no effect: none of barycenter, cross-entropy, class-batchnorm looks through a "
            "random network",
        ),
        (RANDOM_NETWORKS[1], "recover.network_steps has no effect"),
        (RANDOM_NETWORKS[2], "recover.inner.epochs has no effect"),
    ],
)
def test_settings_without_effect_are_refused(
    setting: tuple[str, Any], message: str, registry: Registry
) -> None:
    with pytest.raises(OptionError, match=message):
        plan(registry, "wmdd", settings=[setting])
    kept = plan(registry, "wmdd", settings=[setting, ("recover.iterations", 0)])
    assert kept.recipe.recover.iterations == 0


def test_the_method_may_leave_a_curriculum_of_crops_unused(registry: Registry) -> None:
    """Its start and its length stay where a user does without it; they are refused where a user gives them."""
    recover = Recover(iterations=2, crop_schedule="none", crop_start=0.5, crop_share=0.5)
    config = configure(registry, method="wmdd", dataset="tiny", ipc=1)
    config = replace(config, recipe=replace(config.recipe, recover=recover))
    assert make_plan(config, registry).recipe.recover.crop_start == 0.5
    with pytest.raises(OptionError, match=r"recover\.crop_start has no effect"):
        plan(registry, "wmdd", settings=[("recover.crop_start", 0.5)], alone=True)


def test_the_stage_select_names_the_labels_that_its_students_have(registry: Registry) -> None:
    settings: list[tuple[str, Any]] = [("select.students", 1), ("judge.labels", "hard")]
    for chosen, labels in ((settings[:1], "online"), (settings, "hard")):
        stages = dict(plan(registry, "wmdd", settings=chosen).stages())
        assert stages["select"].endswith(f" by fkd, {labels} labels")


POOL = [
    ("pool.networks", 3),
    ("pool.model", "convnet"),
    ("pool.model", "resnet18"),
    ("pool.draw", "interpolated"),
]


@pytest.mark.parametrize("setting", POOL)
def test_settings_of_a_pool_have_an_effect_on_what_looks_through_one(
    setting: tuple[str, Any], registry: Registry
) -> None:
    assert plan(registry, "pooled", settings=[setting, ("recover.network_steps", 2)]).needs_pool
    with pytest.raises(OptionError, match=f"{setting[0]} has no effect: none of fresh looks through a pool"):
        plan(registry, "fresh", settings=[setting])
    assert not plan(registry, "fresh", settings=[setting, ("iterations", 0)]).needs_pool


def test_a_pool_is_a_stage_where_something_looks_through_it(registry: Registry) -> None:
    settings = [("pool.networks", 3), ("pool.epochs", 8), ("pool.checkpoints", 4)]
    found = plan(registry, "pooled", settings=settings)
    said = dict(found.stages())
    assert list(said) == ["squeeze", "pool", "measure", "recover", "relabel", "evaluate"]
    assert said["pool"] == "train 3 networks (convnet) for 8 epochs, 4 states kept of each"
    assert not found.needs_teacher
    assert not found.measures
    assert "pool" not in dict(plan(registry, "pooled", settings=[("iterations", 0)]).stages())


@pytest.mark.parametrize("setting", RANDOM_NETWORKS)
def test_settings_of_random_networks_have_an_effect_on_what_looks_through_one(
    setting: tuple[str, Any], registry: Registry
) -> None:
    assert plan(registry, "fresh", settings=[setting]).losses
    assert plan(registry, "gradients", settings=[setting]).losses
    with pytest.raises(OptionError, match="has no effect: none of alone looks through a random network"):
        plan(registry, "alone", settings=[setting])
    if setting[0] != "recover.network":
        assert plan(registry, "pooled", settings=[setting]).losses


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from condense.engine.plan import make_plan\n"
        "from condense.recipe.resolve import configure\n"
        "from condense.recipe.registry import load_registry\n"
        "registry = load_registry()\n"
        "for method in [offer.spec.name for offer in registry.offers('method')]:\n"
        "    make_plan(configure(registry, method=method), registry).stages()\n"
        "sys.exit('imported torch' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([("teacher.epochs", 0)], "take convnet as it is built, without training"),
        ([("teacher.checkpoint", "mine.pt")], "load convnet from mine.pt"),
        (
            [("teacher.model", "resnet18"), ("teacher.model.pretrained", True), ("teacher.epochs", 0)],
            "take resnet18 with its pretrained weights, without training",
        ),
    ],
)
def test_what_is_said_of_a_teacher_that_is_not_trained(
    settings: list[tuple[str, Any]], said: str, registry: Registry
) -> None:
    first = [("teacher.model", "convnet")]
    assert dict(plan(registry, "wmdd", settings=[*first, *settings]).stages())["squeeze"] == said


def test_a_method_chooses_how_images_are_stored_and_presets_and_users_change_it(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    packed = Method(
        name="packed",
        summary="x",
        recover=Recover(iterations=0),
        parametrization=Use(name="mosaic"),
        presets={"tiny": {"parametrization.factor": 3}, "plain": {"parametrization": "identity"}},
    )
    registry = make_registry(make_dataset(), methods=[packed])
    for settings, held in (
        ([], 9),
        ([("parametrization.factor", "2")], 4),
        ([("parametrization", "mosaic")], 4),  # with its own defaults
        ([("preset", "plain")], 1),
    ):
        found = plan(registry, "packed", settings=settings, ipc=5)
        assert (found.images_per_stored, found.images_per_class) == (held, 5 * held)
        recover = dict(found.stages())["recover"]
        assert recover == (
            f"keep the initial images (noise), stored as mosaic: each holds {held} images"
            if held > 1
            else "keep the initial images (noise)"
        )
    with pytest.raises(OptionError, match="factor must be at least 1"):
        plan(registry, "packed", settings=[("parametrization.factor", 0)])
