"""The resolved settings of each row's runs, and the settings that differ between rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from condense.comparison.outcome import Distilled, Outcome
from condense.text import flat, setting_text

_BY_PLACE = ("ipc", "seed")  # these always differ between the runs of a row
_ABSENT = "–"


@dataclass(frozen=True)
class Differences:
    """The settings that differ between rows.

    keys: dotted keys of the settings.
    values: by the row's label, one text for each key.
    """

    keys: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


def settings_of(outcome: Outcome) -> dict[str, list[tuple[str, str]]]:
    """Return the settings of each row with a run, as pairs of dotted key and text, by the row's label.

    If the runs of a row differ, the text names the runs of each value.
    """
    found = {}
    for row in outcome.rows:
        runs = [run for run in outcome.distilled if run.row == row.label and run.settings]
        if runs:
            found[row.label] = _merged(runs)
    return found


def differences(settings: dict[str, list[tuple[str, str]]]) -> Differences:
    """Return the settings whose texts differ between rows; the text of a missing setting is "–"."""
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
