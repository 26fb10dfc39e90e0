"""Training and testing the students of one distilled dataset: the same for a run and for an earlier artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import torch

from condense.components import EvaluationRequest, Evaluator, Measurement
from condense.config import RunConfig
from condense.data.dataset import RealDataset
from condense.distilled import DistilledDataset
from condense.models.build import build_network
from condense.models.network import Network
from condense.plugins import Registry
from condense.result import Score
from condense.runtime import Runtime
from condense.wording import counted

# Finds what is stored of student number n, or None; and stores what was found.
Recall = Callable[[int], "dict[str, Any] | None"]
Keep = Callable[[int, "dict[str, Any]"], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything a student needs beside the dataset it learns from."""

    config: RunConfig
    dataset: RealDataset
    evaluator: Evaluator
    teacher: Network | None
    registry: Registry
    runtime: Runtime

    def build_student(self, generator: torch.Generator) -> Network:
        """A fresh student network."""
        return build_network(self.config.student_model, self.dataset, self.registry, self.runtime, generator)

    def score(
        self,
        distilled: DistilledDataset,
        label: str,
        *,
        recall: Recall | None = None,
        keep: Keep | None = None,
    ) -> Score:
        """Train and test every student on `distilled`. Students that `recall` knows are not trained again."""
        protocol, count = self.config.protocol, self.config.students
        reporter = self.runtime.reporter
        measurements: list[Measurement] = []
        reporter.start(
            "evaluate", f"{counted(count, 'student')} on {label}", count * protocol.epochs, "epoch"
        )
        for student in range(count):
            known = recall(student) if recall else None
            if known is not None:
                measurements.append(msgspec.convert(known, Measurement))
                reporter.advance(protocol.epochs)
                continue
            found = self.evaluator.evaluate(
                EvaluationRequest(
                    distilled=distilled,
                    dataset=self.dataset,
                    protocol=protocol,
                    student=student,
                    seed=self.config.seed,
                    build_student=self.build_student,
                    teacher=self.teacher,
                    runtime=self.runtime,
                )
            )
            if keep:
                keep(student, msgspec.to_builtins(found))
            measurements.append(found)
        score = Score(label=label, measurements=tuple(measurements))
        spread = f" ± {score.std:.1%}" if score.std is not None else ""
        reporter.finish(f"accuracy {score.mean:.1%}{spread}")
        return score
