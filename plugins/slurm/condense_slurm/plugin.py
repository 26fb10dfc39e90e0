"""What this plugin offers to condense: the executor `submitit`. submitit itself is imported when a run needs it."""

from __future__ import annotations

from condense import ExecutorSpec, hookimpl
from condense_slurm.options import SubmititOptions

condense_api = 2


@hookimpl
def condense_executors() -> list[ExecutorSpec]:
    """Return the executor."""
    return [
        ExecutorSpec(
            name="submitit",
            summary="jobs of a SLURM cluster, each with a GPU or some cores",
            source="https://github.com/facebookincubator/submitit",
            options=SubmititOptions,
            build="condense_slurm.executor:Submitit",
        )
    ]
