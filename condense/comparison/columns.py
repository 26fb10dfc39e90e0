"""The columns of a comparison, and the settings that all of its rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from condense.comparison.outcome import Column, Role
from condense.errors import OptionError
from condense.recipe.config import Evaluation
from condense.recipe.method import Student, Teacher, Use
from condense.recipe.protocol import Protocol
from condense.recipe.registry import Registry
from condense.recipe.resolve import named_dataset
from condense.recipe.settings import Pair, assign, complete, network_of, network_text
from condense.recipe.training import Augment


@dataclass(frozen=True, kw_only=True)
class SharedSettings:
    """The settings that all rows of a comparison have in common.

    dataset, teacher: of every recipe; the teacher has a seed of its own.
    protocol, student, evaluator: of a column.
    """

    dataset: Use
    teacher: Teacher
    protocol: Protocol
    student: Student
    evaluator: Use

    def evaluation(self, protocol: Protocol, students: int) -> Evaluation:
        """Return how students are trained and tested by a protocol."""
        return Evaluation(
            protocol=protocol,
            student=self.student,
            evaluator=self.evaluator,
            students=students,
            reference=False,
        )

    def with_students_like(self, teacher: Teacher) -> SharedSettings:
        """Return the settings with a network of its own for students that were like the teacher."""
        network = self.evaluation(self.protocol, 1).student_network(teacher)
        return replace(self, student=replace(self.student, model=network))

    def student_text(self, registry: Registry) -> str:
        """Return the students' network as people write it."""
        network = self.evaluation(self.protocol, 1).student_network(self.teacher)
        return network_text(network, registry)


@dataclass(frozen=True, kw_only=True)
class ColumnSetup:
    """A column, and how its students are trained and tested."""

    column: Column
    evaluation: Evaluation


def shared_settings(
    registry: Registry, dataset: str, protocol: str, settings: Sequence[Pair], seed: int
) -> SharedSettings:
    """Return what all rows share: the dataset's settings for every method, then `settings`.

    seed: of the teacher and of a split that has to be made, for every row and seed; teacher.seed overrides
    it.
    """
    spec, _ = registry.dataset(dataset)
    use, kind = named_dataset(registry, dataset, settings)
    shared = SharedSettings(
        dataset=use,
        teacher=Teacher(),
        protocol=registry.protocol(protocol),
        student=Student(),
        evaluator=Use(name="students"),
    )
    of_dataset = [
        (key, value)
        for key, value in spec.settings_for(kind, protocol)
        if key.partition(".")[0] in ("teacher", "student", "protocol", "evaluator")
    ]
    given = [pair for pair in settings if not pair[0].startswith("dataset.")]
    for key, value in (*of_dataset, *given):
        shared = assign(shared, key, value, registry)
    if shared.teacher.seed is None:
        shared = assign(shared, "teacher.seed", seed, registry)
    return complete(shared, registry)


def teachers_of(networks: Sequence[str], shared: SharedSettings, registry: Registry) -> dict[str, Teacher]:
    """Return the teachers of a comparison by their networks, or the one teacher by "".

    networks: the teachers' networks as texts; none or one for the teacher of the settings. All teachers are trained
    the same way. Raises OptionError for a network that stands twice.
    """
    if len(networks) < 2:
        return {"": shared.teacher}
    uses = [network_of(text, registry) for text in networks]
    texts = [network_text(use, registry) for use in uses]
    _refuse_repeated("teacher", texts)
    return {
        text: assign(shared, "teacher.model", use, registry).teacher
        for text, use in zip(texts, uses, strict=True)
    }


def make_columns(
    registry: Registry,
    shared: Sequence[SharedSettings],
    *,
    like: Teacher | None = None,
    networks: Sequence[Use] = (),
    epochs: Sequence[int],
    students: int,
    scores: bool,
) -> tuple[ColumnSetup, ...]:
    """Return a column for every protocol, number of epochs and student network.

    Each is followed by the columns that DD-Ranking's scores need.

    shared: the settings of each protocol.
    like: if rows have different teachers, the one whose network students have that are like the teacher. So students
        are the same in every row.
    networks: student networks; none for the one of the settings.
    epochs: numbers of epochs; none for the protocol's own.
    students: trained for each seed.
    scores: whether to add the columns for the scores.

    Raises OptionError for a protocol, number of epochs or network that is given twice, or fewer than 1 epoch.
    """
    _refuse_repeated("protocol", [settings.protocol.name for settings in shared])
    _refuse_repeated("number of epochs", epochs)
    for count in epochs:
        if count < 1:
            raise OptionError(f"epochs must be at least 1, not {count}")
    columns: list[ColumnSetup] = []
    for settings in shared:
        of_network = [
            replace(settings, student=replace(settings.student, model=use)) for use in networks
        ] or [settings]
        of_network = [one.with_students_like(like) if like else one for one in of_network]
        names = [one.student_text(registry) for one in of_network]
        _refuse_repeated("student network", names)
        for count in epochs or (settings.protocol.epochs,):
            for one, name in zip(of_network, names, strict=True):
                key = f"{settings.protocol.name}@{count}" + (f" {name}" if len(names) > 1 else "")
                columns += _of_length(one, key, name, count, students, scores)
    return tuple(columns)


def _of_length(
    shared: SharedSettings, key: str, student: str, epochs: int, students: int, scores: bool
) -> list[ColumnSetup]:
    """Return the column of one protocol, length and network, and those that its scores need."""
    protocol = replace(shared.protocol, epochs=epochs)
    wanted: list[tuple[Role, Protocol]] = [("score", protocol)]
    if scores and protocol.labels != "hard":
        wanted.append(("hard", replace(protocol, labels="hard")))
    if scores:
        wanted.append(("plain", replace(protocol, augment=Augment())))
    columns = []
    for role, changed in wanted:
        column = Column(
            key=key if role == "score" else f"{key}/{role}",
            protocol=protocol.name,
            epochs=protocol.epochs,
            labels=changed.labels,
            student=student,
            role=role,
        )
        columns.append(ColumnSetup(column=column, evaluation=shared.evaluation(changed, students)))
    return columns


def _refuse_repeated(what: str, values: Sequence[object]) -> None:
    for value in values:
        if list(values).count(value) > 1:
            raise OptionError(f"{what} {value} stands twice")
