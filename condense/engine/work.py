"""The work of a run, counted before it starts: how many images pass through which networks. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from condense.engine.epochs import judge_epochs, teacher_epochs, training_steps, unrolled_steps
from condense.engine.labels import LABELS
from condense.engine.plan import Plan
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.method import Pool, Recover, Teacher, Use
from condense.recipe.protocol import Protocol
from condense.recipe.specs import DatasetSpec, InitializerSpec

# "train": a training step. "test": a batch that is classified. "observe": a batch that losses measure. "choose": the
# initial images of one class. "recover": a step on the pixels of a chunk. "label": a batch that the teacher labels.
Step = Literal["train", "test", "observe", "choose", "recover", "label"]
STAGES = ("squeeze", "pool", "measure", "recover", "select", "relabel", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What is known of a dataset before it is loaded.

    classes: how many. train, test: numbers of images.
    side: the side length in pixels that networks see. channels: 1 or 3.
    in_memory: whether all images are kept in memory.

    Raises ValueError for a number below 1.
    """

    classes: int
    train: int
    test: int
    side: int
    channels: int
    in_memory: bool

    def __post_init__(self) -> None:
        if min(self.classes, self.train, self.test, self.side, self.channels) < 1:
            raise ValueError(f"counts must be at least 1, not {self}")

    @property
    def bytes_of_image(self) -> int:
        """The bytes of one image with 8 bits for each channel."""
        return self.channels * self.side**2

    def held_out(self, fraction: float) -> Counts:
        """Return the counts when a fraction of the training images stands in for the test images."""
        if not fraction:
            return self
        per_class = self.train / self.classes
        held = self.classes * max(1, round(fraction * per_class))
        return Counts(
            classes=self.classes,
            train=self.train - held,
            test=held,
            side=self.side,
            channels=self.channels,
            in_memory=self.in_memory,
        )


def known_counts(spec: DatasetSpec, options: object) -> Counts | None:
    """Return the counts that a dataset's spec publishes, or None if the images have to be looked at.

    options: of the dataset; an option `size` above 0 is the side length, and `memory_limit_gib` bounds what is kept
        in memory.
    """
    if not (spec.classes and spec.images[0] and spec.images[1] and spec.side):
        return None
    side = spec.side_of(options)
    channels = 1 if spec.like == "small-grey" else 3
    limit = getattr(options, "memory_limit_gib", math.inf) * 2**30
    return Counts(
        classes=spec.classes,
        train=spec.images[0],
        test=spec.images[1],
        side=side,
        channels=channels,
        in_memory=spec.like in ("small-grey", "small-colour")
        and spec.images[0] * channels * side**2 <= limit,
    )


@dataclass(frozen=True, kw_only=True)
class Work:
    """Equal steps of one stage.

    stage: "squeeze", "pool", "measure", "recover", "select", "relabel" or "evaluate".
    step: what one step is.
    steps: how many steps there are.
    images: how many images are read for them, each as often as it is read.
    forward, backward: how many times an image passes through a network in that direction.
    real: whether the images are real ones, which have to be loaded.
    """

    stage: str
    step: Step
    steps: int
    images: int
    forward: int
    backward: int = 0
    real: bool = False

    def times(self, count: int) -> Work:
        """Return `count` times this work."""
        return Work(
            stage=self.stage,
            step=self.step,
            steps=self.steps * count,
            images=self.images * count,
            forward=self.forward * count,
            backward=self.backward * count,
            real=self.real,
        )


def work_of(plan: Plan, counts: Counts) -> tuple[Work, ...]:
    """Return the work of a run on a dataset of these counts, stage by stage. Only what has to be done is there."""
    recipe, evaluation = plan.recipe, plan.evaluation
    counts = counts.held_out(recipe.validation)
    parts = [*squeeze_work(recipe.teacher, counts)] if plan.needs_teacher else []
    parts += distil_work(plan, counts)
    judged = [plan.images_per_class, *([recipe.ipc] if plan.reference else [])]
    parts += student_work(evaluation, recipe, counts, judged=judged)
    return tuple(part for part in parts if part.steps)


def squeeze_work(teacher: Teacher, counts: Counts) -> list[Work]:
    """Return the training of a teacher, unless it is loaded, and its test."""
    members = members_of(teacher.model)
    epochs = 0 if teacher.checkpoint else teacher_epochs(teacher, counts.train)
    shown = epochs * counts.train * members
    trained = Work(
        stage="squeeze",
        step="train",
        steps=epochs * members * training_steps(counts.train, teacher.batch_size),
        images=shown,
        forward=shown,
        backward=shown,
        real=True,
    )
    return [trained, _test("squeeze", counts.test, members)]


