"""What a configuration will do: the losses with their needs, and the stages that can be skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from condense.data.kinds import unfetched_note
from condense.engine.labels import LABELS
from condense.engine.planned import PlannedLoss, check_losses, planned_losses
from condense.errors import OptionError
from condense.recipe.config import Evaluation, Recipe, RunConfig
from condense.recipe.method import IDENTITY, IMPORTED
from condense.recipe.needs import POOL_KINDS
from condense.recipe.registry import Registry
from condense.recipe.resolve import kind_of_dataset, preset_note
from condense.recipe.settings import images_per_stored, options_of
from condense.recipe.specs import InitializerSpec, kind_text
from condense.text import counted

REFERENCE_LABEL = "random real images"
_SHOWN = 6  # states of recovery that a line names


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parts of a run and what they require. Nothing is built yet.

    losses: targets, then regularizers. A recipe of 0 iterations has no regularizers, and it has targets only
        if its initializer uses them.
    initializer: the spec of the initializer.
    starts: the specs of the further initializers whose images are candidates.
    images_per_stored: how many decoded images one stored image holds.
    notes: what the user should know.
    """

    recipe: Recipe
    evaluation: Evaluation
    losses: tuple[PlannedLoss, ...]
    initializer: InitializerSpec
    starts: tuple[InitializerSpec, ...]
    images_per_stored: int
    notes: tuple[str, ...]

    @property
    def images_per_class(self) -> int:
        """How many images of a class students train on: decoded ones."""
        return self.recipe.ipc * self.images_per_stored

    @property
    def initializers(self) -> tuple[InitializerSpec, ...]:
        """The initializer, and the further ones whose images are candidates."""
        return (self.initializer, *self.starts)

    @property
    def selects(self) -> bool:
        """Whether students choose the images among candidates."""
        return self.recipe.select.students > 0

    @property
    def judged_after(self) -> tuple[int, ...]:
        """After how many iterations of recovery a state of it is judged, ascending."""
        recipe = self.recipe
        return recipe.select.judged_after(recipe.recover.iterations) if self.selects else ()

    @property
    def candidates(self) -> int:
        """How many candidates are judged."""
        return len(self.initializers) + len(self.judged_after) if self.selects else 0

    @property
    def measures(self) -> bool:
        """Whether a loss observes the real images."""
        return any(loss.needs.observes for loss in self.losses)

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss or an initializer looks through the teacher, or labels come from it."""
        looks = any(loss.needs.network == "teacher" for loss in self.losses)
        labels = LABELS[self.evaluation.protocol.labels].need_teacher(self.evaluation.students)
        judge, students = self.recipe.judge, self.recipe.select.students
        labels |= bool(students and judge and LABELS[judge.labels].need_teacher(students))
        labels |= bool(self.recipe.recover.inner.epochs and self.recipe.recover.inner_labels == "online")
        return looks or labels or any(spec.needs_teacher for spec in self.initializers)

    @property
    def needs_pool(self) -> bool:
        """Whether a loss looks through a pool of networks."""
        return any(loss.needs.network in POOL_KINDS for loss in self.losses)

    @property
    def reference(self) -> bool:
        """Whether students are also trained on the reference, random real images.

        They are not if the method itself only picks random real images, and stores them as they are.
        """
        recipe = self.recipe
        as_they_are = recipe.parametrization.name == IDENTITY
        plain = not recipe.recover.iterations and not self.selects and as_they_are
        is_random = recipe.initializer.name == "real" and plain
        return self.evaluation.reference and self.evaluation.students > 0 and not is_random

    def stages(self) -> list[tuple[str, str]]:
        """Return each stage with a text for people: what it will do, or why it is skipped.

        The stage "pool" is there only if a loss looks through a pool, and "select" only if students choose the images.
        """
        return [
            ("squeeze", self._squeeze()),
            *([("pool", self._pool())] if self.needs_pool else []),
            ("measure", self._measure()),
            ("recover", self._recover()),
            *([("select", self._select())] if self.selects else []),
            ("relabel", LABELS[self.evaluation.protocol.labels].text),
            ("evaluate", self._evaluate()),
        ]

    def _squeeze(self) -> str:
        teacher = self.recipe.teacher
        if not self.needs_teacher:
            return "skipped: no component and no label needs a teacher"
        if teacher.checkpoint:
            return f"load {teacher.model.name} from {teacher.checkpoint}"
        if teacher.epochs == 0:
            how = (
                "with its pretrained weights" if teacher.model.options.get("pretrained") else "as it is built"
            )
            return f"take {teacher.model.name} {how}, without training"
        return f"train {teacher.model.name} for {'up to ' * (teacher.steps > 0)}{teacher.epochs} epochs"

    def _pool(self) -> str:
        pool = self.recipe.pool
        states = f", {pool.checkpoints} states kept of each" if pool.checkpoints > 1 else ""
        networks = f"{counted(pool.networks, 'network')} ({self.recipe.pool_network.name})"
        return f"train {networks} for {counted(pool.epochs, 'epoch')}{states}"

    def _measure(self) -> str:
        measuring = [loss.name for loss in self.losses if loss.needs.observes]
        if not measuring:
            return "skipped: nothing to measure"
        views = self.recipe.recover.measured_views
        of_views = " of views" if views else ""
        shown = f"{views} passes" if views > 1 else "one pass"
        return f"{shown}{of_views} for {', '.join(measuring)}"

    def _recover(self) -> str:
        iterations, stored = self.recipe.recover.iterations, self._stored()
        if not iterations:
            return f"keep the initial images ({self.recipe.initializer.name}){stored}"
        return f"{iterations} iterations a chunk, {counted(self.recipe.ipc, 'image')} per class{stored}"

    def _select(self) -> str:
        recipe, students = self.recipe, self.recipe.select.students
        after = [str(steps) for steps in self.judged_after]
        states = ", ".join(after if len(after) <= _SHOWN else [*after[: _SHOWN - 2], "...", after[-1]])
        of_states = f", and recovery after {states} steps" if states else ""
        starts = ", ".join(spec.name for spec in self.initializers)
        epochs = f"{'up to ' * (recipe.select.steps > 0)}{counted(recipe.select.epochs, 'epoch')}"
        by = f" by {recipe.judge.name}, {recipe.judge.labels} labels" if recipe.judge else ""
        return f"starts ({starts}){of_states}: each judged by {counted(students, 'student')} x {epochs}{by}"

    def _stored(self) -> str:
        """Return a text that says how images are stored, if not as they are."""
        name = self.recipe.parametrization.name
        if name == IDENTITY:
            return ""
        return f", stored as {name}: each holds {counted(self.images_per_stored, 'image')}"

    def _evaluate(self) -> str:
        students, protocol = self.evaluation.students, self.evaluation.protocol
        if not students:
            return "skipped: no students"
        many = f"{students} student{'s' * (students > 1)} x {protocol.epochs} epochs by {protocol.name}"
        return many + (f", and as many on {REFERENCE_LABEL}" if self.reference else "")


def make_plan(config: RunConfig, registry: Registry) -> Plan:
    """Return the plan of a configuration. Raises OptionError if settings contradict each other."""
    recipe = config.recipe
    initializer: InitializerSpec = registry.find("initializer", recipe.initializer.name)
    starts = _starts(recipe, registry)
    losses: list[PlannedLoss] = []
    if recipe.recover.iterations or any(spec.uses_targets for spec in (initializer, *starts)):
        losses += planned_losses(recipe, "feature target", registry)
    if recipe.recover.iterations:
        losses += planned_losses(recipe, "regularizer", registry)
        check_losses(losses, recipe)
    return Plan(
        recipe=recipe,
        evaluation=config.evaluation,
        losses=tuple(losses),
        initializer=initializer,
        starts=starts,
        images_per_stored=images_per_stored(recipe.parametrization, registry),
        notes=(*_kind_note(recipe, registry), *preset_note(recipe, registry), *_one_class_note(losses)),
    )


def _starts(recipe: Recipe, registry: Registry) -> tuple[InitializerSpec, ...]:
    """Return the further initializers whose images are candidates.

    Raises OptionError if there is nothing to choose among, or if a candidate cannot be made.
    """
    select, iterations = recipe.select, recipe.recover.iterations
    if not select.students:
        return ()
    if recipe.judge is None:
        raise OptionError("select.students needs a protocol by which they are trained, judge")
    names = [name for name in select.starts if name != recipe.initializer.name]
    if IMPORTED in names:
        raise OptionError(
            f"select.starts: {IMPORTED!r} images lie elsewhere, and cannot be one start of several"
        )
    if not names and not (iterations and select.snapshots):
        raise OptionError(
            "select.students has no effect: the images of "
            f"{recipe.initializer.name!r} are the only candidate; add --set select.starts=NAME,NAME, or steps of "
            "recovery with select.snapshots"
        )
    return tuple(registry.find("initializer", name) for name in names)


def _kind_note(recipe: Recipe, registry: Registry) -> tuple[str, ...]:
    """Return a note that names the kind of the images, if it was found from the images; else nothing."""
    spec, _ = registry.dataset(recipe.dataset.name)
    _, kind = kind_of_dataset(recipe.dataset, registry)
    if spec.like == kind:
        return ()
    missing = unfetched_note(recipe.dataset.name, options_of(recipe.dataset, "dataset", registry), kind)
    if missing:
        return (missing,)
    return (
        f"settings for {kind_text(kind)} are used; --set dataset.like=KIND chooses those for another kind",
    )


def _one_class_note(losses: Sequence[PlannedLoss]) -> tuple[str, ...]:
    alone = [loss.name for loss in losses if loss.needs.at_once == "one class"]
    others = [loss.name for loss in losses if loss.needs.at_once != "one class"]
    if not alone or not others:
        return ()
    return (
        f"{alone[0]} has every step done one class at a time, so that {', '.join(others)} "
        f"see{'s' * (len(others) == 1)} one class at a time as well",
    )
