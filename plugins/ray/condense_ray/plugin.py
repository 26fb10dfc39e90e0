"""What this plugin offers to condense: the executor `ray`. Ray itself is imported when a run needs it."""

from __future__ import annotations

from condense import ExecutorSpec, hookimpl
from condense_ray.options import RayOptions

condense_api = 2


@hookimpl
def condense_executors() -> list[ExecutorSpec]:
    """Return the executor."""
    return [
        ExecutorSpec(
            name="ray",
            summary="the workers of a Ray cluster, one for each GPU or some cores of its computers",
            source="https://docs.ray.io",
            options=RayOptions,
            build="condense_ray.executor:Ray",
        )
    ]
