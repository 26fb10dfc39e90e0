"""The design of a comparison: every row, column, seed and setting, resolved before any work starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Unpack

from condense.comparison.columns import (
    ColumnSetup,
    SharedSettings,
    make_columns,
    shared_settings,
    teachers_of,
)
from condense.comparison.command import FILE, command_of
from condense.comparison.imported import IMPORTED_KEYS, check_imported
from condense.comparison.outcome import Kind, Row, under_teacher
from condense.comparison.remarks import choices, other_wishes, unread
from condense.comparison.rows import AskedRow, check_rows, reported_under, rows_of
from condense.comparison.terms import TermOptions, Terms, terms_of
from condense.data.kinds import unfetched_note
from condense.errors import OptionError
from condense.recipe.config import Machine, Recipe, RunConfig, decisive, digest, placeless
from condense.recipe.effects import refuse_without_effect
from condense.recipe.method import IMPORTED, Teacher, Use
from condense.recipe.networks import with_network
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure, kind_of_dataset, preset_note
from condense.recipe.settings import Pair, Settings, flatten, network_of, options_of

# The maximum number of runs of one comparison.
_MOST_CELLS = 10_000


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
    shared: what all rows have in common; the protocol is that of the first column, the teacher that of the first row.
    teachers: by `Row.teacher`, which is "" if all rows have one teacher.
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
    teachers: Mapping[str, Teacher]
    validation: float
    machine: Machine
    notes: tuple[str, ...]
    command: str

    @property
    def recipe(self) -> Recipe:
        """The recipe of the first place; its dataset and validation are those of every place."""
        return next(iter(self.runs.values())).recipe

    def recipe_of(self, teacher: str) -> Recipe:
        """Return a recipe with a teacher. teacher: as in `Row.teacher`."""
        return replace(self.recipe, teacher=self.teachers[teacher])

    def teacher_of(self, label: str) -> str:
        """Return the `Row.teacher` of the row with a label."""
        return next(row.teacher for row in self.rows if row.label == label)

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
    _check_amount(len(found.asked), checked)
    leading = reported_under(found.asked, registry)
    names = checked.protocols or (leading.protocol,)
    given = _shared_pairs(found.shared, checked)
    shared = [shared_settings(registry, checked.dataset, name, given, checked.seed) for name in names]
    teachers = teachers_of(checked.teachers, shared[0], registry)
    columns = _columns(checked, shared, teachers, registry, scores=checked.scores and bool(found.reference))
    refuse_without_effect(shared, [key for key, _ in found.shared], registry)
    notes = [*found.notes, *choices(checked, found, leading, columns)]
    notes += _unfetched(shared[0].dataset, registry)
    usual = shared_settings(registry, checked.dataset, names[0], (), checked.seed)
    resolved: list[tuple[AskedRow, RunConfig]] = []
    rows: dict[str, Row] = {}
    runs: dict[Place, RunConfig] = {}
    for text, teacher in teachers.items():
        for row, ipc in product(found.asked, checked.ipcs):
            asked = _resolved(row, shared[0].dataset, checked, ipc, teacher.model.name, registry)
            resolved.append((row, asked))
            made = _row(row, text, asked.recipe, registry, published=kind == "compare")
            rows[made.label] = made
            notes += preset_note(replace(asked.recipe, teacher=teacher), registry)
            notes += other_wishes(row.method, asked, usual, shared[0], several=len(teachers) > 1)
            runs |= _of_seeds(under_teacher(row.label, text), asked, shared[0].dataset, teacher, checked)
    notes += unread(resolved, settings, registry)
    design = Design(
        kind=kind,
        name=checked.name or "",
        rows=tuple(rows.values()),
        reference=found.reference,
        columns=columns,
        ipcs=checked.ipcs,
        seeds=_seeds(checked),
        students=checked.students,
        runs=runs,
        shared=shared[0],
        teachers=teachers,
        validation=checked.validation,
        machine=next(iter(runs.values())).machine,
        notes=tuple(dict.fromkeys(notes)),
        command=command_of(kind, named, checked, settings, registry, reference=bool(found.reference)),
    )
    return design if checked.name else replace(design, name=made_up_name(design))


def _check_amount(rows: int, terms: Terms) -> None:
    """Raise OptionError for a comparison that is too large to be meant."""
    check_rows(rows * max(1, len(terms.teachers)))
    cells = rows * max(1, len(terms.teachers)) * len(terms.ipcs) * terms.seeds
    if cells > _MOST_CELLS:
        raise OptionError(
            f"{rows} rows for {len(terms.ipcs)} numbers of images per class and {terms.seeds} seeds are {cells} runs, "
            f"more than {_MOST_CELLS}; split the comparison: those below one --out share finished work"
        )


def _seeds(terms: Terms) -> tuple[int, ...]:
    return tuple(range(terms.seed, terms.seed + terms.seeds))


def _columns(
    terms: Terms,
    shared: Sequence[SharedSettings],
    teachers: Mapping[str, Teacher],
    registry: Registry,
    *,
    scores: bool,
) -> tuple[ColumnSetup, ...]:
    several = len(terms.networks) > 1
    return make_columns(
        registry,
        shared,
        like=next(iter(teachers.values())) if len(teachers) > 1 else None,
        networks=[network_of(text, registry) for text in terms.networks] if several else (),
        epochs=terms.epochs,
        students=terms.students,
        scores=scores,
    )


def _unfetched(dataset: Use, registry: Registry) -> list[str]:
    use, kind = kind_of_dataset(dataset, registry)
    note = unfetched_note(use.name, options_of(use, "dataset", registry), kind)
    return [note] if note else []


def _of_seeds(
    row: str, asked: RunConfig, dataset: Use, teacher: Teacher, terms: Terms
) -> dict[Place, RunConfig]:
    """Return the configuration of each seed of a row, with the dataset that all rows share and the row's teacher."""
    recipe = replace(asked.recipe, teacher=teacher, dataset=dataset)
    return {
        Place(row=row, ipc=recipe.ipc, seed=seed): replace(asked, recipe=replace(recipe, seed=seed))
        for seed in _seeds(terms)
    }


