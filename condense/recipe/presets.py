"""Check the settings that methods and datasets bring along, as far as that is possible without any other plugin."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from condense.errors import unknown_name
from condense.recipe.config import Evaluation, Recipe
from condense.recipe.fields import fit, hints_of, shown
from condense.recipe.method import Losses, Method, Recover, Use
from condense.recipe.protocol import Protocol
from condense.recipe.specs import DatasetSpec

# The setting that chooses a preset of the method by name, in place of those of the kind of images and the dataset.
PRESET = "preset"
_OWN_FIELDS = (
    "method",
    "dataset",
    "ipc",
    "seed",
    "validation",
    "students",
    "reference",
    "device",
    "precision",
    "loaders",
    "jpeg_decoder",
    "keep_minutes",
    "compile",
)
# Settings that are options of their own and never keys of --set, with the name of the option.
OWN_OPTIONS = {
    **dict.fromkeys(("protocol", "protocol.name", "protocol.summary", "protocol.source"), "protocol"),
    **{name: name.replace("_", "-") for name in (*_OWN_FIELDS, "data_dir")},
}


def check_offer(offer: object) -> None:
    """Raise ValueError if a method or a dataset brings a setting that does not exist, or a value that does not fit.

    Names of components, and their options, are left to the run: another plugin may offer them.
    """
    for where, settings in _settings_of(offer):
        for key, value in settings.items():
            try:
                _check(key, value)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
    if isinstance(offer, Method):
        _check_variants(offer)


def _settings_of(offer: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield all settings that an offer brings along, each group with a text that says where it stands."""
    if isinstance(offer, Method):
        whose = f"method {offer.name!r}"
        for name, settings in offer.presets.items():
            yield f"{whose}, preset {name!r}", settings
        for ipc, settings in offer.for_ipc.items():
            yield f"{whose}, for_ipc {ipc}", settings
        for variant in offer.variants:
            changes = {key: value for key, value in variant.settings.items() if key != PRESET}
            yield f"{whose}, variant {variant.label!r}", changes
    elif isinstance(offer, DatasetSpec):
        yield f"dataset {offer.name!r}, settings", offer.settings
        for kind, settings in offer.settings_by_kind.items():
            yield f"dataset {offer.name!r}, settings for {kind}", settings
        for protocol, settings in offer.settings_by_protocol.items():
            yield f"dataset {offer.name!r}, settings for {protocol}", settings


def _check_variants(method: Method) -> None:
    groups = [method.targets, method.regularizers]
    added = {key.split(".")[1] for _, settings in _settings_of(method) for key in settings if _adds(key)}
    names = {name for losses in groups for name in losses} | added
    for variant in method.variants:
        where = f"method {method.name!r}, variant {variant.label!r}"
        for name in variant.without:
            if name not in names:
                raise ValueError(f"{where}: {unknown_name('component', name, names)}")
        preset = variant.settings.get(PRESET, "")
        if preset and preset not in method.presets:
            raise ValueError(f"{where}: {unknown_name('preset', str(preset), method.presets)}")


def _adds(key: str) -> bool:
    return key.partition(".")[0] in ("targets", "regularizers") and key.count(".") == 1


def _check(key: str, value: Any) -> None:
    """Raise ValueError for a key that is no setting, or a value that it does not take."""
    parts = key.split(".")
    sections = {**hints_of(Recipe), **hints_of(Evaluation)}
    if key in OWN_OPTIONS:
        raise ValueError(f"{key!r} is an option of a run, and no setting of a method or dataset")
    if parts[0] not in sections and parts[0] in hints_of(Recover):
        parts.insert(0, "recover")
    if parts[0] not in sections:
        raise ValueError(str(unknown_name("setting", key, [*sections, *hints_of(Recover)])))
    _walk(sections[parts[0]], parts[1:], key, value)


def _walk(hint: Any, rest: list[str], key: str, value: Any) -> None:
    if hint is Use:
        if len(rest) > 1:
            raise ValueError(f"{key!r} is no setting: an option has no parts")
        if not rest and not isinstance(value, str | Use):
            raise ValueError(f"{key} must be a name, not {shown(value)}")
    elif hint == Losses:
        if len(rest) not in (1, 2):
            part = key.partition(".")[0]
            raise ValueError(f"{key!r} is no setting: write {part}.NAME for a weight, or {part}.NAME.OPTION")
        if len(rest) == 1:
            _fit(value, float, key)
    elif dataclasses.is_dataclass(hint):
        _walk_group(hint, rest, key, value)
    elif rest:
        raise ValueError(f"{key!r} is no setting: {key.removesuffix('.' + '.'.join(rest))!r} has no parts")
    else:
        _fit(value, hint, key)


def _walk_group(kind: Any, rest: list[str], key: str, value: Any) -> None:
    fields = hints_of(kind)
    if not rest:
        raise ValueError(f"{key!r} is a group of settings; say which: {', '.join(fields)}")
    name, below = rest[0], rest[1:]
    if name not in fields:
        above = key.removesuffix(".".join(rest))
        raise ValueError(str(unknown_name("setting", key, (above + field for field in fields))))
    _walk(fields[name], below, key, value)
    if not below and not dataclasses.is_dataclass(fields[name]):
        # The range of a number is known to the group alone.
        dataclasses.replace(_usual(kind), **{name: fit(value, fields[name], read=True)})


@functools.cache
def _usual(kind: Any) -> Any:
    """Return a group of settings with its defaults, made once: every preset of every method is tried in one."""
    return Protocol(name="any") if kind is Protocol else kind()


def _fit(value: Any, hint: Any, key: str) -> None:
    try:
        fit(value, hint, read=True)
    except ValueError as error:
        raise ValueError(f"{key} {error}, not {shown(value)}") from error
