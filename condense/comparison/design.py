"""The design of a comparison: every row, column, seed and setting, resolved before any work starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from condense.comparison.columns import ColumnSetup, SharedSettings, make_columns, shared_settings
from condense.comparison.outcome import Kind, Row
from condense.comparison.rows import AskedRow, rows_of
from condense.comparison.terms import TermOptions, Terms, terms_of
from condense.errors import OptionError
from condense.recipe.config import Machine, Recipe, RunConfig, dataset_label, digest
from condense.recipe.method import Use
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure
from condense.recipe.settings import Pair, Settings, flatten, pairs_of
from condense.text import setting_text

# Settings of a teacher that do not change its weights, or that are fixed here.
_NO_MATTER = ("teacher.seed", "teacher.measure_batch")
# The only setting that holds a path.
_FILE = "teacher.checkpoint"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One piece of work: a row distilled for one ipc and seed, and the students that learn from it."""

    row: str
    ipc: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Design:
    """A comparison, fully resolved and not yet carried out.

    kind: compare, sweep or ablate.
    name: the name of its folder.
    rows, reference: as in `Outcome`.
    columns: the columns, with how their students are trained.
    ipcs: images per class.
    seeds: every row is distilled once for each.
    students: trained for each seed and column.
    runs: how each place is distilled.
    shared: what all rows have in common; the protocol is that of the first column.
    validation: as in `condense.recipe.config.Recipe`.
    machine: where it is computed.
    notes: what the user should know.
    command: the command that repeats it.
    """

    kind: Kind
    name: str
    rows: tuple[Row, ...]
    reference: str
    columns: tuple[ColumnSetup, ...]
    ipcs: tuple[int, ...]
    seeds: tuple[int, ...]
    students: int
    runs: Mapping[Place, RunConfig]
    shared: SharedSettings
    validation: float
    machine: Machine
    notes: tuple[str, ...]
    command: str

    @property
    def recipe(self) -> Recipe:
        """The recipe of the first place; its dataset, teacher and validation are those of every place."""
        return next(iter(self.runs.values())).recipe

    def places(self) -> Iterator[Place]:
        """Yield the places in the order of work: seed by seed, so that the whole table has early results."""
        for seed in self.seeds:
            for ipc in self.ipcs:
                for row in self.rows:
                    yield Place(row=row.label, ipc=ipc, seed=seed)


def design_comparison(
    kind: Kind,
    methods: str | Sequence[str],
    registry: Registry,
    *,
    settings: Settings = (),
    reference: bool = True,
    **terms: Unpack[TermOptions],
) -> Design:
    """Resolve everything about a comparison. The arguments are those of `condense.compare`, `sweep` and `ablate`.

    Raises CondenseError if a name or a setting is wrong.
    """
    named = [methods] if isinstance(methods, str) else list(methods)
    checked = terms_of(**terms)
    found = rows_of(kind, named, settings, dataset=checked.dataset, reference=reference, registry=registry)
    first = registry.method(found.asked[0].method)
    names = checked.protocols or (first.protocol,)
    given = _shared_pairs(found.shared, checked)
    shared = [shared_settings(registry, checked.dataset, name, given, checked.seed) for name in names]
    columns = make_columns(
        registry,
        shared,
        epochs=checked.epochs,
        students=checked.students,
        scores=checked.scores and bool(found.reference),
    )
    notes = list(found.notes)
    if not checked.protocols:
        notes.append(
            f"protocol {first.protocol}, the one that {first.name} is reported under; --protocol chooses others"
        )
    if checked.scores and not found.reference:
        notes.append(
            "DD-Ranking's scores are left out: they need random real images as a row, see --reference"
        )
    usual = shared_settings(registry, checked.dataset, names[0], (), checked.seed)
    seeds = tuple(range(checked.seed, checked.seed + checked.seeds))
    runs: dict[Place, RunConfig] = {}
    for row in found.asked:
        for ipc in checked.ipcs:
            asked = _resolved(row, shared[0].dataset, checked, ipc, registry)
            notes += _other_wishes(row.method, asked, usual, shared[0])
            runs |= _of_seeds(row.label, asked, shared[0], seeds)
    design = Design(
        kind=kind,
        name=checked.name or "",
        rows=tuple(
            _row(row, runs[Place(row=row.label, ipc=checked.ipcs[0], seed=seeds[0])].recipe, registry)
            for row in found.asked
        ),
        reference=found.reference,
        columns=columns,
        ipcs=checked.ipcs,
        seeds=seeds,
        students=checked.students,
        runs=runs,
        shared=shared[0],
        validation=checked.validation,
        machine=next(iter(runs.values())).machine,
        notes=tuple(dict.fromkeys(notes)),
        command=_command(kind, named, checked, settings, reference=bool(found.reference)),
    )
    return design if checked.name else replace(design, name=made_up_name(design))


