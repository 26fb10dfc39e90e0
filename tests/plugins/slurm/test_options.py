"""What jobs ask SLURM for."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("condense_slurm", reason="this installation is older than the plugin")

from condense_slurm.options import SubmititOptions

from condense.errors import OptionError
from condense.executors.catalog import chosen_executor
from condense.recipe.registry import default_registry

EACH = {"name": "condense", "timeout_min": 240, "nodes": 1, "tasks_per_node": 1, "cpus_per_task": 2}


@pytest.mark.parametrize(
    ("options", "cuda", "further"),
    [
        ({}, False, {}),
        ({"memory": 16, "gpus": 4}, False, {"mem_gb": 16.0}),
        ({}, True, {"gpus_per_node": 1}),
        (
            {"gpus": 0, "sbatch": "--gres=gpu:a100:1 --exclusive"},
            True,
            {"slurm_additional_parameters": {"gres": "gpu:a100:1", "exclusive": True}},
        ),
        (
            {"partition": "p", "account": "a", "qos": "q", "constraint": "c"},
            False,
            {"slurm_partition": "p", "slurm_account": "a", "slurm_qos": "q", "slurm_constraint": "c"},
        ),
        (
            {"setup": "module load cuda"},
            False,
            {"slurm_setup": ["module load cuda"], "local_setup": ["module load cuda"]},
        ),
    ],
)
def test_jobs_ask_for_what_was_chosen_and_for_nothing_else(
    options: Any, cuda: bool, further: dict[str, object]
) -> None:
    assert SubmititOptions(**options).parameters(cuda=cuda) == {**EACH, **further}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "workers must be at least 1, not 0"),
        ({"time": 0}, "time must be at least 1"),
        ({"memory": -1}, "memory must be at least 0"),
        ({"sbatch": "-p gpu"}, "of the form --name=value or --name, not '-p'"),
        ({"sbatch": "--gres 'gpu"}, "sbatch"),
        ({"folder": ""}, "folder must be named"),
        ({"cluster": "debug"}, "cluster must be one of slurm, local"),
    ],
)
def test_what_jobs_cannot_ask_for_is_refused(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SubmititOptions(**options)


def test_options_are_read_as_they_are_written_on_the_command_line() -> None:
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    text = (
        "submitit(partition=gpu,time=90,memory=7.5,sbatch=--nodelist=a,b --exclusive,setup=module load cuda)"
    )
    found: Any = chosen_executor(default_registry(), text, workers=16)
    assert found.options == SubmititOptions(
        workers=16,
        partition="gpu",
        time=90,
        memory=7.5,
        sbatch="--nodelist=a,b --exclusive",
        setup="module load cuda",
    )
    with pytest.raises(OptionError, match=r"submitit\.address"):
        chosen_executor(default_registry(), "submitit", address="here")
