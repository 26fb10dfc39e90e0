"""The site of a worker is built from an order alone, and refuses storage that it does not share."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from condense.errors import StorageError
from condense.executors.placement import Placement
from condense.recipe.config import RunConfig
from condense.recipe.registry import Chosen, load_registry
from condense.recipe.resolve import configure
from condense.runs.bench import RunJob
from condense.runs.site import RunOrder

PLUGIN = """
from condense import Evaluator, EvaluatorSpec, StudentResult, hookimpl

class Same(Evaluator):
    def __init__(self, options): pass
    def evaluate(self, request):
        return StudentResult(student=request.student, accuracy=0.5, seconds=0.0, steps=1)

@hookimpl
def condense_evaluators():
    return [EvaluatorSpec(name="same", summary="one half", build=Same)]
"""


@pytest.fixture
def order(tmp_path: Path) -> RunOrder:
    file = tmp_path / "measured.py"
    file.write_text(PLUGIN)
    registry = load_registry(files=[file])
    config: RunConfig = configure(
        registry, method="random", ipc=1, students=1, device="cpu", settings={"evaluator": "same"}
    )
    return RunOrder(
        recipe=config.recipe,
        machine=config.machine,
        jobs={"": RunJob(config=config, path=tmp_path / "run")},
        folder=str(Path.cwd()),
        plugins=registry.chosen or Chosen(),
    )


def test_a_worker_loads_the_plugins_of_the_driver_also_those_of_one_file(order: RunOrder) -> None:
    travelled: RunOrder = pickle.loads(pickle.dumps(order))
    with travelled.site(Placement(device="cpu")) as site:
        assert site.registry.find("evaluator", "same").summary == "one half"
        assert len(site.dataset.classes) == 10
        assert site.runtime.loaders == 0


@pytest.mark.parametrize("lacks", ["folder", "probe"])
def test_a_worker_that_does_not_see_what_the_driver_sees_says_so(
    lacks: str, order: RunOrder, tmp_path: Path
) -> None:
    elsewhere = replace(order, **{lacks: str(tmp_path / "elsewhere")})
    with (
        pytest.raises(StorageError, match=r"does not see .*elsewhere: .* storage that all of them share"),
        elsewhere.site(Placement(device="cpu")),
    ):
        pass
