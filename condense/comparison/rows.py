"""The rows of a comparison, a sweep or an ablation, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from condense.comparison.given import SHARED, Given, check_of_rows, refuse_options, sort_settings
from condense.comparison.imported import imported_row, is_imported
from condense.comparison.outcome import Kind
from condense.errors import CondenseError, OptionError, UnknownSettingError
from condense.recipe.config import RunConfig
from condense.recipe.method import IMPORTED, Method
from condense.recipe.presets import PRESET
from condense.recipe.registry import Registry
from condense.recipe.resolve import configure, with_judge
from condense.recipe.settings import Pair, Settings, assign, pairs_of
from condense.recipe.specs import InitializerSpec
from condense.text import setting_text

# The method that picks random real images: the reference that every other method has to beat.
REFERENCE = "random"
# The sections whose settings for all rows the reference takes: how images are stored. With others it would be none.
_OF_REFERENCE = ("parametrization",)
# The setting that would turn a method that chooses images into one that recovers them.
_ITERATIONS = ("iterations", "recover.iterations")
# The maximum number of rows of one comparison.
MOST_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class AskedRow:
    """One row as it was asked for.

    label: unique, for people.
    method: the name of its method.
    settings: changes to the method; later ones win.
    without: the components that it leaves out.
    """

    label: str
    method: str
    settings: tuple[Pair, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a comparison.

    asked: the rows in order; the others are compared to the first.
    reference: the label of the row of random real images; "" for none.
    shared: settings that all rows have in common.
    notes: what the user should know.
    """

    asked: tuple[AskedRow, ...]
    reference: str
    shared: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def rows_of(
    kind: Kind,
    methods: Sequence[str],
    settings: Settings,
    *,
    dataset: str,
    reference: bool,
    registry: Registry,
) -> Rows:
    """Return the rows of a comparison of one kind; sweeps and ablations take a single method.

    Raises UnknownNameError or OptionError for names or settings that do not fit.
    """
    if kind == "compare":
        return compare_rows(methods, settings, reference=reference, registry=registry)
    if len(methods) != 1:
        raise OptionError(f"{kind} takes one method, not {len(methods)}")
    make = sweep_rows if kind == "sweep" else ablate_rows
    return make(methods[0], dataset, settings, reference=reference, registry=registry)


def compare_rows(methods: Sequence[str], settings: Settings, *, reference: bool, registry: Registry) -> Rows:
    """Return a row for every method, and for every "imported:PATH".

    Raises UnknownNameError or OptionError for names or settings that do not fit.
    """
    if not methods:
        raise OptionError("no methods to compare; name them: condense compare wmdd random")
    for method in methods:
        registry.method(IMPORTED if is_imported(method) else method)
    named, notes = _with_reference(methods, reference, registry)
    given = sort_settings(settings, named)
    asked = []
    steps = [pair for pair in given.rows if pair[0] in _ITERATIONS and str(pair[1]) != "0"]
    without_steps: list[str] = []
    for method in named:
        # Settings for every row leave the images of others alone.
        sections = () if is_imported(method) else _OF_REFERENCE if method == REFERENCE else None
        own_steps = any(key in _ITERATIONS for key, _ in given.by_method.get(method, ()))
        leaves = sections is None and not own_steps and _recovers_nothing(registry.method(method))
        without_steps += [method] if leaves else []
        own = given.of(method, sections=sections, leaving=steps if leaves else ())
        if is_imported(method):
            label, images, said = imported_row(method)
            asked.append(AskedRow(label=label, method=IMPORTED, settings=(*images, *own)))
            notes = (*notes, *said)
        else:
            asked.append(AskedRow(label=method, method=method, settings=own))
    if without_steps:
        notes = (*notes, *(_left_out(pair, without_steps) for pair in steps))
    return _checked(asked, given, notes)


