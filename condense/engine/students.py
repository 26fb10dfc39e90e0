"""Students that are to be trained: by which settings, on what, and how many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, Evaluator, StudentResult
from condense.engine.evaluate import Score, StudentEvaluator
from condense.engine.first_step import check_unchanged, dataset_versions, distilled_versions
from condense.engine.together import stackable
from condense.engine.unfinished import Unfinished, discard
from condense.models.build import build_network
from condense.models.network import Network
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.registry import Registry
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset
from condense.text import counted


class Kept(Protocol):
    """Where the students of a score are kept, so that one that was interrupted goes on."""

    def result(self, number: int) -> StudentResult | None:
        """Return the result of a student that an earlier attempt finished, or None."""

    def keep(self, result: StudentResult) -> None:
        """Keep the result of a student."""

    def unfinished(self, number: int) -> Unfinished:
        """Return what keeps the training of a student."""


@dataclass(frozen=True, kw_only=True)
class StudentTrainer:
    """Trains and tests students on distilled datasets, in a run, in a comparison or for an earlier artifact.

    recipe, evaluation: the settings that students depend on.
    evaluator: built from the evaluation.
    teacher: labels the views during training; None if the labels do not need that.
    stage: whose students they are, for people.
    """

    recipe: Recipe
    evaluation: Evaluation
    evaluator: Evaluator
    dataset: RealDataset
    teacher: Network | None
    registry: Registry
    runtime: Runtime
    stage: str = "evaluate"

    def build_student(self, draws: torch.Generator) -> Network:
        """Return a new student network with weights drawn from `draws`."""
        use = self.evaluation.student_network(self.recipe.teacher)
        return build_network(use, self.dataset, self.registry, self.runtime, draws)

    def students(
        self,
        distilled: DistilledDataset,
        numbers: Sequence[int],
        unfinished: Callable[[int], Unfinished] | None = None,
    ) -> Iterator[StudentResult]:
        """Train and test some students on `distilled`, as `train_students` does.

        unfinished: keeps the training of a student; None keeps nothing.
        """
        return train_students(
            [
                StudentTask(
                    trainer=self,
                    distilled=distilled,
                    number=number,
                    unfinished=partial(unfinished, number) if unfinished else None,
                )
                for number in numbers
            ]
        )

    def score(self, distilled: DistilledDataset, label: str, kept: Kept | None = None) -> Score:
        """Train and test every student on `distilled` that has no result yet, and return the score of all of them.

        label: the label of the score. kept: where they are kept; None keeps nothing.
        """
        protocol, count = self.evaluation.protocol, self.evaluation.students
        reporter = self.runtime.reporter
        reporter.start(
            self.stage, f"{counted(count, 'student')} on {label}", count * protocol.epochs, "epoch"
        )
        earlier = (kept.result(number) for number in range(count)) if kept else ()
        found = {result.student: result for result in earlier if result}
        if found:
            reporter.advance(len(found) * protocol.epochs)
        left = [number for number in range(count) if number not in found]
        for result in self.students(distilled, left, kept.unfinished if kept else None):
            found[result.student] = result
            if kept:
                kept.keep(result)
        score = Score(label=label, students=tuple(found[number] for number in range(count)))
        reporter.finish(score.text())
        return score


@dataclass(frozen=True, kw_only=True)
class StudentTask:
    """A student that is to be trained and tested.

    trainer: says how. distilled: what the student learns from. number: of the student.
    unfinished: returns what keeps the training, whose time begins then; None keeps nothing.
    """

    trainer: StudentTrainer
    distilled: DistilledDataset
    number: int
    unfinished: Callable[[], Unfinished] | None = None

    def request(self) -> EvaluationRequest:
        """Return what an evaluator is asked."""
        trainer = self.trainer
        return EvaluationRequest(
            distilled=self.distilled,
            dataset=trainer.dataset,
            protocol=trainer.evaluation.protocol,
            student=self.number,
            seed=trainer.recipe.seed,
            build_student=trainer.build_student,
            teacher=trainer.teacher,
            runtime=trainer.runtime,
            unfinished=self.unfinished() if self.unfinished else None,
        )


def train_students(tasks: Sequence[StudentTask]) -> Iterator[StudentResult]:
    """Train and test students, and yield how each did, in their order: `student.together` of them at once.

    tasks: of equal evaluations; recipes and images may differ. What is kept of a training stays until the result after
        those of its stack is asked for.

    A note says why students are trained one by one where several at once are asked for.
    """
    at_once = _at_once(tasks)
    for first in range(0, len(tasks), at_once):
        stack = tasks[first : first + at_once]
        requests = [task.request() for task in stack]
        yield from _results(stack[0].trainer, requests)
        for request in requests:
            if request.unfinished:
                discard(request.unfinished.file)


def _at_once(tasks: Sequence[StudentTask]) -> int:
    """Return how many students are trained at once, at least 1. A note says why it is one."""
    asked = min(tasks[0].trainer.evaluation.student.together, len(tasks)) if tasks else 1
    if asked == 1:
        return 1
    trainer = tasks[0].trainer
    if not isinstance(trainer.evaluator, StudentEvaluator):
        reason = "their evaluator trains one at a time"
    elif len({(len(task.distilled), task.distilled.images.shape[1:]) for task in tasks}) > 1:
        reason = "they learn from other numbers of images, or from images of other shapes"
    elif not stackable(trainer.build_student(generator(0, "together"))):
        reason = "their network draws while it is trained, as dropout does"
    else:
        return asked
    trainer.runtime.reporter.note(f"students are trained one by one: {reason}")
    return 1


def _results(trainer: StudentTrainer, requests: Sequence[EvaluationRequest]) -> list[StudentResult]:
    """Return the results of one student, or of a stack. trainer: of the first."""
    evaluator = trainer.evaluator
    if len(requests) > 1 and isinstance(evaluator, StudentEvaluator):
        return evaluator.evaluate_together(requests)
    [request] = requests
    before = [*distilled_versions(request.distilled), *dataset_versions(request.dataset)]
    with isolated_global_rng(generator(request.seed, "plugin", "evaluator", request.student)):
        found = evaluator.evaluate(request)
    check_unchanged(before, f"evaluator {trainer.evaluation.evaluator.name!r}", "evaluate")
    return [found]
