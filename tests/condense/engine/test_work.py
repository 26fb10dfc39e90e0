"""The counted work of a run, by hand and against the code that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.data.dataset import MemoryImages, RealDataset
from condense.data.feed import Feed
from condense.engine.chunks import cut_chunks
from condense.engine.epochs import training_steps
from condense.engine.plan import make_plan
from condense.engine.work import (
    Counts,
    Work,
    chunk_sizes,
    known_counts,
    members_of,
    passes,
    work_of,
)
from condense.recipe.method import Recover, Use
from condense.recipe.registry import Registry, load_registry
from condense.recipe.resolve import configure
from condense.runtime import make_runtime

COUNTS = Counts(classes=3, train=21, test=12, side=8, channels=1, in_memory=True)


@pytest.fixture(scope="module")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset())


def work(registry: Registry, method: str, **changes: Any) -> dict[tuple[str, str], Work]:
    usual: dict[str, Any] = {"dataset": "tiny", "ipc": 2, "students": 2}
    settings = {"protocol.epochs": 5, "protocol.batch_size": 4, **changes.pop("settings", {})}
    config = configure(registry, method=method, **{**usual, "settings": settings, **changes})
    return {(part.stage, part.step): part for part in work_of(make_plan(config, registry), COUNTS)}


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 50),
    st.sampled_from(["classes", "slots", "one-slot"]),
    st.sampled_from([1, 4, 9]),
)
def test_chunks_are_those_that_are_cut(classes: int, ipc: int, batch: int, chunk: Any, held: int) -> None:
    options = Recover(batch=batch, chunk=chunk)
    chunks = cut_chunks(classes, ipc, options, held)
    assert chunk_sizes(classes, ipc, options, held) == [held * len(part) for part in chunks]


@given(st.integers(1, 40), st.integers(1, 12))
def test_steps_are_those_of_the_feed(count: int, batch: int) -> None:
    images = MemoryImages(torch.zeros(count, 1, 2, 2, dtype=torch.uint8))
    labels = torch.zeros(count, dtype=torch.int64)
    feed = Feed(images, labels, size=2, mean=(0.5,), std=(0.5,), runtime=make_runtime("cpu", "fp32"))
    assert training_steps(count, batch) == feed.training_steps(batch)


def test_random_images_with_hard_labels_by_hand(registry: Registry) -> None:
    """6 images, batches of 4: 2 steps an epoch, 5 epochs, 2 students; each is tested on 12 images."""
    found = work(registry, "random", settings={"protocol.labels": "hard"})
    assert set(found) == {("recover", "choose"), ("evaluate", "train"), ("evaluate", "test")}
    trained = found["evaluate", "train"]
    assert (trained.steps, trained.forward, trained.backward) == (20, 60, 60)
    assert (found["evaluate", "test"].forward, found["evaluate", "test"].backward) == (24, 0)
    assert (found["recover", "choose"].steps, found["recover", "choose"].forward) == (3, 0)


def test_wmdd_with_a_teacher_by_hand(registry: Registry) -> None:
    """The teacher: 21 images, batches of 8, 1 epoch. 6 synthetic images in one chunk, 7 steps; labels online."""
    found = work(registry, "wmdd", settings={"iterations": 7})
    squeeze = found["squeeze", "train"]
    assert (squeeze.steps, squeeze.forward, squeeze.backward) == (3, 21, 21)
    assert found["squeeze", "test"].forward == 12
    assert (found["measure", "observe"].forward, found["measure", "observe"].backward) == (21, 0)
    recover = found["recover", "recover"]
    assert (recover.steps, recover.forward, recover.backward) == (7, 42, 42)
    # Students and as many on random images; the teacher answers for every view.
    trained = found["evaluate", "train"]
    assert (trained.steps, trained.forward, trained.backward) == (40, 240, 120)
    assert passes(found.values(), "squeeze") == (33, 21)
    assert passes(found.values())[1] == 21 + 42 + 120


def test_a_mosaic_by_hand(registry: Registry) -> None:
    """6 stored images hold 24; the reference has 6. Batches of 4: 6 and 2 steps an epoch, 5 epochs, 2 students."""
    found = work(registry, "wmdd", settings={"iterations": 7, "parametrization": "mosaic"})
    assert (found["recover", "recover"].steps, found["recover", "recover"].forward) == (7, 7 * 24)
    trained = found["evaluate", "train"]
    assert (trained.steps, trained.backward) == (2 * 5 * (6 + 2), 2 * 5 * (24 + 6))
    assert found["evaluate", "test"].forward == 2 * 2 * 12
    soft = work(registry, "random", settings={"protocol.labels": "soft", "parametrization": "mosaic"})
    assert soft["relabel", "label"].images == 24
    assert soft["recover", "choose"].images == 24


def test_chunks_count_one_by_one(registry: Registry) -> None:
    """Chunks of one class: 3 chunks of 2 images, 7 steps each."""
    recover = work(registry, "wmdd", settings={"iterations": 7, "recover.batch": 2})["recover", "recover"]
    assert (recover.steps, recover.forward) == (21, 42)


def test_real_images_beside_synthetic_ones_pass_too(registry: Registry) -> None:
    """DM shows its loss real images: at most the 7 of each class, 3 classes, at each of 4 steps, forward alone."""
    found = work(registry, "dm", settings={"iterations": 4}, reference=False)
    recover = found["recover", "recover"]
    assert (recover.forward, recover.backward, recover.images) == (4 * (6 + 21), 4 * 6, 4 * 21)
    assert ("squeeze", "train") not in found


def test_gradients_of_weights_and_an_inner_training_by_hand(registry: Registry) -> None:
    """DC: both kinds of images pass in both directions, the synthetic ones twice backward; 4 steps on networks that
    last 2 steps are followed by an inner training after steps 1 and 3."""
    settings = {"iterations": 4, "recover.network_steps": 2, "recover.inner.epochs": 3}
    recover = work(registry, "dc", settings=settings)["recover", "recover"]
    inner = 2 * 3 * 6
    assert recover.forward == 4 * (6 + 21) + inner
    assert recover.backward == 4 * (2 * 6 + 21) + inner


def test_steps_of_a_student_that_is_differentiated_through_by_hand(registry: Registry) -> None:
    """Each of 4 steps trains on 6 images for 3 epochs: the student and the teacher forward, and backward once and
    through that again. Then the student sees the synthetic images and all 21 real ones in both directions."""
    settings = {"iterations": 4, "recover.inner.epochs": 3, "recover.networks": 1}
    recover = work(registry, "unrolled", settings=settings)["recover", "recover"]
    inner = 4 * 3 * 6
    assert recover.forward == 4 * (6 + 21) + 2 * inner
    assert recover.backward == 4 * (6 + 21) + 4 * inner
    few = work(
        registry, "unrolled", settings={**settings, "recover.inner.batch_size": 4, "recover.inner_steps": 3}
    )
    assert few["recover", "recover"].forward == 4 * (6 + 21) + 2 * 4 * (4 + 2 + 4)  # in batches of 4 and of 2
    recover = work(registry, "unrolled", settings={**settings, "recover.inner_labels": "hard"})[
        "recover", "recover"
    ]
    assert recover.forward == 4 * (6 + 21) + inner
    assert recover.backward == 4 * (6 + 21) + 3 * inner
    settings = {
        **settings,
        "recover.networks": 2,
        "recover.network_steps": 10,
    }  # the second is 5 windows ahead
    recover = work(registry, "unrolled", settings=settings)["recover", "recover"]
    assert recover.forward == 4 * (6 + 21) + 2 * inner + 2 * 5 * 3 * 6
    assert recover.backward == 4 * (6 + 21) + 4 * inner + 5 * 3 * 6
    assert recover.steps == 4 + 1


def test_an_inner_training_on_real_images_by_hand(registry: Registry) -> None:
    """IDC: after steps 1 and 3 of 4, 3 epochs of 5 real images, or of all 21."""
    for images, shown in ((5, 5), (0, 21), (50, 21)):
        settings = {
            "iterations": 4,
            "parametrization": "identity",
            "recover.network_steps": 2,
            "recover.inner.epochs": 3,
            "recover.inner_images": images,
        }
        recover = work(registry, "idc", settings=settings)["recover", "recover"]
        inner = 2 * 3 * shown
        assert recover.forward == 4 * (6 + 21) + inner
        assert recover.backward == 4 * (2 * 6 + 21) + inner
        assert recover.images == 4 * 21 + inner


def test_networks_that_take_turns_learn_until_they_are_replaced(registry: Registry) -> None:
    """Steps 0, 2 | 4, 6 of the first network and 1 | 3, 5 | 7 of the second: learning follows steps 0, 3 and 4."""
    settings = {"iterations": 8, "recover.networks": 2, "recover.network_steps": 2, "recover.inner.epochs": 3}
    settings |= {"parametrization": "identity"}
    recover = work(registry, "feature-regression", settings=settings)["recover", "recover"]
    assert recover.backward == 8 * 6 + 3 * 3 * 6


def test_a_pool_and_two_looks_through_it_by_hand(registry: Registry) -> None:
    """NCFM: 2 networks, 3 epochs of 21 images in batches of 8. At each of 4 steps the synthetic images pass the drawn
    and the trained network, and the real ones the drawn one, forward alone."""
    settings = {"iterations": 4, "pool.networks": 2, "pool.epochs": 3, "pool.batch_size": 8}
    settings |= {"parametrization": "identity"}
    found = work(registry, "ncfm", settings=settings)
    pool = found["pool", "train"]
    assert (pool.steps, pool.forward, pool.backward, pool.images) == (2 * 3 * 3, 126, 126, 126)
    recover = found["recover", "recover"]
    assert (recover.forward, recover.backward) == (4 * (2 * 6 + 21), 4 * 2 * 6)
    assert ("squeeze", "train") not in found


def test_soft_labels_pass_the_teacher_once(registry: Registry) -> None:
    found = work(registry, "random", settings={"protocol.labels": "soft"}, reference=True)
    assert (found["relabel", "label"].forward, found["relabel", "label"].images) == (6, 6)
    assert found["evaluate", "train"].forward == 60


def test_a_loaded_teacher_is_tested_alone_and_members_count(registry: Registry) -> None:
    found = work(registry, "wmdd", settings={"teacher.checkpoint": "a.safetensors", "iterations": 1})
    assert ("squeeze", "train") not in found
    assert found["squeeze", "test"].forward == 12
    members = Use(name="ensemble", options={"members": ("convnet", "resnet18")})
    assert (members_of(members), members_of(Use(name="convnet"))) == (2, 1)


def test_a_teacher_with_a_maximum_of_steps_has_fewer_epochs(registry: Registry) -> None:
    """21 images in batches of 8 are 3 steps an epoch, so 7 steps hold two epochs."""
    settings = {"teacher.epochs": 9, "teacher.batch_size": 8, "teacher.steps": 7, "iterations": 1}
    trained = work(registry, "wmdd", settings=settings)["squeeze", "train"]
    assert (trained.steps, trained.forward) == (6, 42)


def test_no_students_no_evaluation(registry: Registry) -> None:
    assert not [stage for stage, _ in work(registry, "random", students=0) if stage == "evaluate"]


def test_held_out_images_are_tested_instead(make_dataset: Callable[..., RealDataset]) -> None:
    assert COUNTS.held_out(0.0) == COUNTS
    held = COUNTS.held_out(0.3)
    assert (held.train, held.test) == (15, 6)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("fashion-mini", (10, 5000, 1000, 28, 1, True)), ("imagenet-1k", (1000, 1281167, 50000, 224, 3, False))],
)
def test_published_counts_are_known_without_the_images(name: str, counts: tuple[Any, ...]) -> None:
    spec, _ = load_registry().dataset(name)
    found = known_counts(spec, spec.options())
    assert found is not None
    assert (
        found.classes,
        found.train,
        found.test,
        found.side,
        found.channels,
        found.in_memory,
    ) == counts


def test_a_size_that_was_set_is_the_side() -> None:
    spec, _ = load_registry().dataset("imagenette")
    found = known_counts(spec, spec.options(size=64))
    assert found is not None and found.side == 64
    tiny, _ = load_registry().dataset("tiny-imagenet")
    # 100000 images of 3 channels need 1.1 GiB at 64 pixels and 14 GiB at 224, and the limit is 4 GiB.
    for size, fits in ((64, True), (224, False)):
        found = known_counts(tiny, tiny.options(size=size))
        assert found is not None and (found.side, found.in_memory) == (size, fits)
    folder, _ = load_registry().dataset("folder:somewhere")
    assert known_counts(folder, folder.options()) is None


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="counts must be at least 1"):
        Counts(classes=0, train=1, test=1, side=1, channels=1, in_memory=True)


@pytest.mark.parametrize(
    ("views", "times", "text"),
    [(0, 1, "one pass for"), (1, 1, "one pass of views for"), (3, 3, "3 passes of views for")],
)
def test_every_measured_view_is_a_pass(views: int, times: int, text: str, registry: Registry) -> None:
    """21 images in batches of 8."""
    settings = {"iterations": 7, "recover.measured_views": views, "teacher.measure_batch": 8}
    config = configure(registry, method="wmdd", dataset="tiny", ipc=2, settings=settings)
    plan = make_plan(config, registry)
    [observed] = [part for part in work_of(plan, COUNTS) if part.stage == "measure"]
    assert (observed.steps, observed.images, observed.forward) == (3 * times, 21 * times, 21 * times)
    assert dict(plan.stages())["measure"] == f"{text} barycenter, class-batchnorm"
