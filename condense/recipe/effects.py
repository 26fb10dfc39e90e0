"""Settings that change nothing, because another setting leaves them unread: `recover.momentum` beside Adam.

Somebody who gives one expects an effect, so it is refused. Where it is given for several rows or columns of a
comparison, one of them has to read it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condense.errors import OptionError
from condense.recipe.method import AS_THE_PROTOCOL_SAYS
from condense.recipe.registry import Registry
from condense.recipe.settings import flatten

_TRAININGS = ("teacher", "protocol", "pool", "recover.inner", "judge")
_AUGMENTS = tuple(f"{part}.augment" for part in (*_TRAININGS, "recover"))
_OF_TRAINING = ("batch_size", "optimizer", "lr", "momentum", "weight_decay", "schedule", "augment")
_OF_STEPS = (
    *("optimizer", "lr", "betas", "momentum", "schedule", "crop_schedule", "crop_start", "crop_share"),
    *("network", "network_steps", "inner"),
)


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """Settings that are read only if another setting has, or has not, some values.

    below: the keys; what lies below one of them counts too.
    gate: the key of the other setting.
    read: the values of the other setting with which they are read; empty for all but `unread`.
    unread: the values of the other setting with which they are not read.
    """

    below: tuple[str, ...]
    gate: str
    read: tuple[Any, ...] = ()
    unread: tuple[Any, ...] = ()

    def reason(self, key: str, flat: Mapping[str, Any]) -> str:
        """Return why a setting is not read, or ""."""
        if self.gate not in flat or not any(key == one or key.startswith(f"{one}.") for one in self.below):
            return ""
        value = flat[self.gate]
        if value in self.read if self.read else value not in self.unread:
            return ""
        return f"{self.gate} is {_text(value)}"


_RULES: tuple[_Rule, ...] = (
    *(
        _Rule(below=(f"{part}.momentum",), gate=f"{part}.optimizer", read=("sgd",))
        for part in (*_TRAININGS, "recover")
    ),
    *(
        _Rule(below=tuple(f"{part}.{name}" for name in _OF_TRAINING), gate=f"{part}.epochs", unread=(0,))
        for part in _TRAININGS
    ),
    *(_Rule(below=(f"{part}.siamese_single",), gate=f"{part}.siamese", unread=((),)) for part in _AUGMENTS),
    *(_Rule(below=(f"{part}.crop_ratio",), gate=f"{part}.crop_scale", unread=(None,)) for part in _AUGMENTS),
    _Rule(below=("teacher.steps",), gate="teacher.epochs", unread=(0,)),
    _Rule(
        below=tuple(f"teacher.{name}" for name in ("epochs", "steps", *_OF_TRAINING)),
        gate="teacher.checkpoint",
        read=("",),
    ),
    _Rule(below=("protocol.temperature",), gate="protocol.labels", unread=("hard",)),
    _Rule(below=("protocol.model",), gate="student.model", read=(AS_THE_PROTOCOL_SAYS,)),
    _Rule(
        below=tuple(f"select.{name}" for name in ("epochs", "steps", "images", "snapshots", "starts")),
        gate="select.students",
        unread=(0,),
    ),
    _Rule(
        below=tuple(f"recover.inner_{name}" for name in ("on", "images", "steps", "labels", "temperature")),
        gate="recover.inner.epochs",
        unread=(0,),
    ),
    _Rule(below=("recover.inner_temperature",), gate="recover.inner_labels", unread=("hard",)),
    _Rule(below=("recover.inner_images",), gate="recover.inner_on", read=("real",)),
    _Rule(below=("recover.betas",), gate="recover.optimizer", read=("adam",)),
    _Rule(below=("recover.crop_start", "recover.crop_share"), gate="recover.crop_schedule", unread=("none",)),
    _Rule(
        below=(*(f"recover.{name}" for name in _OF_STEPS), "regularizers"),
        gate="recover.iterations",
        unread=(0,),
    ),
)


def without_effect(config: Any, keys: Iterable[str], registry: Registry) -> dict[str, str]:
    """Return the settings among `keys` that a configuration, or a part of one, does not read, each with the reason."""
    flat = flatten(config)
    found = {}
    for key in keys:
        full = key if key in flat or f"recover.{key}" not in flat else f"recover.{key}"
        reasons = [rule.reason(full, flat) for rule in _RULES]
        if full.startswith("targets.") and flat.get("recover.iterations") == 0:
            reads = registry.find("initializer", flat["initializer"]).uses_targets
            reasons += [] if reads else ["recover.iterations is 0"]
        reason = next(filter(None, reasons), "")
        if reason:
            found[key] = reason
    return found


def refuse_without_effect(configs: Sequence[Any], keys: Iterable[str], registry: Registry) -> None:
    """Raise OptionError for a setting that none of the configurations, or parts of some, reads."""
    asked = list(keys)
    idle = [without_effect(config, asked, registry) for config in configs]
    for key in asked:
        if idle and all(key in one for one in idle):
            raise OptionError(no_effect(key, dict.fromkeys(one[key] for one in idle)))


def no_effect(key: str, reasons: Collection[str]) -> str:
    """Return the sentence on a setting that changes nothing."""
    return f"{key} has no effect, because {' or '.join(reasons)}; leave it out"


def _text(value: Any) -> str:
    return "empty" if value in ((), "") else "none" if value is None else str(value)
