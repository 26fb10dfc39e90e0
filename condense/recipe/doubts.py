"""What the installed plugins offer that cannot take effect here, or may not have the effect that was meant.

A plugin is set aside for what is wrong in any case (`condense.recipe.presets`). What is here depends on the other
plugins, so it is said and does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condense.errors import CondenseError, nearest
from condense.recipe.method import Method
from condense.recipe.presets import PRESET
from condense.recipe.registry import PluginStatus, Registry
from condense.recipe.resolve import configure
from condense.recipe.specs import IMAGE_KINDS, DatasetSpec, kind_text


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
    for offer in registry.offers("dataset"):
        found += [Doubt(plugin=offer.plugin, text=text) for text in _protocols(offer.spec, registry)]
        if methods and not offer.spec.takes:
            # A method that is broken everywhere was named above.
            for reason in _refusals(offer.spec, methods[0].spec, registry):
                if not any(doubt.text.endswith(reason) for doubt in found):
                    found.append(Doubt(plugin=offer.plugin, text=f"dataset {offer.spec.name!r}: {reason}"))
    return found


def _protocols(dataset: DatasetSpec, registry: Registry) -> Iterator[str]:
    """Yield a remark for each protocol that a dataset has settings for and whose name is only like that of one."""
    known = [offer.spec.name for offer in registry.offers("protocol")]
    for name, close in _misspelt(dataset.settings_by_protocol, known):
        yield (
            f"dataset {dataset.name!r}: its settings for {name!r} are those of no protocol, so nothing uses them; did "
            f"you mean {close!r}?"
        )


def _refusals(dataset: DatasetSpec, method: Method, registry: Registry) -> Iterator[str]:
    """Yield why a dataset refuses a method, under its own protocol, and those that the dataset has settings for."""
    known = {offer.spec.name for offer in registry.offers("protocol")}
    for protocol in (None, *(name for name in dataset.settings_by_protocol if name in known)):
        reason = _refusal(registry, {"method": method.name, "dataset": dataset.name, "protocol": protocol})
        if reason:
            yield reason


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
    for name, close in _misspelt(method.presets, known):
        yield (
            f"method {method.name!r}: the preset {name!r} is named after no kind of images and no dataset, so "
            f"--set {PRESET}={name} alone chooses it; did you mean {close!r}?"
        )


def _misspelt(names: Iterable[str], known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each name that is not known but like one that is, and the known one."""
    for name in names:
        close = nearest(name, known)
        if name not in known and close:
            yield name, close


def _tried(method: Method, datasets: list[str], registry: Registry) -> Iterator[str]:
    """Yield a remark for each form of a method that cannot be resolved."""
    for what, options in forms_of(method, datasets, registry):
        reason = _refusal(registry, options)
        if reason:
            yield f"method {method.name!r}{f', {what}' if what else ''}: {reason}"
            if not what:  # What is broken as a whole is so in every form.
                return


def forms_of(
    method: Method, datasets: Sequence[str], registry: Registry
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every form of a method, with the options of `configure` that give it: "preset 'small-grey'".

    The first is the method as it is, "". Then come its presets, the kinds of images, its settings for numbers of images
    per class, and its variants. datasets: names to try it on; without any there are no forms.
    """
    if not datasets:
        return
    whole: dict[str, Any] = {"method": method.name, "dataset": datasets[0]}
    alike = {registry.dataset(name)[0].like: name for name in reversed(datasets)}
    forms: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        *((f"preset {name!r}", _preset(name, datasets, alike)) for name in method.presets),
        *(
            (f"on {kind_text(kind)}", {"dataset": alike[kind]})
            for kind in IMAGE_KINDS
            if kind in alike and kind not in method.presets
        ),
        *((f"for_ipc {ipc}", {"ipc": ipc}) for ipc in method.for_ipc),
        *(
            (f"variant {one.label!r}", {"settings": dict(one.settings), "without": one.without})
            for one in method.variants
        ),
    ]
    for what, options in forms:
        yield what, {**whole, **options}


def _preset(name: str, datasets: Sequence[str], alike: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a run that gets a preset: on the dataset or the kind of images that it is named after.

    alike: a dataset for each kind of images.
    """
    dataset = name if name in datasets else alike.get(name, "")
    return {"dataset": dataset} if dataset else {"settings": {PRESET: name}}


def _refusal(registry: Registry, options: Mapping[str, Any]) -> str:
    """Return why a run with these options is refused, or ""."""
    try:
        configure(registry, alone=False, **options)
    except CondenseError as error:
        return str(error)
    return ""
