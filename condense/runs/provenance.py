"""What a result depends on besides its configuration: versions, processor, device."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from contextlib import suppress

import torch

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


def host(runtime: Runtime) -> dict[str, str]:
    """Return what kind of computer this is, without names or paths."""
    found = {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "computes": runtime.describe(),
    }
    if runtime.device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(runtime.device)
    return found
