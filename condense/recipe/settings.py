"""Change one setting of a configuration by its dotted key, with the value's type checked.

recover.iterations=500 (or just iterations=500)      teacher.lr=0.1        protocol.augment.cutmix=0
regularizers.class-batchnorm=10                      the weight of a component, which is added if it is absent
regularizers.class-batchnorm.form=norms              an option of a component
initializer=noise, teacher.model=convnet             another component or network, with its own defaults
parametrization.factor=3                             an option of that component
teacher.model.width=64                               an option of that network
teacher.model=convnet(width=64,norm=instance)        a network and its options at once
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

from condense.errors import OptionError, UnknownSettingError, nearest
from condense.recipe.fields import fit, hints_of
from condense.recipe.method import AS_THE_PROTOCOL_SAYS, SAME_AS_TEACHER, Recover, Use, Weighted
from condense.recipe.networks import format_network, parse_network
from condense.recipe.registry import Registry
from condense.recipe.specs import ParametrizationSpec

T = TypeVar("T")
Pair = tuple[str, Any]
Settings = Mapping[str, Any] | Sequence[Pair]

# The fields that name something, and the kind of thing that each names.
_KIND_OF_FIELD: Mapping[str, str] = {
    "initializer": "initializer",
    "parametrization": "parametrization",
    "targets": "feature target",
    "regularizers": "regularizer",
    "evaluator": "evaluator",
    "model": "model",
    "network": "model",
    "dataset": "dataset",
}
_LOSSES = ("feature target", "regularizer")
# Kinds of which a recipe chooses one by name with --set.
_CHOSEN = ("initializer", "parametrization", "evaluator")
# Names that stand for a network chosen elsewhere.
_STAND_INS = (SAME_AS_TEACHER, AS_THE_PROTOCOL_SAYS)


def pairs_of(settings: Settings) -> list[Pair]:
    """Return settings, given as a mapping or as pairs, as pairs of dotted key and value."""
    return list(settings.items()) if isinstance(settings, Mapping) else list(settings)


@dataclass(frozen=True)
class _Setting:
    key: str
    value: Any
    registry: Registry
    root: Any


def assign(config: T, key: str, value: Any, registry: Registry) -> T:
    """Return `config` with the setting `key` changed. A key without a section belongs to `recover`.

    Raises OptionError for an unknown key (and names the nearest) or a value of the wrong type or range.
    """
    parts = key.split(".")
    top = {name for group in _groups(config) for name in _fields(group)}
    if parts[0] not in top and "recover" in top and parts[0] in _fields(Recover):
        parts.insert(0, "recover")
    return cast(T, _assign(config, parts, _Setting(key, value, registry, config)))


def complete(config: T, registry: Registry) -> T:
    """Return `config` with the options of every component and network checked and their defaults filled in."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(cast(Any, config)):
        value = getattr(config, field.name)
        kind = _KIND_OF_FIELD.get(field.name, "")
        if isinstance(value, Use):
            changes[field.name] = _complete_use(value, kind, registry)
        elif kind in _LOSSES:
            changes[field.name] = {
                name: dataclasses.replace(
                    loss, options=_complete_use(_use(name, loss), kind, registry).options
                )
                for name, loss in value.items()
            }
        elif dataclasses.is_dataclass(value):
            changes[field.name] = complete(value, registry)
    return cast(T, dataclasses.replace(cast(Any, config), **changes))


def options_of(use: Use, kind: str, registry: Registry) -> Any:
    """Return the options dataclass of a component or network, filled from the recipe.

    Raises OptionError for an unknown option or a value of the wrong type or range.
    """
    spec = find_spec(use.name, kind, registry)
    values: dict[str, Any] = {}
    for name, value in use.options.items():
        values[name] = _convert(value, _hint(spec.options, name, f"{use.name}.{name}"), f"{use.name}.{name}")
    try:
        return spec.options(**values)
    except ValueError as error:
        raise OptionError(f"{kind} {use.name!r}: {error}") from error


