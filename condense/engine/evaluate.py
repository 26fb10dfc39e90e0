"""Evaluate: train students from scratch on a distilled dataset and test them on real images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, Evaluator, StudentResult
from condense.engine.first_step import check_unchanged, dataset_versions, distilled_versions
from condense.engine.intervals import Interval, t_interval
from condense.engine.labels import LABELS
from condense.engine.together import Learner, stackable, train_together
from condense.engine.training import accuracy, train
from condense.engine.unfinished import Unfinished, discard
from condense.errors import StorageError
from condense.models.build import build_network
from condense.models.compiled import compiled
from condense.models.network import Network
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.misfits import converted
from condense.recipe.registry import Registry
from condense.recipe.specs import NoOptions
from condense.rng import generator, isolated_global_rng
from condense.runtime import Runtime
from condense.storage.distilled import DistilledDataset
from condense.text import counted


class StudentEvaluator(Evaluator):
    """Trains one student by the protocol and measures its accuracy after the last epoch.

    drawn_for: names the stage whose random draws these are, so that students of two stages differ.
    """

    drawn_for = "evaluate"

    def __init__(self, options: NoOptions) -> None:
        self.options = options

    def evaluate(self, request: EvaluationRequest) -> StudentResult:
        """Return the result of one student on the real test images.

        Students with the same number start from the same weights on every distilled dataset, so that methods
        can be compared in pairs. Raises ModelError if the protocol needs a teacher and there is none.
        """
        began = time.perf_counter()
        distilled, protocol = request.distilled, request.protocol
        runtime = request.runtime.for_steps(protocol.epochs)  # at least one step each
        unfinished = request.unfinished
        student, draws = self._start(request)
        with isolated_global_rng(draws):
            steps = train(
                compiled(student, runtime),
                distilled.feed(runtime),
                LABELS[protocol.labels].loss(request),
                protocol,
                generator=draws,
                runtime=runtime,
                what=f"student {request.student}",
                kept=unfinished.training(student.model) if unfinished else None,
            )
        reached = self._test(student, request)
        seconds = time.perf_counter() - began + (unfinished.spent if unfinished else 0.0)
        return StudentResult(student=request.student, accuracy=reached, seconds=seconds, steps=steps)

    def evaluate_together(self, requests: Sequence[EvaluationRequest]) -> list[StudentResult]:
        """Return the results of students of one network and protocol, who are trained at once.

        Each has the draws that it has alone, and its result within rounding. The stack is not compiled, and what is
        kept of it lies where the first student's training would. Seconds are divided among them.
        """
        began = time.perf_counter()
        runtime, protocol, unfinished = requests[0].runtime, requests[0].protocol, requests[0].unfinished
        learners = []
        with ExitStack() as isolated:
            for request in requests:
                student, draws = self._start(request)
                isolated.enter_context(isolated_global_rng(draws))
                learners.append(
                    Learner(
                        network=student,
                        feed=request.distilled.feed(runtime),
                        loss=LABELS[protocol.labels].loss(request),
                        generator=draws,
                        what=f"student {request.student}",
                    )
                )
            steps = train_together(learners, protocol, runtime, unfinished)
        reached = [
            self._test(learner.network, request) for learner, request in zip(learners, requests, strict=True)
        ]
        spent = time.perf_counter() - began + (unfinished.spent if unfinished else 0.0)
        seconds = spent / len(requests)
        return [
            StudentResult(student=request.student, accuracy=accurate, seconds=seconds, steps=steps)
            for request, accurate in zip(requests, reached, strict=True)
        ]

    def _start(self, request: EvaluationRequest) -> tuple[Network, torch.Generator]:
        """Return a new student, and the source of the draws of its training."""
        piece = (request.seed, self.drawn_for, request.student)
        return request.build_student(generator(*piece, "weights")), generator(*piece, "training")

    def _test(self, student: Network, request: EvaluationRequest) -> float:
        # Normalise like the images that the student learned from: another copy of the dataset may have another mean.
        distilled = request.distilled
        tested = replace(request.dataset, mean=distilled.mean, std=distilled.std)
        return accuracy(student, tested.test, tested, request.runtime)


def known_result(stored: Any) -> StudentResult:
    """Return the result of a student from plain data of its file. Raises StorageError for anything else."""
    try:
        found = converted(stored, StudentResult, "it")
        if not (0 <= found.accuracy <= 1 and found.seconds >= 0 and found.steps >= 0):
            raise ValueError(
                f"accuracy {found.accuracy}, {found.seconds} s and {found.steps} steps cannot be"
            )
    except ValueError as error:
        raise StorageError(
            f"the file of a student's result does not hold one: {error}; delete the folder students and go on with "
            "--resume"
        ) from error
    return found


@dataclass(frozen=True, kw_only=True)
class Score:
    """The accuracies of students that learned from one small dataset.

    label: the method's name, or "random real images".
    students: one result for each student.
    """

    label: str
    students: tuple[StudentResult, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the students, in [0, 1]."""
        return statistics.fmean(found.accuracy for found in self.students)

    @property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1) of the accuracy over the students; None for a single student."""
        if len(self.students) < 2:
            return None
        return statistics.stdev(found.accuracy for found in self.students)

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the mean accuracy, over the students; None for a single student."""
        return t_interval([found.accuracy for found in self.students])

    def text(self) -> str:
        """Return the mean and the deviation for people."""
        spread = f" ± {self.std:.1%}" if self.std is not None else ""
        return f"accuracy {self.mean:.1%}{spread}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; accuracies are fractions."""
        return {
            "label": self.label,
            "accuracy_mean": self.mean,
            "accuracy_std": self.std,
            "accuracies": [found.accuracy for found in self.students],
            "students": len(self.students),
            "steps": self.students[0].steps,
            "seconds": sum(found.seconds for found in self.students),
        }


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
        """Train and test some students on `distilled`, and yield how each did, in the order of their numbers.

        unfinished: keeps the training of a student, to go on from there, until the next result is asked for.
        """
        at_once = self._at_once()
        for first in range(0, len(numbers), at_once):
            asked = [
                self._request(distilled, number, unfinished(number) if unfinished else None)
                for number in numbers[first : first + at_once]
            ]
            yield from self._results(asked)
            for request in asked:
                if request.unfinished:
                    discard(request.unfinished.file)

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

    def _at_once(self) -> int:
        """Return how many students are trained at once. A note says why it is one where several are asked for."""
        asked = min(self.evaluation.student.together, self.evaluation.students)
        if asked == 1:
            return 1
        if not isinstance(self.evaluator, StudentEvaluator):
            reason = "their evaluator trains one at a time"
        elif not stackable(self.build_student(generator(0, "together"))):
            reason = "their network draws while it is trained, as dropout does"
        else:
            return asked
        self.runtime.reporter.note(f"students are trained one by one: {reason}")
        return 1

    def _request(
        self, distilled: DistilledDataset, student: int, unfinished: Unfinished | None
    ) -> EvaluationRequest:
        return EvaluationRequest(
            distilled=distilled,
            dataset=self.dataset,
            protocol=self.evaluation.protocol,
            student=student,
            seed=self.recipe.seed,
            build_student=self.build_student,
            teacher=self.teacher,
            runtime=self.runtime,
            unfinished=unfinished,
        )

    def _results(self, requests: Sequence[EvaluationRequest]) -> list[StudentResult]:
        if len(requests) > 1 and isinstance(self.evaluator, StudentEvaluator):
            return self.evaluator.evaluate_together(requests)
        found = []
        title = f"evaluator {self.evaluation.evaluator.name!r}"
        for request in requests:
            before = [*distilled_versions(request.distilled), *dataset_versions(request.dataset)]
            with isolated_global_rng(generator(self.recipe.seed, "plugin", "evaluator", request.student)):
                found.append(self.evaluator.evaluate(request))
            check_unchanged(before, title, "evaluate")
        return found