def _recovers_nothing(method: Method) -> bool:
    """Return whether a method has no iterations of its own, on any images: one that chooses real images, or RDED."""
    presets = (*method.presets.values(), *method.for_ipc.values())
    return method.recover.iterations == 0 and not any(
        settings.get(key) for settings in presets for key in _ITERATIONS
    )


def _left_out(pair: Pair, methods: Sequence[str]) -> str:
    key, value = pair
    return (
        f"{key}={setting_text(value)} leaves out {', '.join(methods)}, which recover nothing; --set "
        f"{methods[0]}:{key}={setting_text(value)} recovers from its images too"
    )


def sweep_rows(method: str, dataset: str, settings: Settings, *, reference: bool, registry: Registry) -> Rows:
    """Return a row for every combination of the settings that list several values; the first varies slowest.

    Values are listed with commas, or with semicolons if the setting's own values have commas.
    Raises OptionError if no setting lists several.
    """
    registry.method(method)
    named, notes = _with_reference([method], reference, registry)
    config = with_judge(configure(registry, method=method, dataset=dataset), registry)
    axes: dict[str, list[str]] = {}
    single: list[Pair] = []
    # Settings of the method's rows in the order given, because choosing a component drops the options set before it.
    changes: list[Pair] = []
    for written, value in pairs_of(settings):
        prefix, _, key = written.rpartition(":")
        refuse_options(key)
        values = [value]
        if prefix in ("", method):
            values = _alternatives(config, key, value, registry)
            config = config if key == PRESET else assign(config, key, values[0], registry)
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
    check_rows(math.prod(map(len, axes.values())))
    short = _short(list(axes))
    changes = [(key, value) for key, value in changes if key.partition(".")[0] not in SHARED]
    asked = []
    for combination in product(*axes.values()):
        chosen = list(zip(axes, combination, strict=True))
        label = " ".join([method, *(f"{short[key]}={setting_text(value)}" for key, value in chosen)])
        own = tuple((key, dict(chosen).get(key, value)) for key, value in changes)
        asked.append(AskedRow(label=label, method=method, settings=own))
    return _checked([*asked, *_reference_row(named[1:], given)], given, notes)


def check_rows(count: int) -> None:
    """Raise OptionError for more rows than a table can have."""
    if count > MOST_ROWS:
        raise OptionError(
            f"{count} rows are more than {MOST_ROWS}; split the comparison: those below one --out share finished work"
        )


def ablate_rows(
    method: str, dataset: str, settings: Settings, *, reference: bool, registry: Registry
) -> Rows:
    """Return a row for the whole method, which the others are compared to, and a row for each of its variants.

    A first variant that changes nothing is the whole method under a name of its own. For a method without
    variants, the rows after the first leave out one target or regularizer each.
    Raises OptionError for a method that has neither variants nor anything to leave out.
    """
    found = registry.method(method)
    named, notes = _with_reference([method], reference, registry)
    given = sort_settings(settings, named)
    common = given.of(method)
    whole = AskedRow(label=method, method=method, settings=common)
    first = next(iter(found.variants), None)
    asked = [] if first and not (first.settings or first.without) else [whole]
    for variant in found.variants:
        check_of_rows(variant.settings, f"variant {variant.label!r} of {method!r}")
        changes = (*common, *variant.settings.items())
        asked.append(
            AskedRow(label=variant.label, method=method, settings=changes, without=tuple(variant.without))
        )
    if not found.variants:
        config = configure(registry, method=method, dataset=dataset, settings=common)
        for name in config.recipe.losses:
            if list(config.recipe.targets) == [name]:
                notes = (
                    *notes,
                    f"no row without {name}: it is the only target, and nothing would be matched",
                )
                continue
            label = f"{method} without {name}"
            asked.append(AskedRow(label=label, method=method, settings=common, without=(name,)))
        if len(asked) == 1:
            raise OptionError(f"method {method!r} has no variants, and nothing that can be left out of it")
    return _checked([*asked, *_reference_row(named[1:], given)], given, notes)


