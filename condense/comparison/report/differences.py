"""The resolved settings of a comparison's runs: what differs between the rows, and what each row has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from condense.comparison.outcome import Distilled, Outcome
from condense.text import flat, setting_text

_BY_PLACE = ("ipc", "seed")  # what differs between the runs of a row as a matter of course
_ABSENT = "–"


@dataclass(frozen=True)
class Differences:
    """keys: dotted, of settings that not all rows share. values: by row's label, one text for each key."""

    keys: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


def settings_of(outcome: Outcome) -> dict[str, list[tuple[str, str]]]:
    """By row's label its settings as pairs of dotted key and text; rows without a run are left out.

    Where the runs of a row differ, the text says which have what.
    """
    found = {}
    for row in outcome.rows:
        runs = [run for run in outcome.distilled if run.row == row.label and run.settings]
        if runs:
            found[row.label] = _merged(runs)
    return found


def differences(settings: dict[str, list[tuple[str, str]]]) -> Differences:
    """Settings whose text is not the same in every row; a row that lacks one has "–"."""
    tables = {label: dict(pairs) for label, pairs in settings.items()}
    every = dict.fromkeys(key for table in tables.values() for key in table)
    keys = tuple(
        key
        for key in every
        if key not in _BY_PLACE and len({table.get(key, _ABSENT) for table in tables.values()}) > 1
    )
    values = {label: tuple(table.get(key, _ABSENT) for key in keys) for label, table in tables.items()}
    return Differences(keys, values)


def _merged(runs: Sequence[Distilled]) -> list[tuple[str, str]]:
    tables = [dict(flat(run.settings)) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    return [(key, _text(key, runs, tables)) for key in keys]


def _text(key: str, runs: Sequence[Distilled], tables: Sequence[dict[str, Any]]) -> str:
    places: dict[str, list[str]] = {}
    for run, table in zip(runs, tables, strict=True):
        text = setting_text(table[key]) if key in table else _ABSENT
        places.setdefault(text, []).append(f"ipc {run.ipc} seed {run.seed}")
    if len(places) == 1 or key in _BY_PLACE:
        return ", ".join(places)
    return "; ".join(f"{text} ({', '.join(where)})" for text, where in places.items())
