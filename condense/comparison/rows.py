"""The rows of a comparison, a sweep or an ablation, before anything is computed. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from condense.errors import CondenseError, OptionError, nearest
from condense.recipe.config import RunConfig, resolve
from condense.recipe.registry import Registry
from condense.recipe.settings import Pair, Settings, assign, pairs_of
from condense.text import setting_text

# The method whose images every other has to beat.
FLOOR = "random"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row. label: unique, for people. settings: of the method's, in this order, later ones winning.

    without: components it leaves out.
    """

    label: str
    method: str
    settings: tuple[Pair, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """recipes: in order, the first being the one that others are compared to. floor: the label of the row of random
    real images, "" for none. shared: settings that all rows have in common. notes: what the user should know.
    """

    recipes: tuple[Recipe, ...]
    floor: str
    shared: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def compare_rows(methods: Sequence[str], settings: Settings, *, floor: bool, registry: Registry) -> Rows:
    """A row for every method. Raises UnknownNameError or OptionError where that cannot be."""
    if not methods:
        raise OptionError("no methods to compare; name them: condense compare wmdd random")
    for method in methods:
        registry.method(method)
    named, notes = _with_floor(methods, floor, registry)
    given = sort_settings(settings, named)
    recipes = [
        Recipe(label=method, method=method, settings=given.of(method, floor=method == FLOOR))
        for method in named
    ]
    return _checked(recipes, given, notes)


def sweep_rows(method: str, dataset: str, settings: Settings, *, floor: bool, registry: Registry) -> Rows:
    """A row for every combination of the settings that list several values; the first varies slowest.

    Values are listed with commas, or with semicolons where the setting's own values have commas.
    Raises OptionError where no setting lists several.
    """
    registry.method(method)
    named, notes = _with_floor([method], floor, registry)
    config = resolve(registry, method=method, dataset=dataset)
    axes: dict[str, list[str]] = {}
    single: list[Pair] = []
    # Of the method's rows, in the order given, for choosing a component forgets the options set before it.
    changes: list[Pair] = []
    for written, value in pairs_of(settings):
        prefix, _, key = written.rpartition(":")
        refuse_options(key)
        values = [value]
        if prefix in ("", method):
            values = _alternatives(config, key, value, registry)
            config = assign(config, key, values[0], registry)
            changes.append((key, values[0]))
        if len(values) == 1:
            single.append((written, values[0]))
            continue
        check_of_rows([key], "a sweep varies the recipe of its method")
        if key in axes:
            raise OptionError(f"--set {key} is given twice with several values; list them all in one")
        axes[key] = values
    given = sort_settings(single, named)
    if not axes:
        raise OptionError(
            f"nothing to sweep over: give a setting several values, --set recover.lr=0.05,0.1,0.2; "
            f"`condense methods show {method}` lists the settings"
        )
    short = _short(list(axes))
    changes = [(key, value) for key, value in changes if key.partition(".")[0] not in SHARED]
    recipes = []
    for combination in product(*axes.values()):
        chosen = list(zip(axes, combination, strict=True))
        label = " ".join([method, *(f"{short[key]}={setting_text(value)}" for key, value in chosen)])
        own = tuple((key, dict(chosen).get(key, value)) for key, value in changes)
        recipes.append(Recipe(label=label, method=method, settings=own))
    return _checked([*recipes, *_floor_row(named[1:], given)], given, notes)


def ablate_rows(method: str, dataset: str, settings: Settings, *, floor: bool, registry: Registry) -> Rows:
    """The method's variants; of a method without any, the whole, then without each target and regularizer in turn.

    Raises OptionError for a method of which nothing can be left out.
    """
    found = registry.method(method)
    named, notes = _with_floor([method], floor, registry)
    given = sort_settings(settings, named)
    common = given.of(method)
    recipes = []
    for variant in found.variants:
        check_of_rows(variant.settings, f"variant {variant.label!r} of {method!r}")
        changes = (*common, *variant.settings.items())
        recipes.append(
            Recipe(label=variant.label, method=method, settings=changes, without=tuple(variant.without))
        )
    if not recipes:
        config = resolve(registry, method=method, dataset=dataset, settings=common)
        recipes.append(Recipe(label=method, method=method, settings=common))
        for use in config.components:
            if [target.name for target in config.targets] == [use.name]:
                notes = (
                    *notes,
                    f"no row without {use.name}: it is the only target, and nothing would be matched",
                )
                continue
            label = f"{method} without {use.name}"
            recipes.append(Recipe(label=label, method=method, settings=common, without=(use.name,)))
        if len(recipes) == 1:
            raise OptionError(f"method {method!r} has no variants, and nothing that can be left out of it")
    return _checked([*recipes, *_floor_row(named[1:], given)], given, notes)


def _with_floor(
    methods: Sequence[str], floor: bool, registry: Registry
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The methods, with the floor behind them if it is wanted and not there; and what the user should know."""
    if not floor or FLOOR in methods:
        return tuple(methods), ()
    try:
        registry.method(FLOOR)
    except CondenseError:
        return tuple(methods), (f"no floor: no plugin offers the method {FLOOR!r}",)
    return (*methods, FLOOR), ()


def _floor_row(methods: Sequence[str], given: Given) -> list[Recipe]:
    return [Recipe(label=method, method=method, settings=given.of(method, floor=True)) for method in methods]


def _checked(recipes: Sequence[Recipe], given: Given, notes: Sequence[str]) -> Rows:
    labels = [recipe.label for recipe in recipes]
    for label in labels:
        if labels.count(label) > 1:
            raise OptionError(f"the row {label!r} stands twice; name each once")
    if given.rows and all(recipe.label == FLOOR for recipe in recipes):
        raise OptionError(
            f"{given.rows[0][0]!r} changes nothing: settings for all rows leave the floor alone; "
            f"write --set {FLOOR}:{given.rows[0][0]}=..."
        )
    return Rows(
        recipes=tuple(recipes),
        floor=FLOOR if FLOOR in labels else "",
        shared=given.shared,
        notes=tuple(notes),
    )


def _alternatives(config: RunConfig, key: str, value: Any, registry: Registry) -> list[Any]:
    """The values that a setting of a sweep lists."""
    if isinstance(value, (list, tuple)) and not _fits(config, key, value, registry):
        found = list(value)
    elif not isinstance(value, str):
        found = [value]
    elif ";" in value:
        found = [part.strip() for part in value.split(";") if part.strip()]
    elif "," in value and not _fits(config, key, value, registry):
        found = [part.strip() for part in value.split(",") if part.strip()]
    else:
        found = [value]
    if not found:
        raise OptionError(f"--set {key}={value}: no value is listed")
    if len(found) > 1 and key.partition(".")[0] not in SHARED:
        for one in found:
            assign(config, key, one, registry)
    return found


def _fits(config: RunConfig, key: str, value: Any, registry: Registry) -> bool:
    """Whether a setting takes all of `value` as one."""
    try:
        assign(config, key, value, registry)
    except OptionError as error:
        # A key that does not exist is no question of its value.
        if str(error).startswith("unknown option"):
            raise
        return False
    except CondenseError:
        return False
    return True


def _short(keys: Sequence[str]) -> Mapping[str, str]:
    """Each key without its first parts, as far as it stays another than the rest."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts) - 1, -1, -1):
            short = ".".join(parts[start:])
            if not any(other != key and f".{other}".endswith(f".{short}") for other in keys):
                break
        found[key] = short
    return found


# Sections that every row has in common, and why.
SHARED: Mapping[str, str] = {
    "teacher": "one teacher for every row",
    "student": "the same students for every row",
    "protocol": "the same protocol for every row; protocols are columns, see --protocol and --epochs",
    "evaluator": "every row is measured the same way",
    "dataset": "the same images for every row",
}
# Fields of a run that are no settings here, and what to use instead.
_INSTEAD: Mapping[str, str] = {
    "method": "name the methods themselves",
    "dataset": "use --dataset",
    "ipc": "use --ipc",
    "seed": "use --seed and --seeds",
    "students": "use --students",
    "data_dir": "use --data-dir",
    "device": "use --device",
    "precision": "use --precision",
    "validation": "use --validation",
    "reference": "random real images are a row of their own, see --no-floor",
}


@dataclass(frozen=True, kw_only=True)
class Given:
    """shared: of the sections in `SHARED`. rows: for every row but the floor. by_method: for the rows of a method."""

    shared: tuple[Pair, ...]
    rows: tuple[Pair, ...]
    by_method: Mapping[str, tuple[Pair, ...]]

    def of(self, method: str, *, floor: bool = False) -> tuple[Pair, ...]:
        """For the rows of a method, later ones winning. A floor is left alone by what is for every row."""
        return (*(() if floor else self.rows), *self.by_method.get(method, ()))


def sort_settings(settings: Settings, methods: Collection[str]) -> Given:
    """Sort pairs of KEY or METHOD:KEY and value. methods: those that have rows.

    Raises OptionError for a METHOD without a row, for a shared section behind a METHOD, and for what is an option
    of its own.
    """
    shared: list[Pair] = []
    rows: list[Pair] = []
    by_method: dict[str, tuple[Pair, ...]] = {}
    for written, value in pairs_of(settings):
        method, colon, key = written.rpartition(":")
        section = key.partition(".")[0]
        refuse_options(key)
        if colon and method not in methods:
            close = nearest(method, methods)
            guess = f" Did you mean {close!r}?" if close else ""
            raise OptionError(
                f"{written!r} names no row: no row is of a method {method!r}.{guess} There are: {', '.join(methods)}"
            )
        if colon:
            check_of_rows((key,), f"--set {written}")
            by_method[method] = (*by_method.get(method, ()), (key, value))
        elif section in SHARED:
            shared.append((key, value))
        else:
            rows.append((key, value))
    return Given(shared=tuple(shared), rows=tuple(rows), by_method=by_method)


def refuse_options(key: str) -> None:
    """Raise OptionError for what is an option of its own."""
    if key in _INSTEAD:
        raise OptionError(f"{key!r} is no setting of a comparison; {_INSTEAD[key]}")


def check_of_rows(keys: Iterable[str], who: str) -> None:
    """Raise OptionError where a key belongs to what all rows share. who: gave it, for the text."""
    for key in keys:
        why = SHARED.get(key.partition(".")[0])
        if why:
            raise OptionError(f"{who}: {key} cannot differ between rows ({why}); --set {key}=... is for all")
