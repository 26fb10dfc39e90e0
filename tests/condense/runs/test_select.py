"""Students judge the candidates for the images of a run: what is kept, what they see, and going on with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

import condense
from condense.data.dataset import RealDataset, Split
from condense.engine.components import FeatureTarget
from condense.engine.plan import make_plan
from condense.engine.select import Choice, with_held_images
from condense.engine.work import Counts, work_of
from condense.errors import OptionError
from condense.models.observation import Observation
from condense.recipe.method import Method, Recover, Use, Weighted
from condense.recipe.needs import ImagesAlone, Needs
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.selection import Selection
from condense.recipe.specs import FeatureTargetSpec
from condense.storage.tensors import read_tensors

LEVELS = torch.tensor([-1.4, 0.1, 1.6])  # about the brightness of each class of the tiny dataset, normalised


class Towards(FeatureTarget):
    """Draws images to the brightness of a class: their own, or the next one.

    options: how many classes further that class is.
    """

    further = 0

    def __init__(self, options: Any) -> None:
        pass

    def loss(self, synthetic: Observation, real: Observation | None) -> Tensor:
        wanted = LEVELS[(synthetic.batch.labels + self.further) % 3]
        return (synthetic.images - wanted[:, None, None, None]).square().mean()


class Away(Towards):
    """Draws images to the brightness of another class."""

    further = 1


class Unreadable:
    """Images that nobody may read."""

    shape = (1, 8, 8)

    def __len__(self) -> int:
        return 12

    def read(self, indices: Tensor) -> Tensor:
        raise AssertionError("the test images were read")


PLAINLY = Protocol(
    name="plainly",
    epochs=40,
    batch_size=6,
    optimizer="adam",
    lr=0.02,
    weight_decay=0.0,
    model=Use(name="convnet", options={"width": 8, "depth": 2, "norm": "none"}),
)
SELECT = Selection(students=1, epochs=40, snapshots=2)


def method(name: str, initializer: str, **own: Any) -> Method:
    return Method(
        name=f"{name}-from-{initializer}",
        summary="x",
        initializer=Use(name=initializer),
        targets={name: Weighted()},
        recover=Recover(iterations=8, lr=0.5, batch=3, schedule="constant"),
        protocol="plainly",
        **{"select": SELECT, **own},
    )


@pytest.fixture(scope="module")
def dataset(make_dataset: Callable[..., RealDataset]) -> RealDataset:
    tiny = make_dataset((10, 11, 12), tests=4)
    return replace(tiny, test=Split(Unreadable(), tiny.test.labels))


MakeRegistry = Callable[..., Registry]


def offering(dataset: RealDataset, make_registry: MakeRegistry) -> Registry:
    alone = Needs(through=ImagesAlone())
    return make_registry(
        dataset,
        feature_targets=[
            FeatureTargetSpec(name="towards", summary="x", build=Towards, needs=alone),
            FeatureTargetSpec(name="away", summary="x", build=Away, needs=alone),
        ],
        protocols=[PLAINLY],
        methods=[
            method("towards", "noise"),
            method("away", "real"),
            method("away", "noise", select=Selection()),
        ],
    )


@pytest.fixture(scope="module")
def registry(dataset: RealDataset, make_registry: MakeRegistry) -> Registry:
    return offering(dataset, make_registry)


@pytest.fixture(scope="module")
def readable(make_dataset: Callable[..., RealDataset], make_registry: MakeRegistry) -> Registry:
    """The same with test images that students may read."""
    return offering(make_dataset((10, 11, 12), tests=4), make_registry)


def run(site: Any, method: str, name: str = "one", **options: Any) -> Any:
    """A run without students, which the test images would be for."""
    settings = options.pop("settings", {})
    usual = {"dataset": "tiny", "ipc": 2, "students": 0, "device": "cpu", "out": site.out, "name": name}
    usual["registry"] = site.registry
    return condense.run(method=method, settings=settings, **{**usual, **options})


def images_of(result: Any, file: str, name: str = "images") -> Tensor:
    found: Tensor = read_tensors(result.path / file)[0][name]
    return found


def recovered(result: Any, name: str) -> Tensor:
    """The images of all chunks; each has one class here."""
    return torch.cat([images_of(result, f"chunks/{index:05d}.safetensors", name) for index in range(3)])


def test_recovery_that_makes_images_better_is_kept(site: Any) -> None:
    result = run(site, "towards-from-noise")
    choice = result.choice
    assert [(found.start, found.after) for found in choice.judged] == [
        ("noise", 0),
        ("noise", 4),
        ("noise", 8),
    ]
    assert choice.kept.after > 0
    assert choice.kept.mean > choice.judged[0].mean
    name = "images" if choice.kept.after == 8 else "after-4"
    assert torch.equal(result.distilled.images, recovered(result, name))
    assert result.distilled.origin == "synthetic"
    saved = site.saved(result.path)
    for kept in (saved["stages"]["select"]["choice"], saved["outcome"]["choice"]):
        assert msgspec.convert(kept, Choice) == choice
    assert "How the images were chosen" in result.report.read_text()


def test_recovery_that_makes_images_worse_is_not_kept(site: Any) -> None:
    """Its students never read the test images, which raise when they are read."""
    diary = site.diary()
    result = run(site, "away-from-real", reporter=diary)
    choice = result.choice
    assert (choice.kept.start, choice.kept.after) == ("real", 0)
    assert choice.kept.mean > max(found.mean for found in choice.judged[1:])
    assert choice.images == 33
    real = run(site, "random", "random").distilled
    assert torch.equal(result.distilled.images, real.images)
    assert result.distilled.origin == real.origin == "real"
    card = (result.path / "distilled" / "README.md").read_text()
    assert "6 real images from the training images of `tiny`" in card
    assert "synthetic" not in card
    [line] = [event for event in diary.events if event.startswith("note select")]
    first = choice.judged[0].mean
    assert line.startswith(f"note select: start real {first:.1%}; step 4 ")
    assert line.endswith("; kept the start real, without recovery")


def test_where_real_images_are_kept_their_students_are_those_of_the_reference(
    site: Any, readable: Registry
) -> None:
    """They would learn the same, as the runs show in which one of the two is trained alone."""
    usual = {"registry": readable, "students": 2}
    diary = site.diary()
    both = run(site, "away-from-real", reporter=diary, **usual)
    assert both.choice.kept.after == 0
    assert sum(event.startswith("note the images are the random real ones") for event in diary.events) == 1
    own, reference = both.scores
    assert [found.accuracy for found in own.students] == [found.accuracy for found in reference.students]
    alone = run(site, "away-from-real", "alone", reference=False, **usual)
    real = run(site, "random", "real", protocol="plainly", **usual)
    for other in (alone, real):
        assert [found.accuracy for found in other.scores[0].students] == [
            found.accuracy for found in own.students
        ]


def test_other_images_have_students_of_their_own(site: Any, readable: Registry) -> None:
    diary = site.diary()
    both = run(site, "towards-from-noise", reporter=diary, registry=readable, students=1)
    assert both.choice.kept.after > 0
    assert not any("random real ones" in event for event in diary.events)
    files = sorted((both.path / "students").glob("*.json"))
    assert len(files) == 2 and files[0].read_bytes() != files[1].read_bytes()


def test_the_best_of_several_starts_is_recovered_from(site: Any) -> None:
    result = run(
        site, "towards-from-noise", settings={"select.starts": "noise,real", "select.snapshots": "0"}
    )
    choice = result.choice
    assert [(found.start, found.after) for found in choice.judged] == [("noise", 0), ("real", 0)]
    assert choice.judged[1].mean > choice.judged[0].mean
    assert (choice.kept.start, choice.kept.after, choice.kept.accuracies) == ("real", 8, ())
    plain = run(site, "towards-from-noise", "plain", settings={"select.students": 0, "initializer": "real"})
    assert torch.equal(result.distilled.images, plain.distilled.images)
    assert [line["detail"] for line in site.metrics(result.path, "select")][::40] == [
        "student 0 on the start noise",
        "student 0 on the start real",
    ]


def test_without_students_nothing_is_judged_and_no_byte_changes(site: Any) -> None:
    """The end of a recovery that is judged has the bytes of one that is not."""
    judged = run(site, "away-from-real")
    plain = run(site, "away-from-noise", "plain", settings={"initializer": "real"})
    assert plain.choice is None
    assert not (plain.path / "candidates").exists()
    assert read_tensors(plain.path / "chunks/00000.safetensors")[0].keys() == {"images"}
    assert torch.equal(recovered(judged, "images"), recovered(plain, "images"))
    assert torch.equal(plain.distilled.images, recovered(plain, "images"))
    assert not {"select", "judge"} & plain.distilled.settings["recipe"].keys()


@pytest.mark.parametrize("cut", ["on the start real", "chunk 1", "real after 4", "real after 8"])
def test_an_interrupted_selection_goes_on_to_the_same_end(site: Any, cut: str) -> None:
    more = {"select.students": 2, "select.epochs": 3}
    whole_diary = site.diary()
    whole = run(site, "away-from-real", "whole", settings=more, reporter=whole_diary)
    events = {
        "on the start real": ("advance select: 2 students on the start real", 4),
        "chunk 1": ("advance recover", 11),
        "real after 4": ("advance select: 2 students on real after 4 steps", 1),
        "real after 8": ("advance select: 2 students on real after 8 steps", 4),
    }
    text, number = events[cut]
    at = [index for index, event in enumerate(whole_diary.events) if event.startswith(text)][number]
    with pytest.raises(site.Stopped):
        run(site, "away-from-real", "cut", settings=more, reporter=site.diary(stop=at))

    def pieces() -> dict[str, int]:
        below = [*(site.out / "cut" / "candidates").glob("*"), *(site.out / "cut" / "chunks").glob("*")]
        return {str(file): file.stat().st_mtime_ns for file in below}

    before = pieces()
    assert before
    again = run(site, "away-from-real", "cut", settings=more, resume=True)
    assert {file: pieces()[file] for file in before} == before
    assert site.tree(again.path / "distilled") == site.tree(whole.path / "distilled")
    assert again.choice == whole.choice


def test_starts_through_a_mosaic_are_stored_like_initial_images(
    site: Any, make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]
) -> None:
    """Medoids need the teacher and the atoms of the barycenter; both starts are packed."""
    site.registry = make_registry(make_dataset((20, 21, 22), size=12))
    settings = {
        "iterations": 3,
        "protocol.epochs": 2,
        "parametrization": "mosaic",
        "initializer": "real",
        "select.students": 1,
        "select.epochs": 2,
        "select.starts": ("real", "medoids"),
        "select.images": 9,
    }
    result = run(site, "wmdd", settings=settings)
    names = [(found.start, found.after) for found in result.choice.judged]
    assert names[:2] == [("real", 0), ("medoids", 0)]
    assert [after for _, after in names[2:]] == [1, 3]
    assert result.choice.images == 9
    for name in ("real", "medoids"):
        plain = {"iterations": 0, "parametrization": "mosaic", "initializer": name}
        packed = run(site, "wmdd", name, settings=plain)
        assert torch.equal(images_of(result, f"candidates/{name}.safetensors"), packed.distilled.images)
        assert torch.equal(
            images_of(result, f"candidates/{name}.safetensors", "weights").flatten(), packed.distilled.weights
        )


def test_held_images_are_training_images_equally_many_of_each_class(
    dataset: RealDataset, registry: Registry
) -> None:
    recipe = configure(
        registry, method="away-from-real", dataset="tiny", settings={"select.images": 13}
    ).recipe
    held = with_held_images(dataset, recipe)
    assert torch.bincount(held.test.labels).tolist() == [4, 4, 4]
    train = dataset.train.images.read(torch.arange(len(dataset.train)))
    for pixels, label in zip(held.test.images.read(torch.arange(12)), held.test.labels, strict=True):
        where = (train == pixels).flatten(1).all(dim=1).nonzero()[:, 0]
        assert label in dataset.train.labels[where]
    again = with_held_images(dataset, replace(recipe, seed=1))
    assert not torch.equal(again.test.images.read(torch.arange(12)), held.test.images.read(torch.arange(12)))


def test_the_work_by_hand(registry: Registry) -> None:
    """2 students; candidates are 2 starts and 2 states; 6 images in batches of 6 make one step an epoch."""
    settings = {"select.students": 2, "select.epochs": 5, "select.images": 7, "select.starts": "noise"}
    config = configure(
        registry, method="away-from-real", dataset="tiny", ipc=2, students=0, settings=settings
    )
    counts = Counts(classes=3, train=33, test=12, side=8, channels=1, in_memory=True)
    plan = make_plan(config, registry)
    found = {part.step: part for part in work_of(plan, counts) if part.stage == "select"}
    assert (found["train"].steps, found["train"].forward, found["train"].backward) == (40, 240, 240)
    assert (found["test"].images, found["test"].forward) == (48, 48)
    assert found["choose"].steps == 6
    text = dict(plan.stages())["select"]
    assert text == (
        "starts (real, noise), and recovery after 4, 8 steps: each judged by 2 students x up to 5 epochs by plainly, "
        "hard labels"
    )
    estimate = condense.plan(
        method="away-from-real",
        dataset="tiny",
        ipc=2,
        students=0,
        settings=settings,
        registry=registry,
        device="cpu",
        throughput="forward=100,backward=50",
    )
    assert estimate.price.seconds["select"] > 0
    assert estimate.price.disk["candidates"] == 3 * 2 * 64 * 3


def test_the_line_of_many_states_and_one_image_is_short(registry: Registry) -> None:
    settings = {"select.students": 2, "select.snapshots": 5000}
    config = configure(
        registry, method="away-from-real", dataset="tiny", ipc=1, students=0, settings=settings
    )
    text = dict(make_plan(config, registry).stages())
    assert "recovery after 1, 2, 3, 4, ..., 8 steps: " in text["select"]
    assert text["recover"] == "8 iterations a chunk, 1 image per class"


def test_many_images_have_students_of_fewer_epochs(registry: Registry) -> None:
    settings = {"select.epochs": 50, "select.steps": 20}
    for ipc, epochs in ((2, 20), (4, 10), (10, 4)):  # 1, 2 and 5 steps an epoch
        config = configure(
            registry, method="away-from-real", dataset="tiny", ipc=ipc, students=0, settings=settings
        )
        counts = Counts(classes=3, train=33, test=12, side=8, channels=1, in_memory=True)
        [trained] = [
            part
            for part in work_of(make_plan(config, registry), counts)
            if (part.stage, part.step) == ("select", "train")
        ]
        assert trained.forward == 3 * epochs * 3 * ipc


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"select.students": -1}, "students must be 0 or more, not -1"),
        ({"select.images": -1}, "images must be 0 or more, not -1"),
        ({"select.steps": -1}, "steps must be 0 or more, not -1"),
        ({"select.snapshots": -1}, "snapshots must be 0 or more, not -1"),
        ({"select.epochs": 0}, "epochs must be at least 1, not 0"),
        ({"select.starts": "noise,noise"}, "names each initializer at most once"),
        ({"select.starts": "imported"}, "'imported' images lie elsewhere"),
        ({"select.starts": "nois"}, "nois"),
        ({"select.snapshots": 0}, "the images of 'real' are the only candidate"),
        ({"iterations": 0}, "the images of 'real' are the only candidate"),
        (
            {"select.students": 0, "select.epochs": 3},
            "select.epochs has no effect, because select.students is 0",
        ),
        ({"select.students": 0, "judge.lr": 0.1}, "judge.lr has no effect without select.students=N"),
        ({"judge.epochs": 3}, "judge.epochs cannot be set: the students that judge have select.epochs"),
        ({"judge.name": "x"}, "judge.name cannot be set"),
        ({"judge.labels": "harder"}, "must be one of hard, soft, online"),
    ],
)
def test_what_cannot_be_chosen_is_refused(registry: Registry, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(condense.CondenseError, match=text):
        make_plan(configure(registry, method="away-from-real", dataset="tiny", settings=settings), registry)


def test_a_plan_without_a_judge_is_refused(registry: Registry) -> None:
    config = configure(registry, method="away-from-real", dataset="tiny")
    with pytest.raises(OptionError, match=r"select\.students needs a protocol"):
        make_plan(replace(config, recipe=replace(config.recipe, judge=None)), registry)


def test_names_of_starts_are_a_tuple() -> None:
    with pytest.raises(ValueError, match="starts must be a list of texts"):
        Selection(starts="real")  # type: ignore[arg-type]


def test_the_judge_is_the_methods_protocol_whatever_students_are_evaluated_by(registry: Registry) -> None:
    usual: dict[str, Any] = {"method": "away-from-real", "dataset": "tiny"}
    one, other = (configure(registry, **usual, protocol=name) for name in ("plainly", "dc"))
    assert one.recipe == other.recipe
    assert one.recipe.judge is not None
    assert (one.recipe.judge.name, one.recipe.judge.epochs) == ("plainly", 40)
    changed = configure(registry, **usual, settings={"judge.lr": 0.5, "protocol.lr": 0.25})
    assert changed.recipe.judge is not None
    assert (changed.recipe.judge.lr, changed.evaluation.protocol.lr) == (0.5, 0.25)
    assert changed.recipe.hash != one.recipe.hash
