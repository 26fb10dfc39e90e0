"""What a result depends on besides its configuration: versions, processor, device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from contextlib import suppress

import torch

from condense.recipe.config import Evaluation, RunConfig
from condense.recipe.registry import HOST, Registry
from condense.runtime import Runtime
from condense.version import host_version


def versions(registry: Registry) -> dict[str, str]:
    """Return the versions of Python, of the packages that compute, and of every plugin in use."""
    found = {"python": platform.python_version(), "condense": host_version()}
    for package in ("torch", "torchvision", "timm", "pot"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    for status in registry.plugins:
        if status.name != HOST and not status.problem:
            found[f"plugin {status.name}"] = status.version
    return found


def host(runtime: Runtime, config: RunConfig, threads: int = 0, alone: int = 0) -> dict[str, str]:
    """Return what kind of computer this is, without names or paths, and what of a run is compiled on it.

    threads: of each worker; 0 for those of this process. alone: as in `Crew`.
    """
    teacher = f" ({alone} for the teacher)" if alone not in (0, threads) else ""
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "threads": f"{threads or torch.get_num_threads()}{teacher}",
        "computes": runtime.describe(),
        "compiled": ", ".join(stages_compiled(runtime, config)),
    }
    if runtime.device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(runtime.device)
    return found


def other_threads(before: str, host: Mapping[str, str]) -> str:
    """Return a note if finished work was made with another number of threads than what is left will be, or "".

    before: `threads` of the earlier `host`; several have commas between them. On a GPU, their number changes nothing.
    """
    if before == host["threads"] or not host["computes"].startswith("cpu"):
        return ""
    return (
        f"threads of each worker: {before} for what is finished, {host['threads']} for the rest; on a CPU, the last "
        "bits of sums depend on them (OMP_NUM_THREADS, or threads=N of an executor, keeps their number)"
    )


def with_threads(before: str, now: str) -> str:
    """Return the threads of a run that goes on: those of earlier attempts and those of this one, each once."""
    return ", ".join(dict.fromkeys([*before.split(", "), now]))


def stages_compiled(runtime: Runtime, config: RunConfig) -> list[str]:
    """Return the stages of a run in which networks are compiled: "recover", "select" and "evaluate"."""
    recipe = config.recipe
    steps = {"recover": recipe.recover.iterations}
    if recipe.select.students:
        steps["select"] = recipe.select.epochs
    if config.evaluation.students:
        steps["evaluate"] = config.evaluation.protocol.epochs
    return [stage for stage, count in steps.items() if count and runtime.for_steps(count).compile != "off"]


def students_label(evaluation: Evaluation, runtime: Runtime) -> str:
    """Return the name for files of an evaluation's students, who differ if they are compiled."""
    compiled = runtime.for_steps(evaluation.protocol.epochs).compile != "off"
    return f"{evaluation.label}-compiled" if compiled else evaluation.label
