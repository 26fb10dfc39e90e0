"""What the user should know about a comparison before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from condense.comparison.columns import ColumnSetup, SharedSettings
from condense.comparison.rows import AskedRow, Rows
from condense.comparison.terms import Terms
from condense.recipe.config import RunConfig
from condense.recipe.effects import refuse_without_effect, without_effect
from condense.recipe.method import Method
from condense.recipe.registry import Registry
from condense.recipe.settings import Settings, flatten, pairs_of

# Settings of a teacher that do not change its weights, or that are fixed here.
_NO_MATTER = ("teacher.seed", "teacher.measure_batch", "teacher.check")
# The number of rows that a note names.
_NAMED = 3


def choices(terms: Terms, rows: Rows, leading: Method, columns: Sequence[ColumnSetup]) -> list[str]:
    """Return notes on what was chosen for the user. leading: the method whose protocol it is if none was named."""
    notes = []
    if not terms.protocols:
        notes.append(
            f"protocol {leading.protocol}, the one that {leading.name} is reported under; --protocol chooses others"
        )
    if terms.scores and not rows.reference:
        notes.append(
            "DD-Ranking's scores are left out: they need random real images as a row, see --reference"
        )
    if len(terms.teachers) > 1 and not terms.networks:
        students = ", ".join(dict.fromkeys(setup.column.student for setup in columns))
        notes.append(
            f"the students are {students} in every row, whatever its teacher; --student chooses others"
        )
    return notes


def other_wishes(
    method: str, asked: RunConfig, usual: SharedSettings, shared: SharedSettings, *, several: bool
) -> list[str]:
    """Return notes on what a method asks for and does not get, because every row has the same.

    asked: the method with its presets.
    usual: what the dataset sets for every method.
    shared: what all rows get.
    several: whether the rows have several teachers' networks, so that no wish for one of them is to be named.
    """
    evaluation = asked.evaluation
    wanted = {
        "teacher": asked.recipe.teacher,
        "student": evaluation.student,
        "evaluator": evaluation.evaluator,
        "dataset": asked.recipe.dataset,
    }
    if evaluation.protocol.name == usual.protocol.name:
        wanted["protocol"] = evaluation.protocol
    notes = []
    for section, value in wanted.items():
        before = flatten(value, section)
        plain, now = (flatten(getattr(settings, section), section) for settings in (usual, shared))
        differing = {
            key: value
            for key, value in before.items()
            if value not in (plain.get(key), now.get(key)) and key not in _NO_MATTER
        }
        if several:
            differing = {
                key: value for key, value in differing.items() if not key.startswith("teacher.model")
            }
        if differing:
            notes.append(_note(method, differing, now, section))
    return notes


def _note(method: str, wanted: Mapping[str, Any], now: Mapping[str, Any], section: str) -> str:
    listed = [
        f"{key}={value} ({now[key]} here)" if key in now else f"{key}={value}"
        for key, value in wanted.items()
    ]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"{method} asks for {', '.join(listed[:3])}{more}; every row has the same {section}"


def unread(
    resolved: Sequence[tuple[AskedRow, RunConfig]], settings: Settings, registry: Registry
) -> list[str]:
    """Return a note for each of the user's settings that some rows do not read.

    resolved: each row with its configurations. Raises OptionError for a setting that none of its rows reads.
    """
    notes = []
    for key in dict.fromkeys(written.rpartition(":")[2] for written, _ in pairs_of(settings)):
        having = [(row, config) for row, config in resolved if key in dict(row.settings)]
        refuse_without_effect([config for _, config in having], [key], registry)
        idle: dict[str, list[str]] = {}
        for row, config in having:
            for reason in without_effect(config, [key], registry).values():
                if row.label not in idle.setdefault(reason, []):
                    idle[reason].append(row.label)
        for reason, labels in idle.items():
            more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
            notes.append(f"{key} has no effect in {', '.join(labels[:_NAMED])}{more}: {reason}")
    return notes
