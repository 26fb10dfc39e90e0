"""A folder in which comparisons of a tiny dataset are made, and a spy that counts what is computed there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import condense
from condense.comparison import cells, work
from condense.comparison.design import Design, design_comparison
from condense.comparison.outcome import Kind, Outcome
from condense.comparison.report import write
from condense.comparison.saved import to_dict
from condense.comparison.summary import Summary
from condense.comparison.work import ComparisonResult
from condense.data.dataset import RealDataset
from condense.engine.components import EvaluationRequest, FeatureTarget, StudentResult
from condense.engine.evaluate import StudentEvaluator
from condense.errors import NumericalError
from condense.models.observation import Observation
from condense.recipe.method import Method, Recover, Weighted
from condense.recipe.registry import Registry
from condense.recipe.specs import FeatureTargetSpec, NoOptions
from condense.runs import teachers
from condense.runs.pipeline import RunDriver
from condense.storage.files import write_json

WriteAll = Callable[[Outcome, Summary, Path], None]


class Failing(FeatureTarget):
    """Measures nothing and has no loss."""

    def __init__(self, options: NoOptions) -> None:
        pass

    def loss(self, synthetic: Observation, real: Observation | None) -> torch.Tensor:
        raise NumericalError("the loss is of no use")


class Broken(Failing):
    def loss(self, synthetic: Observation, real: Observation | None) -> torch.Tensor:
        raise KeyError("a plugin's own mistake")


OFFERS: Mapping[str, list[Any]] = {
    "feature_targets": [
        FeatureTargetSpec(name="failing", summary="raises CondenseError", build=Failing),
        FeatureTargetSpec(name="broken", summary="raises something else", build=Broken),
    ],
    "methods": [
        Method(
            name=name,
            summary=f"its target is {name}",
            targets={name: Weighted()},
            recover=Recover(iterations=2),
        )
        for name in ("failing", "broken")
    ],
}


@pytest.fixture(scope="session")
def offers() -> Mapping[str, list[Any]]:
    """Two methods that fail, and their targets, by hook name."""
    return OFFERS


@pytest.fixture(scope="session")
def registry(make_dataset: Callable[..., RealDataset], make_registry: Callable[..., Registry]) -> Registry:
    return make_registry(make_dataset(), **OFFERS)


class Site:
    """A folder in which comparisons are made."""

    def __init__(self, out: Path, registry: Registry) -> None:
        self.out, self.registry = out, registry

    def terms(self, *methods: str, **terms: Any) -> dict[str, Any]:
        usual = {"dataset": "tiny", "ipc": 1, "seeds": 1, "epochs": 1, "scores": False, "device": "cpu"}
        steps = {"wmdd:iterations": 2} if "wmdd" in methods else {}
        settings = {"protocol.batch_size": 4, **steps, **terms.pop("settings", {})}
        return {**usual, "settings": settings, **terms}

    def design(self, *methods: str, kind: Kind = "compare", **terms: Any) -> Design:
        return design_comparison(kind, methods, self.registry, **self.terms(*methods, **terms))

    def compare(self, *methods: str, reporter: Any = None, **terms: Any) -> ComparisonResult:
        named = methods or ("wmdd",)
        return condense.compare(
            named, out=self.out, registry=self.registry, reporter=reporter, **self.terms(*named, **terms)
        )


@pytest.fixture
def make_site() -> Callable[[Path, Registry], Site]:
    return Site


@pytest.fixture
def site(tmp_path: Path, registry: Registry) -> Site:
    return Site(tmp_path / "runs", registry)


@pytest.fixture
def write_all() -> WriteAll:
    """The function that writes all files of a comparison, pictures too."""
    return write.write_all


@pytest.fixture(autouse=True)
def _without_pictures(write_all: WriteAll, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing has tests of its own, and takes a second."""
    monkeypatch.setattr(
        write,
        "write_all",
        lambda outcome, summary, folder: write_json(folder / "compare.json", to_dict(outcome, summary)),
    )


class Spy:
    """Counts what is computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.students: list[tuple[str, int, int, bytes]] = []
        self.runs: list[str] = []
        self.teachers = 0
        self.loaded = 0
        self._patch(monkeypatch)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluate, runs = StudentEvaluator.evaluate, self.runs
        squeeze, load = teachers.squeeze, work.real_dataset

        def evaluated(evaluator: StudentEvaluator, request: EvaluationRequest) -> StudentResult:
            def build(generator: torch.Generator) -> Any:
                network = request.build_student(generator)
                first = next(network.model.parameters()).detach().numpy().tobytes()
                self.students.append((request.distilled.method, request.seed, request.student, first))
                return network

            return evaluate(evaluator, replace(request, build_student=build))

        class Ran(RunDriver):
            def steps(self, **options: Any) -> Any:
                runs.append(self.job.config.recipe.method)
                return super().steps(**options)

        def taught(*arguments: Any) -> Any:
            self.teachers += 1
            return squeeze(*arguments)

        def loaded(*arguments: Any) -> Any:
            self.loaded += 1
            return load(*arguments)

        monkeypatch.setattr(StudentEvaluator, "evaluate", evaluated)
        monkeypatch.setattr(cells, "RunDriver", Ran)
        monkeypatch.setattr(teachers, "squeeze", taught)
        monkeypatch.setattr(work, "real_dataset", loaded)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return Spy(monkeypatch)


def without_seconds(value: Any) -> Any:
    """Plain data without anything that a clock has said."""
    if isinstance(value, Mapping):
        return {key: without_seconds(item) for key, item in value.items() if "seconds" not in key}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def saved() -> Callable[[ComparisonResult], Any]:
    """Return what a comparison's compare.json holds, without anything that a clock has said."""
    return lambda result: without_seconds(json.loads((result.path / "compare.json").read_text()))