def pool_work(pool: Pool, counts: Counts) -> Work:
    """Return the training of a pool's networks."""
    epochs = pool.epochs * pool.networks
    shown = epochs * counts.train
    steps = epochs * training_steps(counts.train, pool.batch_size)
    return Work(
        stage="pool", step="train", steps=steps, images=shown, forward=shown, backward=shown, real=True
    )


def distil_work(plan: Plan, counts: Counts) -> list[Work]:
    """Return what makes the images: a pool, measure, initial images, recover, select, labels that the teacher makes."""
    recipe = plan.recipe
    members, made = members_of(recipe.teacher.model), counts.classes * plan.images_per_class
    parts = [pool_work(recipe.pool, counts)] if plan.needs_pool else []
    if plan.measures:
        times = max(1, recipe.recover.measured_views)
        shown = times * counts.train
        parts.append(
            Work(
                stage="measure",
                step="observe",
                steps=times * -(-counts.train // recipe.teacher.measure_batch),
                images=shown,
                forward=shown * members,
                real=True,
            )
        )
    parts.append(_choose("recover", (plan.initializer,), plan, counts))
    if recipe.recover.iterations:
        parts.append(_recover(plan, counts))
    if plan.selects:
        parts += select_work(plan, counts)
    if plan.needs_teacher and LABELS[plan.evaluation.protocol.labels].made_by_teacher:
        parts.append(
            Work(stage="relabel", step="label", steps=-(-made // 512), images=made, forward=made * members)
        )
    return parts


def _choose(stage: str, initializers: Sequence[InitializerSpec], plan: Plan, counts: Counts) -> Work:
    """Return the choice of initial images by each of the initializers."""
    looking = sum(spec.needs_teacher for spec in initializers)
    made = counts.classes * plan.images_per_class
    return Work(
        stage=stage,
        step="choose",
        steps=counts.classes * len(initializers),
        images=looking * counts.train + (len(initializers) - looking) * made,
        forward=looking * counts.train * members_of(plan.recipe.teacher.model),
        real=True,
    )


def select_work(plan: Plan, counts: Counts) -> list[Work]:
    """Return the images of every start, and the students that judge candidates on training images."""
    recipe, made = plan.recipe, counts.classes * plan.images_per_class
    select, judge = recipe.select, recipe.judge
    if judge is None:
        return []
    protocol = replace(judge, epochs=judge_epochs(select, judge, made))
    trained = _students("select", protocol, recipe, [made])
    share = max(1, select.images // counts.classes) if select.images else counts.train
    tested = _test("select", min(counts.train, share * counts.classes), 1)
    judging = [part.times(select.students * plan.candidates) for part in (trained, tested)]
    return [_choose("select", plan.initializers, plan, counts), *judging]


def _recover(plan: Plan, counts: Counts) -> Work:
    """Return the steps on pixels.

    Every kind of network passes each image of the chunk once forward and once backward. Gradients of weights take a
    second backward pass, and real images beside the synthetic ones pass once forward, or in both directions for
    gradients of weights. A network that is trained between steps passes the chunk again, or real images, and the
    teacher too if it answers. Steps of a student that are differentiated through take two further backward passes;
    those by which the first students are ahead do not.
    """
    recover, recipe = plan.recipe.recover, plan.recipe
    needs = [loss.needs for loss in plan.losses]
    kinds = {wanted.network for wanted in needs} - {"none"}
    twice = any(wanted.weight_gradients for wanted in needs)
    of_weights = any(wanted.of_weights for wanted in needs)
    unrolled = any(wanted.unrolled for wanted in needs)
    per_class = min(
        max((wanted.real_per_class for wanted in needs), default=0), counts.train // counts.classes
    )
    early = sum(recover.ahead(turn) for turn in range(min(recover.networks, recover.iterations))) * unrolled
    forward = backward = read = steps = 0
    for size in chunk_sizes(counts.classes, recipe.ipc, recover, plan.images_per_stored):
        stored = size // plan.images_per_stored
        classes = -(-stored // recipe.ipc) if recover.chunk == "classes" else min(stored, counts.classes)
        real = per_class * classes
        shown = (
            size
            if recover.inner_on == "synthetic"
            else min(recover.inner_images or counts.train, counts.train)
        )
        inner, ahead = _inner_steps(recover) * recover.inner.epochs * shown, 0
        if unrolled:
            inner, ahead = (windows * _of_a_window(recover, size) for windows in (recover.iterations, early))
        answered = recover.inner_labels == "online"
        forward += recover.iterations * (size * len(kinds) + real) + (inner + ahead) * (1 + answered)
        backward += recover.iterations * (size * len(kinds) * (2 if twice else 1) + real * of_weights)
        backward += (3 + answered) * inner + ahead if unrolled else inner
        read += recover.iterations * real + (inner if recover.inner_on == "real" else 0)
        steps += recover.iterations + early // 3  # a window without a graph takes about a third of the time
    return Work(
        stage="recover",
        step="recover",
        steps=steps,
        images=read,
        forward=forward,
        backward=backward,
        real=True,
    )


def _of_a_window(recover: Recover, size: int) -> int:
    """Return how many images a student that is unrolled learns at once. size: of the chunk."""
    batch = recover.inner.batch_size
    epochs, rest = divmod(unrolled_steps(recover, size), -(-size // batch))
    return epochs * size + min(size, rest * batch)


def _inner_steps(recover: Recover) -> int:
    """Return after how many steps a random network is trained: not before a fresh one, and not after the last step."""
    if not recover.inner.epochs:
        return 0
    lives = 0
    for turn in range(min(recover.networks, recover.iterations)):
        own_steps = -(-(recover.iterations - turn) // recover.networks)
        lives += 1 + (own_steps - 1 + recover.ahead(turn)) // recover.network_steps
    return recover.iterations - lives


def student_work(
    evaluation: Evaluation, recipe: Recipe, counts: Counts, *, judged: Sequence[int]
) -> list[Work]:
    """Return the training and the test of all students.

    judged: how many images per class students train on, for each small dataset that is judged.
    """
    made = [counts.classes * per_class for per_class in judged]
    trained = _students("evaluate", evaluation.protocol, recipe, made)
    tested = _test("evaluate", counts.test, 1).times(len(judged))
    return [part.times(evaluation.students) for part in (trained, tested)]


def _students(stage: str, protocol: Protocol, recipe: Recipe, made: Sequence[int]) -> Work:
    """Return the training of one student on each of several small datasets of these numbers of images."""
    asked = members_of(recipe.teacher.model) if LABELS[protocol.labels].answers else 0
    shown = protocol.epochs * sum(made)
    return Work(
        stage=stage,
        step="train",
        steps=protocol.epochs * sum(training_steps(images, protocol.batch_size) for images in made),
        images=shown,
        forward=shown * (1 + asked),
        backward=shown,
    )


def _test(stage: str, images: int, members: int) -> Work:
    """Return one pass over images that are classified, in batches of 64."""
    batches = -(-images // 64)
    return Work(stage=stage, step="test", steps=batches, images=images, forward=images * members, real=True)


def chunk_sizes(classes: int, ipc: int, recover: Recover, per_stored: int = 1) -> list[int]:
    """Return how many decoded images each chunk has; `condense.engine.chunks.cut_chunks` cuts them.

    per_stored: how many decoded images one stored image holds.
    """
    total = classes * ipc
    batch = stored_batch(recover, per_stored) or total
    one_slot = recover.chunk == "one-slot"
    size = max(1, batch // ipc) * ipc if recover.chunk == "classes" else batch
    whole, rest = divmod(classes if one_slot else total, size)
    parts = [size] * whole + ([rest] if rest else [])
    return [part * per_stored for part in parts] * (ipc if one_slot else 1)


def stored_batch(recover: Recover, per_stored: int) -> int:
    """Return how many stored images a chunk has: as many as hold `recover.batch` images, at least 1; 0 for all."""
    return max(1, recover.batch // per_stored) if recover.batch else 0


def members_of(model: Use) -> int:
    """Return how many networks a network consists of."""
    return len(model.options.get("members", ())) or 1


def passes(parts: Iterable[Work], stage: str | None = None) -> tuple[int, int]:
    """Return how many images pass forward and backward in a stage, or in all of them."""
    chosen = [part for part in parts if stage in (None, part.stage)]
    return sum(part.forward for part in chosen), sum(part.backward for part in chosen)
