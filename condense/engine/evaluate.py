"""Evaluate: train students from scratch on a distilled dataset and test them on real images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from condense.engine.components import EvaluationRequest, Evaluator, StudentResult
from condense.engine.intervals import Interval, t_interval
from condense.engine.labels import LABELS
from condense.engine.together import Learner, train_together
from condense.engine.training import accuracy, train
from condense.errors import StorageError
from condense.models.compiled import compiled
from condense.models.network import Network
from condense.recipe.misfits import converted
from condense.recipe.specs import NoOptions
from condense.rng import generator, isolated_global_rng


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
        """Return the results of students of one network and protocol, who are trained at once, of one seed or several.

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
                        generator=draws,
                        what=_title(request, requests),
                    )
                )
            losses = LABELS[protocol.labels].losses(requests)
            steps = train_together(learners, losses, protocol, runtime, unfinished)
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


def _title(request: EvaluationRequest, stack: Sequence[EvaluationRequest]) -> str:
    """Return the name of a student's training, with its seed in a stack of several seeds."""
    seeds = {other.seed for other in stack}
    return f"student {request.student}" + (f" of seed {request.seed}" if len(seeds) > 1 else "")


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
