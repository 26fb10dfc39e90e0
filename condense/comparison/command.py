"""The command that repeats a comparison."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from condense.comparison.imported import public_name
from condense.comparison.outcome import Kind
from condense.comparison.terms import Terms
from condense.recipe.config import dataset_label
from condense.recipe.registry import Registry
from condense.recipe.settings import Settings, pairs_of
from condense.text import setting_text

# The only setting that holds a path, beside that of imported images.
FILE = "teacher.checkpoint"


def command_of(
    kind: Kind,
    methods: Sequence[str],
    terms: Terms,
    settings: Settings,
    registry: Registry,
    *,
    reference: bool,
) -> str:
    """Return the command that repeats a comparison, without data folder, device and precision.

    Plugins of one file have their names without the folder.
    """
    methods = [public_name(method) for method in methods]
    words = [kind, "--method", *methods] if kind == "sweep" else [kind, *methods]
    parts = ["condense", *words, "--dataset", dataset_label(terms.dataset)]
    parts += ["--ipc", setting_text(terms.ipcs), "--seeds", str(terms.seeds)]
    for flag, value, usual in (
        ("--seed", terms.seed, 0),
        ("--students", terms.students, 1),
        ("--protocol", terms.protocols, ()),
        ("--epochs", terms.epochs, ()),
        ("--student", terms.networks, ()),
        ("--teacher-model", terms.teachers, ()),
        ("--validation", terms.validation, 0.0),
    ):
        if value != usual:
            parts += [flag, setting_text(value)]
    for key, value in pairs_of(settings):
        shown = Path(str(value)).name if key == FILE else setting_text(value)
        parts += ["--set", f"{key}={shown}"]
    parts += ([] if reference else ["--no-reference"]) + ([] if terms.scores else ["--no-scores"])
    files = registry.chosen.files if registry.chosen else ()
    parts += [word for file in files for word in ("--plugin", Path(file).name)]
    return shlex.join(parts)