def _shared_pairs(settings: Sequence[Pair], terms: Terms) -> list[Pair]:
    """Return the settings of what all rows share. Raises OptionError for one that is given in two ways."""
    keys = [key for key, _ in settings]
    if terms.epochs and "protocol.epochs" in keys:
        raise OptionError("--epochs and --set protocol.epochs say the same thing; give one of them")
    for networks, key, option in (
        (terms.networks, "student.model", "--student"),
        (terms.teachers, "teacher.model", "--teacher-model"),
    ):
        settings = with_network(settings, networks, key=key, option=option)
    if len(terms.teachers) > 1 and FILE in keys:
        raise OptionError(f"--set {FILE} is one teacher, and --teacher-model names {len(terms.teachers)}")
    return list(settings)


def _resolved(
    row: AskedRow, dataset: Use, terms: Terms, ipc: int, network: str, registry: Registry
) -> RunConfig:
    """Return the configuration of a row's runs. They distil and train no students. network: the teacher's."""
    if row.method == IMPORTED:
        check_imported(row.label, row.settings, terms.dataset, ipc)
    # What was chosen for all rows. A default is not passed on, so that a method's wish for another value is noticed.
    usual = registry.dataset(dataset.name)[0].options()
    of_dataset = [
        (f"dataset.{key}", value) for key, value in dataset.options.items() if value != getattr(usual, key)
    ]
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
            loaders=terms.loaders,
            jpeg_decoder=terms.jpeg_decoder,
            keep_minutes=terms.keep_minutes,
            compile=terms.compile,
            alone=False,
            network=network,
        )
    except OptionError as error:
        raise OptionError(f"row {row.label!r}: {error}") from error


def _row(row: AskedRow, teacher: str, recipe: Recipe, registry: Registry, *, published: bool) -> Row:
    """Return a row as plain data, with its resolved settings. teacher: as in `Row.teacher`.

    published: whether the row stands for its method, so that what was published for the method belongs beside it.
    """
    method = registry.method(row.method)
    flat = flatten(recipe)
    settings: dict[str, Any] = {}
    for key, value in row.settings:
        if key in IMPORTED_KEYS:  # the label says which images these are
            continue
        full = key if key in flat else f"recover.{key}"
        settings[full if full in flat else key] = flat.get(full, value)
    if teacher:
        settings["teacher.model"] = teacher
    return Row(
        label=under_teacher(row.label, teacher),
        method=row.method,
        settings=settings,
        without=row.without,
        summary=method.summary,
        source=method.source,
        teacher=teacher,
        published=tuple(one for one in method.published if published and one.dataset == recipe.dataset.name),
    )


def made_up_name(design: Design) -> str:
    """Return a folder name that is the same for equal comparisons and differs for all others."""
    made_of = [
        design.kind,
        [[row.label, row.method] for row in design.rows],
        [[setup.column, setup.evaluation] for setup in design.columns],
        [
            decisive(replace(config.recipe, initializer=placeless(config.recipe.initializer)))
            for config in design.runs.values()
        ],
        design.students,
    ]
    methods = dict.fromkeys(row.method for row in design.rows)
    stem = "-".join([design.kind, *methods, design.shared.dataset.name.partition(":")[0]])
    return f"{re.sub(r'[^A-Za-z0-9-]+', '-', stem)[:60].strip('-')}-{digest(made_of)[:6]}"
