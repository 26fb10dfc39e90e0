"""Repeat an earlier run, also one that somebody else made. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from condense.errors import checked_path
from condense.recipe.config import RunConfig
from condense.recipe.registry import Registry
from condense.recipe.resolve import run_path
from condense.runs.foreign import check_run_wishes
from condense.runs.journal import earlier_config, is_own


@dataclass(frozen=True)
class WantedRun:
    """A run that is to begin or to go on.

    config: its configuration. path: its run directory.
    trusted: whether it may fetch a dataset: this user chose the settings, or said yes to them.
    """

    config: RunConfig
    path: Path
    trusted: bool


def repeated(
    earlier: Path,
    registry: Registry,
    *,
    out: Path,
    name: str | None = None,
    resume: bool = False,
    data_dir: str = "",
    yes: bool = False,
) -> WantedRun:
    """Return what an earlier run leads to; the arguments are those of `condense.repeat`.

    Raises StorageError, PluginError or OptionError for a run.json that is none or does not fit, and OptionError, which
    says what its settings ask for, if somebody else made it and there was no yes.
    """
    config = earlier_config(checked_path(earlier), registry)
    trusted = yes or is_own(earlier)
    if data_dir:
        config = replace(config, machine=replace(config.machine, data_dir=data_dir))
    if not trusted:
        check_run_wishes(earlier, config, registry, chosen={"data_dir"} if data_dir else ())
    if resume:
        return WantedRun(config, earlier if earlier.is_dir() else earlier.parent, trusted)
    return WantedRun(config, run_path(config.recipe, out, name, resume=False), trusted)