def images_per_stored(use: Use, registry: Registry) -> int:
    """Return how many images one stored image holds under a parametrization. Raises what `options_of` raises."""
    spec: ParametrizationSpec = registry.find("parametrization", use.name)
    return spec.held(options_of(use, "parametrization", registry))


def network_of(text: str, registry: Registry) -> Use:
    """Return the network that a text such as "convnet(width=64)" stands for, with all of its options.

    "teacher" and "protocol" stand for networks chosen elsewhere and stay as they are. Raises OptionError for a text of
    another form or an option that does not fit, and UnknownNameError for an unknown name.
    """
    use = _use_of(text, "model", _Setting(text, text, registry, None))
    return _complete_use(use, "model", registry)


def network_text(use: Use, registry: Registry) -> str:
    """Return a network as people write it, with the options that are not the defaults: "convnet(norm=instance)"."""
    if use.name in _STAND_INS:
        return use.name
    own, usual = options_of(use, "model", registry), options_of(Use(name=use.name), "model", registry)
    changed = {name: getattr(own, name) for name in use.options if getattr(own, name) != getattr(usual, name)}
    return format_network(use.name, changed)


def find_spec(name: str, kind: str, registry: Registry) -> Any:
    """Return the spec that a name in a recipe stands for."""
    if kind == "dataset":
        return registry.dataset(name)[0]
    if kind == "model":
        return registry.model(name)[0]
    return registry.find(kind, name)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return all settings of a configuration, or of a part of it, as dotted key to value, in order."""
    if isinstance(value, Use):
        options = {f"{prefix}.{name}": option for name, option in value.options.items()}
        return {prefix: value.name, **options}
    if isinstance(value, Mapping) and value and all(isinstance(item, Weighted) for item in value.values()):
        merged: dict[str, Any] = {}
        for name, loss in value.items():
            merged[f"{prefix}.{name}"] = loss.weight
            merged.update({f"{prefix}.{name}.{option}": given for option, given in loss.options.items()})
        return merged
    if hasattr(value, "GROUPS"):
        return {key: setting for group in _groups(value) for key, setting in flatten(group, prefix).items()}
    if dataclasses.is_dataclass(value):
        result: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            key = f"{prefix}.{field.name}" if prefix else field.name
            result.update(flatten(getattr(value, field.name), key))
        return result
    return {prefix: value}


def _assign(owner: Any, parts: list[str], setting: _Setting) -> Any:
    name, rest = parts[0], parts[1:]
    for group in getattr(owner, "GROUPS", ()):
        if name in _fields(getattr(owner, group)):
            return dataclasses.replace(owner, **{group: _assign(getattr(owner, group), parts, setting)})
    if name not in _fields(owner) or hasattr(owner, "GROUPS"):
        raise _unknown_key(setting)
    current = getattr(owner, name)
    kind = _KIND_OF_FIELD.get(name, "")
    if isinstance(current, Use):
        changed: Any = _assign_use(current, kind, rest, setting)
    elif kind in _LOSSES:
        changed = _assign_loss(current, kind, rest, setting)
    elif dataclasses.is_dataclass(current):
        if not rest:
            below = _listed(flatten(current, setting.key))
            raise OptionError(f"{setting.key!r} is a group of settings; say which: {below}")
        changed = _assign(current, rest, setting)
    elif rest:
        raise _unknown_key(setting)
    else:
        changed = _convert(setting.value, _hint(type(owner), name, setting.key), setting.key)
    return _replaced(owner, setting, **{name: changed})


def _replaced(owner: Any, setting: _Setting, **changes: Any) -> Any:
    try:
        return dataclasses.replace(owner, **changes)
    except ValueError as error:
        raise OptionError(f"{setting.key}={_text(setting.value)}: {error}") from error


def _assign_use(use: Use, kind: str, rest: list[str], setting: _Setting) -> Use:
    if not rest:
        if isinstance(setting.value, Use):
            return setting.value
        return _use_of(str(setting.value), kind, setting)
    if len(rest) > 1:
        raise _unknown_key(setting)
    return _with_option(use, kind, rest[0], setting)


def _use_of(text: str, kind: str, setting: _Setting) -> Use:
    """Return the component or network that a text names; only a network may have options in parentheses."""
    name, options = parse_network(text) if kind == "model" else (text, [])
    if not (kind == "model" and name in _STAND_INS):
        find_spec(name, kind, setting.registry)
    use = Use(name=name)
    for option, value in options:
        own = dataclasses.replace(setting, key=f"{name}.{option}", value=value)
        use = _with_option(use, kind, option, own)
    return use


def _assign_loss(
    losses: Mapping[str, Weighted], kind: str, rest: list[str], setting: _Setting
) -> Mapping[str, Weighted]:
    if not rest or len(rest) > 2:
        raise _unknown_key(setting)
    name = rest[0]
    find_spec(name, kind, setting.registry)
    loss = losses.get(name, Weighted())
    if len(rest) == 1:
        loss = _replaced(loss, setting, weight=_convert(setting.value, float, setting.key))
    elif name in losses:
        options = _with_option(_use(name, loss), kind, rest[1], setting).options
        loss = dataclasses.replace(loss, options=options)
    else:
        raise OptionError(f"{setting.key}: the method has no {kind} {name!r}; add it with its weight first")
    return {**losses, name: loss}


def _with_option(use: Use, kind: str, option: str, setting: _Setting) -> Use:
    if kind == "model" and use.name in _STAND_INS:
        raise OptionError(f"{setting.key}: the network is that of the {use.name}; first choose another")
    spec = find_spec(use.name, kind, setting.registry)
    if not hints_of(spec.options):
        raise _no_options(use, kind, option, setting)
    value = _convert(setting.value, _hint(spec.options, option, setting.key), setting.key)
    changed = dataclasses.replace(use, options={**use.options, option: value})
    options_of(changed, kind, setting.registry)
    return changed


def _no_options(use: Use, kind: str, option: str, setting: _Setting) -> UnknownSettingError:
    """Return the error for an option of a part that has none. It names the parts that have it and can be chosen."""
    having: list[str] = []
    if kind in _CHOSEN:
        specs = [offer.spec for offer in setting.registry.offers(kind)]
        having = [spec.name for spec in specs if option in hints_of(spec.options)]
    named = ", ".join(map(repr, having))
    first = setting.key.rpartition(".")[0]
    advice = f"; {named} has one of that name: first --set {first}={having[0]}" if having else ""
    return UnknownSettingError(f"unknown option {setting.key!r}: {kind} {use.name!r} has no options{advice}")


def _use(name: str, loss: Weighted) -> Use:
    return Use(name=name, options=loss.options)


def _groups(config: Any) -> list[Any]:
    """Return the groups of a configuration, or the configuration itself if it has none."""
    return [getattr(config, group) for group in getattr(config, "GROUPS", ())] or [config]


def _fields(owner: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(owner)}


def _complete_use(use: Use, kind: str, registry: Registry) -> Use:
    if kind == "model" and use.name in _STAND_INS:
        return use
    return dataclasses.replace(use, options=msgspec.to_builtins(options_of(use, kind, registry)))


def _hint(owner: type, name: str, key: str) -> Any:
    hints = hints_of(owner)
    if name not in hints:
        close = nearest(name, hints)
        guess = f" Did you mean {close!r}?" if close else ""
        raise UnknownSettingError(f"unknown option {key!r}.{guess} There are: {_listed(hints) or 'none'}")
    return hints[name]


def _convert(value: Any, hint: Any, key: str) -> Any:
    try:
        return fit(value, hint, read=True)
    except ValueError as error:
        raise OptionError(f"{key}={_text(value)}: {error}") from error


def _unknown_key(setting: _Setting) -> UnknownSettingError:
    keys = flatten(setting.root)
    close = nearest(setting.key, [*keys, *(key.removeprefix("recover.") for key in keys)])
    guess = f" Did you mean {close!r}?" if close else ""
    sections = dict.fromkeys(key.split(".")[0] for key in keys)
    return UnknownSettingError(
        f"unknown option {setting.key!r}.{guess} There are settings under: {_listed(sections)}; "
        "`condense run --dry-run` lists them all"
    )


def _listed(names: typing.Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
