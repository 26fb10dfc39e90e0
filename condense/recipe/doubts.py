"""What the installed plugins offer that cannot take effect here, or may not have the effect that was meant.

A plugin is set aside for what is wrong in any case (`condense.recipe.presets`). What is here depends on the other
plugins, so it is said and does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from condense.errors import CondenseError, nearest
from condense.recipe.method import Method
from condense.recipe.presets import PRESET
from condense.recipe.registry import PluginStatus, Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import IMAGE_KINDS


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A remark about what a plugin offers. text: a sentence for people."""

    plugin: str
    text: str


def doubts(registry: Registry) -> list[Doubt]:
    """Return remarks about all plugins: slow imports, then methods and datasets, by trying every preset and variant."""
    datasets = [offer.spec.name for offer in registry.offers("dataset") if not offer.spec.takes]
    methods = registry.offers("method")
    found = [
        Doubt(plugin=status.name, text=_slow_import(status))
        for status in registry.plugins
        if status.heavy and not status.of_file
    ]
    for offer in methods:
        texts = [*_names(offer.spec, registry), *_tried(offer.spec, datasets, registry)]
        found += [Doubt(plugin=offer.plugin, text=text) for text in texts]
    for offer in registry.offers("dataset") if methods else ():
        if not offer.spec.takes:
            reason = _refusal(registry, {"method": methods[0].spec.name, "dataset": offer.spec.name})
            # A method that is broken everywhere was named above.
            if reason and not any(doubt.text.endswith(reason) for doubt in found):
                found.append(Doubt(plugin=offer.plugin, text=f"dataset {offer.spec.name!r}: {reason}"))
    return found


def _slow_import(status: PluginStatus) -> str:
    """Return a remark about a plugin that imports what only a run needs. A file cannot avoid that."""
    brought = " and ".join(status.heavy)
    return (
        f"its import takes {status.seconds:.1f} s and brings {brought}; every command waits for that. Import them in "
        "the module that `build` names"
    )


def _names(method: Method, registry: Registry) -> Iterator[str]:
    """Yield a remark for each preset with a name like, but not equal to, that of a kind of images or a dataset.

    Other names are for `--set preset=NAME`.
    """
    known = [*IMAGE_KINDS, *(offer.spec.name for offer in registry.offers("dataset"))]
    for name in method.presets:
        close = nearest(name, known)
        if name not in known and close:
            yield (
                f"method {method.name!r}: the preset {name!r} is named after no kind of images and no dataset, so "
                f"--set {PRESET}={name} alone chooses it; did you mean {close!r}?"
            )


def _tried(method: Method, datasets: list[str], registry: Registry) -> Iterator[str]:
    """Yield a remark for each preset, number of images and variant of a method that cannot be resolved."""
    if not datasets:
        return
    whole: dict[str, Any] = {"method": method.name, "dataset": datasets[0]}
    broken = _refusal(registry, whole)
    if broken:
        yield f"method {method.name!r}: {broken}"
        return
    tries: list[tuple[str, dict[str, Any]]] = [
        *((f"preset {name!r}", _preset(name, datasets, registry)) for name in method.presets),
        *((f"for_ipc {ipc}", {"ipc": ipc}) for ipc in method.for_ipc),
        *(
            (f"variant {one.label!r}", {"settings": dict(one.settings), "without": one.without})
            for one in method.variants
        ),
    ]
    for what, options in tries:
        reason = _refusal(registry, {**whole, **options})
        if reason:
            yield f"method {method.name!r}, {what}: {reason}"


def _preset(name: str, datasets: list[str], registry: Registry) -> dict[str, Any]:
    """Return the options of a run that gets a preset: on the dataset or the kind of images that it is named after."""
    alike = (other for other in datasets if registry.dataset(other)[0].like == name)
    dataset = name if name in datasets else next(alike, "")
    return {"dataset": dataset} if dataset else {"settings": {PRESET: name}}


def _refusal(registry: Registry, options: Mapping[str, Any]) -> str:
    """Return why a run with these options is refused, or ""."""
    try:
        configure(registry, alone=False, **options)
    except CondenseError as error:
        return str(error)
    return ""