def _of_seeds(
    row: str, asked: RunConfig, shared: SharedSettings, seeds: Sequence[int]
) -> dict[Place, RunConfig]:
    """Return the configuration of each seed of a row, with the dataset and teacher that all rows share."""
    recipe = replace(asked.recipe, teacher=shared.teacher, dataset=shared.dataset)
    return {
        Place(row=row, ipc=recipe.ipc, seed=seed): replace(asked, recipe=replace(recipe, seed=seed))
        for seed in seeds
    }


def _shared_pairs(settings: Sequence[Pair], terms: Terms) -> list[Pair]:
    """Return the settings of what all rows share. Raises OptionError for one that is given in two ways."""
    keys = [key for key, _ in settings]
    if terms.epochs and "protocol.epochs" in keys:
        raise OptionError("--epochs and --set protocol.epochs say the same thing; give one of them")
    if terms.student is None:
        return list(settings)
    if "student.model" in keys:
        raise OptionError("--student and --set student.model say the same thing; give one of them")
    return [("student.model", terms.student), *settings]


def _resolved(row: AskedRow, dataset: Use, terms: Terms, ipc: int, registry: Registry) -> RunConfig:
    """Return the configuration of a row's runs. They distil and train no students."""
    of_dataset = [(f"dataset.{key}", value) for key, value in dataset.options.items()]
    try:
        return configure(
            registry,
            method=row.method,
            dataset=terms.dataset,
            ipc=ipc,
            settings=(*of_dataset, *row.settings),
            without=row.without,
            students=0,
            reference=False,
            validation=terms.validation,
            data_dir=terms.data_dir,
            device=terms.device,
            precision=terms.precision,
            workers=terms.workers,
            jpeg_decoder=terms.jpeg_decoder,
        )
    except OptionError as error:
        raise OptionError(f"row {row.label!r}: {error}") from error


def _other_wishes(method: str, asked: RunConfig, usual: SharedSettings, shared: SharedSettings) -> list[str]:
    """Return notes on what a method asks for and does not get, because every row has the same.

    asked: the method with its presets.
    usual: what the dataset sets for every method.
    shared: what all rows get.
    """
    evaluation = asked.evaluation
    wanted = {
        "teacher": asked.recipe.teacher,
        "student": evaluation.student,
        "evaluator": evaluation.evaluator,
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


def _row(row: AskedRow, recipe: Recipe, registry: Registry) -> Row:
    """Return a row as plain data, with its resolved settings."""
    method = registry.method(row.method)
    flat = flatten(recipe)
    settings: dict[str, Any] = {}
    for key, value in row.settings:
        full = key if key in flat else f"recover.{key}"
        settings[full if full in flat else key] = flat.get(full, value)
    return Row(
        label=row.label,
        method=row.method,
        settings=settings,
        without=row.without,
        summary=method.summary,
        source=method.source,
    )


def _command(kind: Kind, methods: Sequence[str], terms: Terms, settings: Settings, *, reference: bool) -> str:
    """Return the command that repeats a comparison, without data folder, device and precision."""
    words = [kind, "--method", *methods] if kind == "sweep" else [kind, *methods]
    parts = ["condense", *words, "--dataset", dataset_label(terms.dataset)]
    parts += ["--ipc", setting_text(terms.ipcs), "--seeds", str(terms.seeds)]
    for flag, value, usual in (
        ("--seed", terms.seed, 0),
        ("--students", terms.students, 1),
        ("--protocol", terms.protocols, ()),
        ("--epochs", terms.epochs, ()),
        ("--student", terms.student, None),
        ("--validation", terms.validation, 0.0),
    ):
        if value != usual:
            parts += [flag, setting_text(value)]
    for key, value in pairs_of(settings):
        shown = Path(str(value)).name if key == _FILE else setting_text(value)
        parts += ["--set", f"{key}={shown}"]
    parts += ([] if reference else ["--no-reference"]) + ([] if terms.scores else ["--no-scores"])
    return shlex.join(parts)


def made_up_name(design: Design) -> str:
    """Return a folder name that is the same for equal comparisons and differs for all others."""
    made_of = [
        design.kind,
        [[row.label, row.method] for row in design.rows],
        [[setup.column, setup.evaluation] for setup in design.columns],
        [config.recipe for config in design.runs.values()],
        design.students,
    ]
    methods = dict.fromkeys(row.method for row in design.rows)
    stem = "-".join([design.kind, *methods, design.shared.dataset.name.partition(":")[0]])
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', stem)[:60].strip('-')}-{digest(made_of)[:6]}"
