"""The design of a comparison: every row, column, seed and setting, resolved before any work. Imports no torch."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from condense.comparison.columns import Course, make_courses, shared_config
from condense.comparison.outcome import Kind, Row
from condense.comparison.rows import Recipe, Rows
from condense.comparison.terms import Terms
from condense.errors import OptionError
from condense.recipe.config import RunConfig, dataset_label, resolve
from condense.recipe.registry import Registry
from condense.recipe.settings import Settings, flatten, pairs_of
from condense.text import setting_text

# What rows may say of themselves, and is taken from one place for all of them.
_ONE_PLACE = ("teacher", "student", "evaluator")
# Settings of a teacher that do not change its weights, or are fixed here.
_NO_MATTER = ("teacher.seed", "teacher.measure_batch")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One piece of work: a row, distilled at one images-per-class with one seed, and the students on it."""

    row: str
    ipc: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Design:
    """A comparison about to be made. name: of its folder. rows, floor: as in `Outcome`. courses: its columns.

    runs: how each place is distilled. shared: the configuration that the dataset and the teacher are taken from.
    command: how to repeat it.
    """

    kind: Kind
    name: str
    rows: tuple[Row, ...]
    floor: str
    courses: tuple[Course, ...]
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...]
    students: int
    runs: Mapping[Place, RunConfig]
    shared: RunConfig
    notes: tuple[str, ...]
    command: str

    def places(self) -> Iterator[Place]:
        """In the order of work: seed by seed, so that a whole table is there early."""
        for seed in self.seeds:
            for ipc in self.ipcs:
                for row in self.rows:
                    yield Place(row=row.label, ipc=ipc, seed=seed)


def make_design(
    kind: Kind, found: Rows, terms: Terms, registry: Registry, *, words: Sequence[str], settings: Settings
) -> Design:
    """Resolve everything. words: behind `condense`, in the command that repeats this, before its options.

    Raises CondenseError for whatever is wrong with names or settings.
    """
    shared_settings = list(found.shared)
    if terms.student is not None:
        if any(key == "student.model" for key, _ in shared_settings):
            raise OptionError("--student and --set student.model say the same thing; give one of them")
        shared_settings.insert(0, ("student.model", terms.student))
    first = registry.method(found.recipes[0].method)
    courses = make_courses(
        registry,
        dataset=terms.dataset,
        protocols=terms.protocols or (first.protocol,),
        epochs=terms.epochs,
        settings=shared_settings,
        seed=terms.seed,
        scores=terms.scores and bool(found.floor),
    )
    shared = _with_terms(courses[0].config, terms)
    courses = tuple(replace(course, config=_with_terms(course.config, terms)) for course in courses)
    usual = shared_config(registry, terms.dataset, courses[0].column.protocol, (), terms.seed)
    seeds = tuple(range(terms.seed, terms.seed + terms.seeds))
    notes = list(found.notes)
    if not terms.protocols:
        notes.append(
            f"protocol {first.protocol}, the one that {first.name} is reported under; --protocol chooses others"
        )
    if terms.scores and not found.floor:
        notes.append("DD-Ranking's scores are left out: they need random real images as a row, see --floor")
    runs: dict[Place, RunConfig] = {}
    for recipe in found.recipes:
        for ipc in terms.ipcs:
            asked = _resolved(recipe, terms, ipc, registry)
            notes += [
                note for note in _other_wishes(recipe.method, asked, usual, shared) if note not in notes
            ]
            config = _with_terms(replace(asked, teacher=shared.teacher, dataset=shared.dataset), terms)
            for seed in seeds:
                runs[Place(row=recipe.label, ipc=ipc, seed=seed)] = replace(config, seed=seed)
    rows = tuple(
        _row(recipe, runs[Place(row=recipe.label, ipc=terms.ipcs[0], seed=seeds[0])], registry)
        for recipe in found.recipes
    )
    design = Design(
        kind=kind,
        name=terms.name or "",
        rows=rows,
        floor=found.floor,
        courses=courses,
        ipcs=terms.ipcs,
        seeds=seeds,
        students=terms.students,
        runs=runs,
        shared=shared,
        notes=tuple(notes),
        command=command_line(words, terms, settings, floor=bool(found.floor)),
    )
    return design if terms.name else replace(design, name=made_up_name(design))


def _with_terms(config: RunConfig, terms: Terms) -> RunConfig:
    """students and reference: a run of a comparison distils and no more."""
    try:
        return replace(
            config,
            students=0,
            reference=False,
            validation=terms.validation,
            data_dir=terms.data_dir,
            device=terms.device,
            precision=terms.precision,
        )
    except ValueError as error:
        raise OptionError(str(error)) from error


def _resolved(recipe: Recipe, terms: Terms, ipc: int, registry: Registry) -> RunConfig:
    try:
        return resolve(
            registry,
            method=recipe.method,
            dataset=terms.dataset,
            ipc=ipc,
            settings=recipe.settings,
            without=recipe.without,
        )
    except OptionError as error:
        raise OptionError(f"row {recipe.label!r}: {error}") from error


def _other_wishes(method: str, asked: RunConfig, usual: RunConfig, shared: RunConfig) -> list[str]:
    """What a method asks for beside the recipe and does not get, as every row has the same; for people.

    asked: with its presets. usual: what the dataset says for every method. shared: what all rows get.
    """
    sections = [*_ONE_PLACE, *(["protocol"] if asked.protocol.name == usual.protocol.name else [])]
    notes = []
    for section in sections:
        before, plain, now = (flatten(getattr(config, section), section) for config in (asked, usual, shared))
        wanted = {
            key: value
            for key, value in before.items()
            if value not in (plain.get(key), now.get(key)) and key not in _NO_MATTER
        }
        if wanted:
            notes.append(_note(method, wanted, now, section))
    return notes


def _note(method: str, wanted: Mapping[str, Any], now: Mapping[str, Any], section: str) -> str:
    listed = [
        f"{key}={value} ({now[key]} here)" if key in now else f"{key}={value}"
        for key, value in wanted.items()
    ]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return f"{method} asks for {', '.join(listed[:3])}{more}; every row has the same {section}"


def _row(recipe: Recipe, config: RunConfig, registry: Registry) -> Row:
    """As plain data, the settings as they came to be."""
    method = registry.method(recipe.method)
    flat = flatten(config)
    settings: dict[str, Any] = {}
    for key, value in recipe.settings:
        full = key if key in flat else f"recover.{key}"
        settings[full if full in flat else key] = flat.get(full, value)
    return Row(
        label=recipe.label,
        method=recipe.method,
        settings=settings,
        without=recipe.without,
        summary=method.summary,
        source=method.source,
    )


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
        shown = Path(str(value)).name if key == _FILE else setting_text(value)
        parts += ["--set", f"{key}={shown}"]
    parts += ([] if floor else ["--no-floor"]) + ([] if terms.scores else ["--no-scores"])
    return shlex.join(parts)


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