def reported_under(rows: Sequence[AskedRow], registry: Registry) -> Method:
    """Return the method whose protocol is that of the comparison if none is named: the first that makes its images.

    Real images that are chosen, as by `random` and `medoids`, and imported ones are there to compare with, so they
    decide only where nothing else is compared.
    """
    methods = [registry.method(row.method) for row in rows]
    return next((method for method in methods if not _found(method, registry)), methods[0])


def _found(method: Method, registry: Registry) -> bool:
    """Return whether the images of a method are imported, or real images as they are."""
    initializer: InitializerSpec = registry.find("initializer", method.initializer.name)
    return method.name == IMPORTED or (method.recover.iterations == 0 and initializer.origin == "real")


def _with_reference(
    methods: Sequence[str], reference: bool, registry: Registry
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the methods, followed by the reference if it is wanted and missing, and notes for the user."""
    if not reference or REFERENCE in methods:
        return tuple(methods), ()
    try:
        registry.method(REFERENCE)
    except CondenseError:
        return tuple(methods), (f"no reference: no plugin offers the method {REFERENCE!r}",)
    return (*methods, REFERENCE), ()


def _reference_row(methods: Sequence[str], given: Given) -> list[AskedRow]:
    return [
        AskedRow(label=method, method=method, settings=given.of(method, sections=_OF_REFERENCE))
        for method in methods
    ]


def _first_method(asked: Sequence[AskedRow]) -> str:
    return next((row.method for row in asked if row.method != IMPORTED), REFERENCE)


def _checked(asked: Sequence[AskedRow], given: Given, notes: Sequence[str]) -> Rows:
    labels = [row.label for row in asked]
    for label in labels:
        if labels.count(label) > 1:
            raise OptionError(f"the row {label!r} stands twice; name each once")
    taken = {key for row in asked for key, _ in row.settings}
    for key, _ in given.rows:
        if key not in taken:
            raise OptionError(
                f"{key!r} changes nothing: of settings for all rows, random real images take those of "
                f"{', '.join(_OF_REFERENCE)} alone, imported images take none, and methods that recover nothing take "
                f"no iterations; write --set {_first_method(asked)}:{key}=..."
            )
    return Rows(
        asked=tuple(asked),
        reference=REFERENCE if REFERENCE in labels else "",
        shared=given.shared,
        notes=tuple(notes),
    )


def _alternatives(config: RunConfig, key: str, value: Any, registry: Registry) -> list[Any]:
    """Return the values that a setting of a sweep lists. Presets are checked where they are looked up, by name."""
    if key == PRESET:
        found = list(value) if isinstance(value, (list, tuple)) else _listed(str(value), ",")
    elif isinstance(value, (list, tuple)) and not _fits(config, key, value, registry):
        found = list(value)
    elif not isinstance(value, str):
        found = [value]
    elif ";" in value:
        found = _listed(value, ";")
    elif "," in value and not _fits(config, key, value, registry):
        found = _listed(value, ",")
    else:
        found = [value]
    if not found:
        raise OptionError(f"--set {key}={value}: no value is listed")
    if len(found) > 1 and key != PRESET and key.partition(".")[0] not in SHARED:
        for one in found:
            assign(config, key, one, registry)
    return found


def _listed(text: str, separator: str) -> list[str]:
    return [part.strip() for part in text.split(separator) if part.strip()]


def _fits(config: RunConfig, key: str, value: Any, registry: Registry) -> bool:
    """Return whether a setting takes the whole of `value` as one value."""
    try:
        assign(config, key, value, registry)
    except UnknownSettingError:
        raise  # The key is wrong whatever its value.
    except CondenseError:
        return False
    return True


def _short(keys: Sequence[str]) -> Mapping[str, str]:
    """Return the shortest ending of each key that is not an ending of another key."""
    found = {}
    for key in keys:
        parts = key.split(".")
        for start in range(len(parts) - 1, -1, -1):
            short = ".".join(parts[start:])
            if not any(other != key and f".{other}".endswith(f".{short}") for other in keys):
                break
        found[key] = short
    return found
