"""What a comparison is called, and the command that repeats it."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from condense.comparison.terms import Terms
from condense.config import RunConfig, dataset_label
from condense.settings import Settings, pairs_of

if TYPE_CHECKING:
    from condense.comparison.design import Design

_FILE = "teacher.checkpoint"  # the one setting that says where a file lies


def command_line(words: Sequence[str], terms: Terms, settings: Settings, *, floor: bool) -> str:
    """The words that repeat it; where data lies and who computes is left out, for that differs from place to place."""
    parts = ["condense", *words, "--dataset", dataset_label(terms.dataset), "--ipc", _listed(terms.ipcs)]
    parts += ["--seeds", str(terms.seeds)]
    for flag, value, usual in (
        ("--seed", terms.seed, 0),
        ("--students", terms.students, 1),
        ("--protocol", _listed(terms.protocols), ""),
        ("--epochs", _listed(terms.epochs), ""),
        ("--student", terms.student, None),
        ("--validation", terms.validation, 0.0),
    ):
        if value != usual:
            parts += [flag, str(value)]
    for key, value in pairs_of(settings):
        shown = Path(str(value)).name if key == _FILE else _setting(value)
        parts += ["--set", f"{key}={shown}"]
    parts += ([] if floor else ["--no-floor"]) + ([] if terms.scores else ["--no-scores"])
    return shlex.join(parts)


def _setting(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return (";" if any(isinstance(item, (list, tuple)) for item in value) else ",").join(
            map(_setting, value)
        )
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _listed(values: Sequence[object]) -> str:
    return ",".join(map(str, values))


def made_up_name(design: Design) -> str:
    """The same for the same comparison, and another for any other."""
    made_of = [
        design.kind,
        [[row.label, row.method] for row in design.rows],
        [[course.column, _told(course.config)] for course in design.courses],
        [_told(config) for config in design.runs.values()],
        design.students,
    ]
    digest = hashlib.sha256(msgspec.json.encode(made_of, order="sorted")).hexdigest()[:6]
    methods = dict.fromkeys(row.method for row in design.rows)
    stem = "-".join([design.kind, *methods, design.shared.dataset.name.partition(":")[0]])
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', stem)[:60].strip('-')}-{digest}"


def _told(config: RunConfig) -> dict[str, Any]:
    """A configuration as plain data, without where things lie."""
    return replace(config, data_dir="").to_dict()
