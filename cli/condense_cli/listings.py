"""The listing commands: a group prints a list, and its command `show NAME` prints one entry in full."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from condense.errors import CondenseError
from condense.recipe.method import Pool
from condense.recipe.settings import complete, flatten
from condense.recipe.specs import IMAGE_KINDS, DatasetSpec
from condense_cli.loaded import plugin_option, registry_of
from condense_cli.options import json_option

if TYPE_CHECKING:
    from condense.recipe.method import Method
    from condense.recipe.protocol import Protocol
    from condense.recipe.registry import Offer, Registry


Lines = Callable[[click.Context], Iterable[Mapping[str, str]]]
# Returns everything of one name in full: usually one entry, but components of several kinds can share a name.
Details = Callable[[click.Context, str], list[dict[str, Any]]]


def listing_group(
    name: str, *, summary: str, columns: Sequence[str], lines: Lines, details: Details
) -> click.Group:
    """Return a group NAME that prints `lines`, with a command `show` that prints `details`."""

    @click.group(name, help=summary, invoke_without_command=True)
    @plugin_option
    @json_option
    @click.pass_context
    def group(ctx: click.Context, as_json: bool) -> None:
        if ctx.invoked_subcommand is None:
            _print_lines(list(lines(ctx)), columns, as_json)

    @group.command("show", help=f"Print one of the {name} in full.")
    @click.argument("wanted", metavar="NAME")
    @plugin_option
    @json_option
    @click.pass_context
    def show(ctx: click.Context, wanted: str, as_json: bool) -> None:
        parent_json = ctx.parent is not None and bool(ctx.parent.params.get("as_json"))
        _print_details(details(ctx, wanted), as_json or parent_json)

    return group


def offer_group(kind: str, *, summary: str) -> click.Group:
    """Return the group for one kind of thing that plugins offer: `condense models` for "model"."""

    def lines(ctx: click.Context) -> list[dict[str, str]]:
        return lines_of(registry_of(ctx), kind)

    def details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
        return [data_of(registry_of(ctx), kind, name)]

    return listing_group(
        f"{kind}s", summary=summary, columns=("name", "plugin", "summary"), lines=lines, details=details
    )


def _print_lines(rows: list[Mapping[str, str]], columns: Sequence[str], as_json: bool) -> None:
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.listing import listing, marked

    if as_json:
        write_json(rows)
        return
    write(make_console(), listing(marked(rows), columns), one_line_each=True)


def _print_details(found: list[dict[str, Any]], as_json: bool) -> None:
    from condense_cli.render.console import make_console, write, write_json
    from condense_cli.render.listing import detail

    if as_json:
        write_json(found[0] if len(found) == 1 else found)
        return
    console = make_console()
    for position, data in enumerate(found):
        write(console, *([""] if position else []), *detail(data))


COMPONENT_KINDS = ("feature target", "regularizer", "initializer", "parametrization", "evaluator")

# For each kind: the start of the keys that set its options.
KEY_OF_KIND: Mapping[str, str] = {
    "feature target": "targets.{name}",
    "regularizer": "regularizers.{name}",
    "initializer": "initializer",
    "parametrization": "parametrization",
    "evaluator": "evaluator",
    "dataset": "dataset",
    "model": "teacher.model",
}


def lines_of(registry: Registry, kind: str) -> list[dict[str, str]]:
    """Return the offers of a kind as lines, sorted by name, with those that clash and so stand for nothing."""
    lines = [line_of(offer, kind) for offer in registry.offers(kind)]
    taken = {line["name"].partition(":")[0] for line in lines}
    for (other, name), rivals in registry.contested.items():
        if other == kind and name not in taken:
            lines.append(
                {"name": name, "kind": kind, "plugin": ", ".join(rivals), "summary": "", "clash": ""}
            )
    for line in lines:
        line["clash"] = clash_of(registry.contested.get((kind, line["name"].partition(":")[0]), ()))
    return sorted(lines, key=lambda line: line["name"].partition(":")[0])


def clash_of(rivals: Sequence[str]) -> str:
    """Return what becomes of a name that several plugins offer, for people; "" for no rivals."""
    from condense.recipe.registry import HOST

    if not rivals:
        return ""
    if HOST in rivals:
        others = " and ".join(repr(name) for name in rivals if name != HOST)
        return f"clash: condense's own counts, and that of {others} is left out"
    return f"clash: plugins {' and '.join(map(repr, rivals))} offer it, so none counts; disable one"


def line_of(offer: Offer, kind: str) -> dict[str, str]:
    """Return an offer as one line: its name as users type it, its kind, its plugin and its summary."""
    takes = getattr(offer.spec, "takes", "")
    return {
        "name": f"{offer.spec.name}:{takes}" if takes else offer.spec.name,
        "kind": kind,
        "plugin": offer.plugin,
        "summary": offer.spec.summary,
    }


def data_of(registry: Registry, kind: str, name: str) -> dict[str, Any]:
    """Return the offer of a kind and name in full.

    A dataset's or network's name may have an argument after a colon. Raises UnknownNameError, which lists the
    valid names, or PluginError if two plugins offer the name.
    """
    stem = name.partition(":")[0] if kind in ("dataset", "model") else name
    registry.find(kind, stem)
    offer = next(offer for offer in registry.offers(kind) if offer.spec.name == stem)
    clash = clash_of(registry.contested.get((kind, stem), ()))
    if kind == "method":
        return {**method_data(offer, registry), "clash": clash}
    if kind == "protocol":
        return {**protocol_data(offer, registry), "clash": clash}
    return {**spec_data(offer, kind), "clash": clash}


def component_offers(registry: Registry, name: str) -> list[tuple[str, Offer]]:
    """Return the components of that name, with their kinds. Raises UnknownNameError if there are none."""
    from condense.errors import unknown_name

    by_kind = [(kind, offer) for kind in COMPONENT_KINDS for offer in registry.offers(kind)]
    for kind in COMPONENT_KINDS:
        if (kind, name) in registry.contested:
            registry.find(kind, name)  # unless condense's own counts, this is an error
    found = [(kind, offer) for kind, offer in by_kind if offer.spec.name == name]
    if not found:
        raise unknown_name("component", name, (offer.spec.name for _, offer in by_kind))
    return found


def spec_data(offer: Offer, kind: str) -> dict[str, Any]:
    """Return a dataset, a network or a component with its options; for a dataset also its facts, kind and settings."""
    spec = offer.spec
    data: dict[str, Any] = {**line_of(offer, kind), "source": spec.source}
    data["options"] = _options(spec.options, KEY_OF_KIND[kind].format(name=spec.name))
    about = inspect.getdoc(spec.options) or ""
    data["about_options"] = reflowed(about) if data["options"] else ""
    if isinstance(spec, DatasetSpec):
        data["like"] = spec.like if spec.like in IMAGE_KINDS else ""
        for fact in ("classes", "images", "side", "licence", "fetched", "looked_for"):
            data[fact] = _plain(getattr(spec, fact))
        data["settings"] = _plain(spec.settings)
        data["settings_by_kind"] = _plain(spec.settings_by_kind)
        data["settings_by_protocol"] = _plain(spec.settings_by_protocol)
    return data


def method_data(offer: Offer, registry: Registry) -> dict[str, Any]:
    """Return a method: its recipe by the keys that --set takes, its presets and its variants."""
    method: Method = offer.spec
    # If a component's plugin is missing, the recipe is shown without the components' defaults.
    with contextlib.suppress(CondenseError):
        method = complete(method, registry)
    recipe = flatten(method)
    for key in (
        "name",
        "summary",
        "source",
        "presets",
        "preset_networks",
        "for_ipc",
        "variants",
        "published",
    ):
        del recipe[key]
    if method.pool == complete(Pool(), registry):  # nothing of this method looks through a pool
        recipe = {key: value for key, value in recipe.items() if not key.startswith("pool.")}
    return {
        **line_of(offer, "method"),
        "source": method.source,
        "settings": _plain(recipe),
        "presets": {dataset: _plain(settings) for dataset, settings in method.presets.items()},
        "preset_networks": dict(method.preset_networks),
        "presets_by_ipc": {str(least): _plain(settings) for least, settings in method.for_ipc.items()},
        "variants": [_plain(variant) for variant in method.variants],
        "published": [_plain(one) for one in method.published],
    }


def protocol_data(offer: Offer, registry: Registry) -> dict[str, Any]:
    """Return a protocol: how students are trained, by the keys that --set takes."""
    protocol: Protocol = complete(offer.spec, registry)
    settings = flatten(protocol, "protocol")
    for key in ("name", "summary", "source"):
        del settings[f"protocol.{key}"]
    return {
        **line_of(offer, "protocol"),
        "source": protocol.source,
        "settings": _plain(settings),
    }


def type_text(hint: Any) -> str:
    """Return a type as text for people: "whole number", "norms or squares", "number,number"."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " or ".join(map(str, parts))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(type_text, parts))
    if origin is tuple:
        return ",".join("..." if part is Ellipsis else type_text(part) for part in parts)
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}
    return names.get(hint) or str(getattr(hint, "__name__", hint))


