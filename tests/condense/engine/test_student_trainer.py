"""A row of students: which are trained, which are remembered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from condense.data.dataset import RealDataset
from condense.engine.build import build_component
from condense.engine.components import EvaluationRequest, Evaluator, StudentResult
from condense.engine.evaluate import Score, StudentEvaluator
from condense.engine.students import StudentTask, StudentTrainer, train_students
from condense.engine.unfinished import Unfinished
from condense.errors import PluginError
from condense.models.network import Network
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import EvaluatorSpec
from condense.runtime import make_runtime
from condense.storage.distilled import DistilledDataset


class Counter(Evaluator):
    """Student number n reaches n / 10."""

    def __init__(self) -> None:
        self.requests: list[EvaluationRequest] = []

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        self.requests.append(request)
        return StudentResult(student=request.student, accuracy=request.student / 10, seconds=1.0, steps=4)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def trainer(
    make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry], counter: Counter
) -> StudentTrainer:
    """3 students, which the counter measures."""
    dataset = make_dataset()
    evaluators = [
        EvaluatorSpec(name="counter", summary="x", build=lambda _: counter),
        EvaluatorSpec(name="odd", summary="x", build=lambda _: "a string"),
    ]
    registry = make_registry(dataset, evaluators=evaluators)
    settings = [("evaluator", "counter")]
    config = configure(registry, method="random", dataset="tiny", students=3, seed=4, settings=settings)
    return StudentTrainer(
        recipe=config.recipe,
        evaluation=config.evaluation,
        evaluator=build_component(config.evaluation.evaluator, "evaluator", Evaluator, registry),
        dataset=dataset,
        teacher=None,
        registry=registry,
        runtime=make_runtime("cpu", "fp32"),
    )


def test_students_have_the_network_that_the_protocol_or_the_user_says(trainer: StudentTrainer) -> None:
    def widths(*settings: tuple[str, Any], protocol: str = "fkd") -> int:
        config = configure(
            trainer.registry, method="random", dataset="tiny", protocol=protocol, settings=settings
        )
        chosen = replace(trainer, recipe=config.recipe, evaluation=config.evaluation)
        student = chosen.build_student(torch.Generator())
        first: torch.Tensor = next(student.model.parameters())
        return len(first)

    assert widths() == 8  # the teacher's
    assert widths(protocol="dc") == 128  # that of its papers
    assert widths(("student.model", "teacher"), protocol="dc") == 8
    assert widths(("protocol.model", "convnet"), ("protocol.model.width", 4)) == 4
    own = (("student.model", "convnet"), ("student.model.width", 6), ("student.model.depth", 1))
    assert widths(*own, protocol="dc") == 6


@pytest.fixture
def distilled() -> DistilledDataset:
    return DistilledDataset(
        images=torch.zeros(3, 1, 8, 8, dtype=torch.uint8),
        labels=torch.arange(3),
        slots=torch.zeros(3, dtype=torch.int64),
        weights=torch.ones(3),
        classes=("a", "b", "c"),
        mean=(0.5,),
        std=(0.5,),
        ipc=1,
    )


def test_every_student_is_trained(
    trainer: StudentTrainer, distilled: DistilledDataset, counter: Counter
) -> None:
    score = trainer.score(distilled, "mine")
    assert [request.student for request in counter.requests] == [0, 1, 2]
    assert {request.seed for request in counter.requests} == {4}
    assert score.label == "mine"
    assert score.mean == pytest.approx(0.1)


def test_some_students_are_trained_as_they_are_among_all(
    trainer: StudentTrainer, distilled: DistilledDataset, counter: Counter
) -> None:
    whole = trainer.score(distilled, "mine").students
    counter.requests.clear()
    assert tuple(trainer.students(distilled, [0, 2])) == (whole[0], whole[2])
    assert [request.student for request in counter.requests] == [0, 2]


def test_what_is_kept_of_a_training_stays_until_its_result_is_taken(
    trainer: StudentTrainer, distilled: DistilledDataset, tmp_path: Path
) -> None:
    def unfinished(number: int) -> Unfinished:
        kept = Unfinished(tmp_path / f"{number}.training", trainer.runtime)
        tmp_path.mkdir(exist_ok=True)  # it goes with the last file in it
        kept.file.write_bytes(b"kept")
        return kept

    there = [
        [file.name for file in tmp_path.iterdir()] for _ in trainer.students(distilled, [0, 1], unfinished)
    ]
    assert there == [["0.training"], ["1.training"]]
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


class Stacks(StudentEvaluator):
    """Trains nothing; says which students would be trained at once."""

    def __init__(self) -> None:
        self.at_once: list[list[int]] = []

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        return self.evaluate_together([request])[0]

    def evaluate_together(self, requests: Sequence[EvaluationRequest]) -> list[StudentResult]:
        self.at_once.append([request.student for request in requests])
        return [
            StudentResult(student=request.student, accuracy=0.5, seconds=1.0, steps=4) for request in requests
        ]


class Dropping(StudentTrainer):
    """Its students draw while they are trained."""

    def build_student(self, draws: torch.Generator) -> Network:
        return Network(nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 3)), "dropping")


@pytest.mark.parametrize(
    ("kind", "images", "at_once", "reason"),
    [
        (StudentTrainer, 3, [[0, 1], [2]], ""),
        (StudentTrainer, 6, [[0], [1], [2]], "other numbers of images"),
        (Dropping, 3, [[0], [1], [2]], "their network draws while it is trained"),
    ],
)
def test_students_that_make_no_stack_are_trained_one_by_one_with_a_note(
    trainer: StudentTrainer,
    distilled: DistilledDataset,
    impatient: Any,
    kind: type[StudentTrainer],
    images: int,
    at_once: list[list[int]],
    reason: str,
) -> None:
    """The last of three students learns from `images` images, the others from three."""
    fields = {field.name: getattr(trainer, field.name) for field in dataclasses.fields(trainer)}
    stacks, reporter = Stacks(), impatient(99)
    asked = replace(trainer.evaluation.student, together=2)
    fields["evaluation"] = replace(trainer.evaluation, student=asked)
    fields["evaluator"], fields["runtime"] = stacks, replace(trainer.runtime, reporter=reporter)
    per_class = images // 3
    last = replace(
        distilled,
        images=distilled.images.repeat_interleave(per_class, dim=0),
        labels=torch.arange(3).repeat_interleave(per_class),
        slots=torch.arange(per_class).repeat(3),
        weights=torch.full((images,), 1 / per_class),
        ipc=per_class,
    )
    tasks = [
        StudentTask(trainer=kind(**fields), distilled=last if number == 2 else distilled, number=number)
        for number in range(3)
    ]
    assert [result.student for result in train_students(tasks)] == [0, 1, 2]
    assert stacks.at_once == at_once
    assert len(reporter.notes) == bool(reason)
    for note in reporter.notes:
        assert note.startswith("students are trained one by one: ") and reason in note


def test_a_student_is_the_teachers_architecture_unless_another_is_chosen(trainer: StudentTrainer) -> None:
    def widths(trainer: StudentTrainer) -> int:
        student = trainer.build_student(torch.Generator().manual_seed(0))
        return len(student.model.get_parameter("features.0.weight"))

    assert widths(trainer) == 8
    config = configure(
        trainer.registry,
        method="random",
        dataset="tiny",
        settings=[("student.model", "convnet"), ("student.model.width", 5), ("student.model.depth", 1)],
    )
    assert widths(replace(trainer, recipe=config.recipe, evaluation=config.evaluation)) == 5


def test_an_evaluator_that_a_plugin_did_not_build(
    trainer: StudentTrainer, distilled: DistilledDataset
) -> None:
    odd = replace(trainer.evaluation, evaluator=Use(name="odd"))
    with pytest.raises(PluginError) as caught:
        build_component(odd.evaluator, "evaluator", Evaluator, trainer.registry)
    assert (
        str(caught.value) == "evaluator 'odd' was built as 'a string', which is not an instance of Evaluator"
    )


def results(*accuracies: float) -> tuple[StudentResult, ...]:
    return tuple(
        StudentResult(student=number, accuracy=accuracy, seconds=1.5, steps=7)
        for number, accuracy in enumerate(accuracies)
    )


def test_a_score_is_the_mean_and_the_sample_standard_deviation() -> None:
    score = Score(label="mine", students=results(0.5, 0.8, 0.2))
    assert score.mean == pytest.approx(0.5)
    assert score.std == pytest.approx(0.3)  # The root of (0 + 0.09 + 0.09) / 2.
    assert score.to_dict() == {
        "label": "mine",
        "accuracy_mean": pytest.approx(0.5),
        "accuracy_std": pytest.approx(0.3),
        "accuracies": [0.5, 0.8, 0.2],
        "students": 3,
        "steps": 7,
        "seconds": 4.5,
    }
    alone = Score(label="mine", students=results(0.5))
    assert (alone.mean, alone.std) == (0.5, None)
