"""A row of students: which are trained, which are remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, Evaluator, Measurement
from condense.engine.evaluate import Bench
from condense.recipe.config import configure
from condense.recipe.registry import Registry
from condense.runtime import make_runtime
from condense.storage.distilled import DistilledDataset


class Counter(Evaluator):
    """Student number n reaches n / 10."""

    def __init__(self) -> None:
        self.requests: list[EvaluationRequest] = []

    def evaluate(self, request: EvaluationRequest) -> Measurement:
        self.requests.append(request)
        return Measurement(student=request.student, accuracy=request.student / 10, seconds=1.0, steps=4)


@pytest.fixture
def bench(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Bench:
    dataset = make_dataset()
    registry = make_registry(dataset)
    config = configure(registry, method="random", dataset="tiny", students=3, seed=4)
    return Bench(
        config=config,
        dataset=dataset,
        evaluator=Counter(),
        teacher=None,
        registry=registry,
        runtime=make_runtime("cpu", "fp32"),
    )


def test_students_have_the_network_that_the_protocol_or_the_user_says(bench: Bench) -> None:
    def widths(*settings: tuple[str, Any], protocol: str = "fkd") -> int:
        config = configure(
            bench.registry, method="random", dataset="tiny", protocol=protocol, settings=settings
        )
        student = replace(bench, config=config).build_student(torch.Generator())
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


def requests(bench: Bench) -> list[EvaluationRequest]:
    assert isinstance(bench.evaluator, Counter)
    return bench.evaluator.requests


def test_every_student_is_trained_and_kept(bench: Bench, distilled: DistilledDataset) -> None:
    kept: dict[int, Any] = {}
    score = bench.score(distilled, "mine", keep=kept.__setitem__)
    assert [request.student for request in requests(bench)] == [0, 1, 2]
    assert {request.seed for request in requests(bench)} == {4}
    assert score.label == "mine"
    assert score.mean == pytest.approx(0.1)
    assert kept == {n: {"student": n, "accuracy": n / 10, "seconds": 1.0, "steps": 4} for n in range(3)}


def test_students_that_are_remembered_are_not_trained_again(
    bench: Bench, distilled: DistilledDataset
) -> None:
    kept: dict[int, Any] = {}
    first = bench.score(distilled, "mine", keep=kept.__setitem__)
    requests(bench).clear()
    del kept[1]
    again = bench.score(distilled, "mine", recall=kept.get, keep=kept.__setitem__)
    assert [request.student for request in requests(bench)] == [1]
    assert again == first
    assert sorted(kept) == [0, 1, 2]


def test_a_student_is_the_teachers_architecture_unless_another_is_chosen(bench: Bench) -> None:
    def widths(bench: Bench) -> int:
        weight = bench.build_student(torch.Generator().manual_seed(0)).model.get_parameter(
            "features.0.weight"
        )
        return len(weight)

    assert widths(bench) == 8
    config = configure(
        bench.registry,
        method="random",
        dataset="tiny",
        settings=[("student.model", "convnet"), ("student.model.width", 5), ("student.model.depth", 1)],
    )
    assert widths(replace(bench, config=config)) == 5
