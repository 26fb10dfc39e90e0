"""The runtime of a machine's settings."""

from __future__ import annotations

from dataclasses import replace

from condense.recipe.config import Machine
from condense.runtime import Reporter, Runtime, make_runtime


def runtime_of(machine: Machine, reporter: Reporter | None = None) -> Runtime:
    """Return the runtime that a machine's settings ask for. Raises OptionError as `make_runtime` does."""
    runtime = make_runtime(
        machine.device, machine.precision, reporter, machine.loaders, machine.jpeg_decoder, machine.compile
    )
    return replace(runtime, keep_minutes=machine.keep_minutes)
