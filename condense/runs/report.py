"""report.html: what a run found, on one self-contained page."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from condense.storage.files import write_text
from condense.storage.templates import template
from condense.text import byte_size, duration, flat, percent, setting_text


def write_report(path: Path, outcome: Mapping[str, Any], grid_png: bytes) -> None:
    """Write the page. Raises StorageError if that fails.

    outcome: a mapping with the following keys; other keys are ignored.

    - name, method, dataset, ipc, seed
    - protocol: its settings, nested
    - rows: one for each evaluated dataset, with label, accuracy_mean, accuracy_std (None for one student),
      students and accuracies; accuracies are fractions
    - teacher_accuracy: a fraction, or None
    - seconds: per stage
    - bytes: of images, labels and teacher
    - settings: nested
    - versions, notes
    - choice: `Choice.to_dict()`, or None

    grid_png: the picture of the distilled images.
    """
    write_text(path, render(outcome, grid_png))


def render(outcome: Mapping[str, Any], grid_png: bytes) -> str:
    """Return the page as text. Every text from outside is escaped, and the page refers to nothing outside itself."""
    seconds = dict(outcome["seconds"])
    page = template(
        "runs/report.html.j2", percent=percent, duration=duration, size=byte_size, setting=setting_text
    )
    return page.render(
        run=outcome,
        bars=_bars(outcome),
        choice=_choice(outcome.get("choice")),
        protocol=flat(outcome["protocol"]),
        settings=flat(outcome["settings"]),
        versions=dict(outcome.get("versions", {})),
        notes=list(outcome.get("notes", ())),
        total_seconds=sum(seconds.values()),
        grid="data:image/png;base64," + base64.b64encode(grid_png).decode("ascii"),
    )


def _bars(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the table of accuracies, with the teacher last."""
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


def _choice(choice: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the table of the candidates that students judged, or None."""
    if not choice:
        return None
    rows = [
        {
            "label": f"{found['start']}, after {found['after']} steps"
            if found["after"]
            else f"{found['start']}, the start",
            "mean": statistics.fmean(found["accuracies"]),
            "kept": found == choice["kept"],
        }
        for found in choice["judged"]
    ]
    return {
        "rows": rows,
        "students": len(choice["judged"][0]["accuracies"]),
        "epochs": choice["epochs"],
        "images": choice["images"],
        "judged": bool(choice["kept"]["accuracies"]),
    }
