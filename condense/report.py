"""report.html: what a run found, on one page that needs nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from condense.store import write_text

_UNITS = ("B", "kB", "MB", "GB", "TB")


def write_report(path: Path, outcome: Mapping[str, Any], grid_png: bytes) -> None:
    """Write the page. Raises StorageError where that fails.

    outcome: name, method, dataset, ipc, seed; protocol (settings, nested); rows, one for each small dataset
    that was evaluated: label, accuracy_mean, accuracy_std (None for one student), students, accuracies as
    fractions; teacher_accuracy or None; seconds per stage; bytes of images, labels, teacher; settings (nested);
    versions; notes. What else it holds is left out.
    grid_png: the picture of the distilled images.
    """
    write_text(path, render(outcome, grid_png))


def render(outcome: Mapping[str, Any], grid_png: bytes) -> str:
    """The page as text. Every text from outside is escaped; the page refers to nothing outside itself."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("condense"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, duration=duration, size=byte_size, setting=setting)
    seconds = dict(outcome["seconds"])
    return environment.get_template("report.html.j2").render(
        run=outcome,
        bars=_bars(outcome),
        protocol=flat(outcome["protocol"]),
        settings=flat(outcome["settings"]),
        versions=dict(outcome.get("versions", {})),
        notes=list(outcome.get("notes", ())),
        total_seconds=sum(seconds.values()),
        grid="data:image/png;base64," + base64.b64encode(grid_png).decode("ascii"),
    )


def _bars(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of accuracies, the teacher last."""
    rows = [
        {
            "label": row["label"],
            "mean": row["accuracy_mean"],
            "std": row["accuracy_std"] if row["students"] > 1 else None,
            "students": row["students"],
            "kind": "own" if position == 0 else "other",
        }
        for position, row in enumerate(outcome["rows"])
    ]
    if outcome["teacher_accuracy"] is not None:
        teacher = {"label": "teacher, on all real images", "mean": outcome["teacher_accuracy"], "std": None}
        rows.append({**teacher, "students": None, "kind": "teacher"})
    return rows


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as pairs of dotted key and value. Items of a list go by their names."""
    pairs: list[tuple[str, Any]] = []
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            pairs += flat(value, f"{dotted}.")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            names = [str(item["name"]) for item in value if isinstance(item, Mapping) and "name" in item]
            if len(set(names)) < len(value):
                names = [str(position) for position in range(len(value))]
            pairs += flat(dict(zip(names, value, strict=True)), f"{dotted}.")
        else:
            pairs.append((dotted, value))
    return pairs


def percent(fraction: float) -> str:
    """0.8523 as "85.2"."""
    return f"{100 * fraction:.1f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def byte_size(count: int) -> str:
    """Bytes in decimal units: 512 B, 31.7 kB, 44.8 MB."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.95 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def setting(value: Any) -> str:
    """One value of a setting as text."""
    if isinstance(value, str):
        return value or "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "(none)" if value is None else json.dumps(value, ensure_ascii=False, default=str)
