"""Comparisons made up from a formula, with real pictures: tests know every number in them in advance."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from condense.comparison.outcome import Cell, Column, Distilled, Outcome, Row, TeacherFacts, under_teacher
from condense.recipe.published import Published

# What the paper of wmdd would report for two students, and another paper for a third number of images.
PUBLISHED = (
    *Published.table(
        {"fashion-mini": {1: (40.2, 0.6), 10: (64.8, 0.4)}},
        student="resnet18",
        conditions="300 epochs",
        source="Table 1",
    ),
    *Published.table(
        {"fashion-mini": {10: 55.5}},
        student="convnet",
        conditions="300 epochs",
        source="another paper",
        second_hand=True,
    ),
)
TEACHER = TeacherFacts(model="convnet", accuracy=0.912, seconds=61.0, hash="abc", bytes=600_000)
MakeOutcome = Callable[..., Outcome]
SOURCES = {"wmdd": "Liu et al., ICCV 2025", "random": ""}


def picture(number: int, size: tuple[int, int] = (180, 120)) -> bytes:
    """Return a PNG file of coloured tiles."""
    image = Image.new("RGB", size, "white")
    for left in range(4, size[0] - 20, 24):
        for top in range(4, size[1] - 20, 24):
            colour = ((left * 7 + number * 53) % 256, (top * 11 + number * 29) % 256, (left + top) % 256)
            image.paste(colour, (left, top, left + 20, top + 20))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def columns_of(
    protocols: Sequence[str], epochs: Sequence[int], networks: Sequence[str]
) -> tuple[Column, ...]:
    """Return every protocol with every length and student network, each with its hard and its plain partner."""
    found = []
    for protocol in protocols:
        labels = "hard" if protocol == "dc" else "online"
        for count, network in itertools.product(epochs, networks):
            key = f"{protocol}@{count}" + (f" {network}" if len(networks) > 1 else "")
            common: dict[str, Any] = {"protocol": protocol, "epochs": count, "student": network}
            found.append(Column(key=key, labels=labels, **common))
            if labels != "hard":
                found.append(Column(key=f"{key}/hard", labels="hard", role="hard", **common))
            found.append(Column(key=f"{key}/plain", labels=labels, role="plain", **common))
    return tuple(found)


def accuracies(row: int, ipc: int, seed: int, column: Column, students: int) -> tuple[float, ...]:
    """Return fractions that fall from row to row and grow with ipc and epochs, with noise that rows share in part."""
    level = 0.45 + 0.12 * (ipc > 1) + 0.1 * (ipc > 10) + 0.05 * (column.epochs > 300)
    level -= {"score": 0.0, "hard": 0.12, "plain": 0.06}[column.role] + 0.1 * (column.protocol == "dc")
    level -= 0.011 * row - 0.02 * ((seed * 7919) % 5 - 2) / 2
    return tuple(
        round(level + 0.012 * ((row * 31 + seed * 17 + student * 13 + ipc * 5) % 7 - 3) / 3, 4)
        for student in range(students)
    )


def rows_of(
    labels: Sequence[str], teachers: Sequence[str], published: tuple[Published, ...] = ()
) -> tuple[Row, ...]:
    rows = []
    for teacher, label in itertools.product(teachers, labels):
        method, _, rest = label.partition(" ")
        settings = dict(part.split("=") for part in rest.split() if "=" in part)
        rows.append(
            Row(
                label=under_teacher(label, teacher),
                method=method,
                teacher=teacher,
                settings=settings,
                summary=f"what {method} does",
                source=SOURCES.get(method, ""),
                published=published if method == "wmdd" else (),
            )
        )
    return tuple(rows)


def made(
    folder: Path,
    *,
    labels: Sequence[str] = ("wmdd", "wmdd class-batchnorm=0.1", "mean-feature", "random"),
    ipcs: Sequence[int] = (1, 10, 50),
    seeds: Sequence[int] = (0, 1, 2),
    students: int = 2,
    protocols: Sequence[str] = ("fkd", "dc"),
    epochs: Sequence[int] = (300, 1000),
    networks: Sequence[str] = ("convnet",),
    teachers: Sequence[str] = ("",),
    failing: Sequence[str] = (),
    published: bool = False,
    size: tuple[int, int] = (180, 120),
    **changes: Any,
) -> Outcome:
    """Write pictures below `folder` and return the comparison.

    teachers: the networks of the teachers if there are several. failing: labels of the rows that fail everywhere.
    published: whether something is published for wmdd.
    """
    rows = rows_of(labels, teachers, PUBLISHED if published else ())
    columns = columns_of(protocols, epochs, networks)
    distilled, cells = [], []
    for number, label in enumerate(row.label for row in rows):
        for ipc in ipcs:
            for seed in seeds:
                place = f"runs/{number}-ipc{ipc}-seed{seed}"
                if label in failing:
                    reason = "out of memory: 12.5 GB were wanted and 8 GB are there; use a smaller batch_size"
                    distilled.append(Distilled(row=label, ipc=ipc, seed=seed, failure=reason))
                    continue
                (folder / place).mkdir(parents=True, exist_ok=True)
                (folder / place / "grid.png").write_bytes(picture(number + ipc, size))
                distilled.append(
                    Distilled(
                        row=label,
                        ipc=ipc,
                        seed=seed,
                        path=place,
                        grid=f"{place}/grid.png",
                        seconds={"squeeze": 0.0, "measure": 1.5, "recover": 0.5 + number + ipc},
                        bytes={"images": 4000 * ipc, "labels": 100},
                        settings={
                            "method": label.split()[0],
                            "ipc": ipc,
                            "seed": seed,
                            "recover": {"iterations": 500 + 100 * number, "lr": 0.1},
                            "targets": {"barycenter": {"weight": 1.0, "options": {}}},
                        },
                    )
                )
                cells += [
                    Cell(
                        row=label,
                        ipc=ipc,
                        seed=seed,
                        column=column.key,
                        accuracies=accuracies(number, ipc, seed, column, students),
                        steps=column.epochs * max(1, ipc // 5),
                        seconds=0.01 * column.epochs,
                        bytes={
                            "images": 4000 * ipc,
                            "labels": 100,
                            "teacher": 600_000 if column.labels == "online" else 0,
                        },
                    )
                    for column in columns
                ]
    values: dict[str, Any] = {
        "name": "shoot-out",
        "kind": "compare",
        "dataset": "fashion-mini",
        "classes": 10,
        "images": 5000,
        "bytes": 3_920_000,
        "ipcs": tuple(ipcs),
        "seeds": tuple(seeds),
        "students": students,
        "rows": rows,
        "columns": columns,
        "distilled": tuple(distilled),
        "cells": tuple(cells),
        "teacher": TEACHER,
        "teachers": {
            name: replace(TEACHER, model=name, accuracy=0.912 - 0.01 * number)
            for number, name in enumerate(teachers)
            if name
        },
        "reference": "random" if "random" in labels else "",
        "command": "condense compare wmdd mean-feature random --ipc 1,10,50 --seeds 3",
        "versions": {"condense": "0.1.0", "torch": "2.14"},
        "finished": True,
    }
    return Outcome(**(values | changes))


@pytest.fixture
def make_outcome(tmp_path: Path) -> MakeOutcome:
    """Return a function that makes a comparison below `tmp_path`."""

    def make(**changes: Any) -> Outcome:
        return made(tmp_path, **changes)

    return make