def reflowed(text: str) -> str:
    """Return a docstring without line breaks, except at empty lines and before a sentence like "name: meaning"."""
    lines = [line.strip() for line in text.splitlines()]
    result = ""
    for line in lines:
        named = result.endswith(".") and re.match(r"\w+(, \w+)*: ", line)
        breaks = not line or result.endswith("\n") or named
        result += ("\n" if breaks else " ") + line
    return result.strip()


def _options(options: type, prefix: str) -> list[dict[str, Any]]:
    hints = typing.get_type_hints(options)
    defaults = _plain(options())
    return [
        {
            "key": f"{prefix}.{field.name}",
            "type": type_text(hints[field.name]),
            "default": defaults[field.name],
        }
        for field in dataclasses.fields(options)
    ]


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _lines(ctx: click.Context) -> list[dict[str, str]]:
    registry = registry_of(ctx)
    return [line for kind in COMPONENT_KINDS for line in lines_of(registry, kind)]


def _details(ctx: click.Context, name: str) -> list[dict[str, Any]]:
    registry = registry_of(ctx)
    return [data_of(registry, kind, name) for kind, _ in component_offers(registry, name)]


components = listing_group(
    "components",
    summary="List the parts methods are made of; `components show NAME` prints one.",
    columns=("name", "kind", "plugin", "summary"),
    lines=_lines,
    details=_details,
)


datasets = offer_group("dataset", summary="List the datasets; `datasets show NAME` prints one.")
methods = offer_group("method", summary="List the methods; `methods show NAME` prints one.")
models = offer_group("model", summary="List the networks; `models show NAME` prints one.")
protocols = offer_group(
    "protocol", summary="List the evaluation protocols; `protocols show NAME` prints one."
)
