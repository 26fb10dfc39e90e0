"""Find plugins, keep a broken one from harming the rest, and look up what they offer.

A plugin is a module named by an entry point of the group "condense". condense's own components come the same
way, from the module `condense.builtin`. A plugin that fails is set aside with its reason, which `condense
plugins` shows. A run fails only if it needs something that is not there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pluggy

from condense.errors import PluginError, UnknownNameError, unknown_name
from condense.recipe import hooks as hookspecs
from condense.recipe.method import Method
from condense.recipe.presets import check_offer
from condense.recipe.protocol import Protocol
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ModelSpec,
    ParametrizationSpec,
    RegularizerSpec,
)
from condense.version import host_version

GROUP = "condense"
DISABLE_VARIABLE = "CONDENSE_DISABLE_PLUGINS"
HOST = "condense"

# For each hook: the kind of its offers, as users read it, and the type that each offer must have.
KINDS: Mapping[str, tuple[str, type]] = {
    "condense_feature_targets": ("feature target", FeatureTargetSpec),
    "condense_regularizers": ("regularizer", RegularizerSpec),
    "condense_initializers": ("initializer", InitializerSpec),
    "condense_parametrizations": ("parametrization", ParametrizationSpec),
    "condense_evaluators": ("evaluator", EvaluatorSpec),
    "condense_methods": ("method", Method),
    "condense_datasets": ("dataset", DatasetSpec),
    "condense_models": ("model", ModelSpec),
    "condense_protocols": ("protocol", Protocol),
}


@dataclass(frozen=True)
class PluginStatus:
    """A plugin that was found.

    name, version, module: as its entry point and its distribution give them.
    problem: why it was set aside; "" if it works.
    """

    name: str
    version: str
    module: str
    problem: str = ""


@dataclass(frozen=True)
class Offer:
    """A spec or method, and the plugin that it came from."""

    plugin: str
    spec: Any


class Registry:
    """Everything that the loaded plugins offer. A name that two plugins offer stands for neither offer.

    disabled: the plugins that were disabled when it was loaded, so that another process can load the same
    registry; None for a registry that was put together by hand.
    """

    def __init__(
        self,
        offers: Mapping[str, Mapping[str, Offer]],
        plugins: tuple[PluginStatus, ...],
        contested: Mapping[tuple[str, str], tuple[str, ...]],
        disabled: tuple[str, ...] | None = None,
    ) -> None:
        self._offers = offers
        self.plugins = plugins
        self.contested = contested
        self.disabled = disabled

    def offers(self, kind: str) -> list[Offer]:
        """Return all offers of a kind ("method", "feature target", ...), sorted by name."""
        return [self._offers[kind][name] for name in sorted(self._offers[kind])]

    def find(self, kind: str, name: str) -> Any:
        """Return the spec of a kind and name.

        Raises UnknownNameError, which lists the valid names and any plugin set aside. Raises PluginError if
        two plugins offer the name: the order of installation must not choose the algorithm.
        """
        offers = self._offers[kind]
        rivals = self.contested.get((kind, name))
        if rivals:
            raise PluginError(
                f"plugins {' and '.join(map(repr, rivals))} both offer a {kind} named {name!r}; disable one with "
                f"--disable-plugin or {DISABLE_VARIABLE}"
            )
        if name in offers:
            return offers[name].spec
        error = unknown_name(kind, name, (_typed(offer.spec) for offer in offers.values()))
        broken = [f"{status.name} ({status.problem})" for status in self.plugins if status.problem]
        if broken:
            raise UnknownNameError(f"{error}. Plugins set aside: {'; '.join(broken)}")
        raise error

    def plugin_of(self, kind: str, name: str) -> str:
        """Return the name of the plugin that offers this kind and name; "" if none does."""
        offer = self._offers.get(kind, {}).get(name)
        return offer.plugin if offer else ""

    def method(self, name: str) -> Method:
        """Return the method of that name."""
        found: Method = self.find("method", name)
        return found

    def protocol(self, name: str) -> Protocol:
        """Return the protocol of that name."""
        found: Protocol = self.find("protocol", name)
        return found

    def dataset(self, name: str) -> tuple[DatasetSpec, str]:
        """Return the spec behind "NAME" or "NAME:ARGUMENT", and the argument ("" if there is none)."""
        spec, argument = self._with_argument("dataset", name)
        assert isinstance(spec, DatasetSpec)
        return spec, argument

    def model(self, name: str) -> tuple[ModelSpec, str]:
        """Return the spec behind "NAME" or "NAME:ARGUMENT", and the argument ("" if there is none)."""
        spec, argument = self._with_argument("model", name)
        assert isinstance(spec, ModelSpec)
        return spec, argument

    def _with_argument(self, kind: str, name: str) -> tuple[Any, str]:
        stem, _, argument = name.partition(":")
        spec = self.find(kind, stem)
        if spec.takes and not argument:
            raise UnknownNameError(f"{kind} {stem!r} needs a {spec.takes}: write {stem}:{spec.takes}")
        if argument and not spec.takes:
            raise UnknownNameError(f"{kind} {stem!r} takes nothing after a colon, but {argument!r} came")
        return spec, argument


def _typed(spec: Any) -> str:
    """Return the name of an offer as users type it: "folder:PATH"."""
    takes = getattr(spec, "takes", "")
    return f"{spec.name}:{takes}" if takes else str(spec.name)


def load_registry(disabled: Iterable[str] = (), environment: Mapping[str, str] = os.environ) -> Registry:
    """Find the plugins and ask each what it offers.

    disabled: names of plugins that are not even imported; CONDENSE_DISABLE_PLUGINS (comma-separated) adds
    more.
    Raises UnknownNameError for a disabled plugin that is not installed.
    """
    off = set(disabled) | {name for name in environment.get(DISABLE_VARIABLE, "").split(",") if name}
    loader = _Loader()
    loader.add(HOST, host_version(), "condense.builtin")
    found = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    unknown = off - {point.name for point in found}
    if unknown:
        raise unknown_name("plugin", min(unknown), (point.name for point in found))
    for point in found:
        version = point.dist.version if point.dist else ""
        if point.name in off:
            loader.set_aside(point.name, version, point.value, "disabled")
        else:
            loader.add(point.name, version, point.value)
    return loader.registry(disabled=tuple(sorted(off)))


@cache
def default_registry() -> Registry:
    """Return the registry of this process, loaded once."""
    return load_registry()


class _Loader:
    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._offers: dict[str, dict[str, Offer]] = {kind: {} for kind, _ in KINDS.values()}
        self._plugins: list[PluginStatus] = []
        self._contested: dict[tuple[str, str], tuple[str, ...]] = {}

    def add(self, name: str, version: str, module_name: str) -> None:
        first = next((status for status in self._plugins if status.name == name), None)
        if first:
            # pluggy would skip it silently.
            self.set_aside(
                name, version, module_name, f"the plugin from {first.module!r} took this name first"
            )
            return
        try:
            offers = self._ask(name, module_name)
        except (Exception, SystemExit) as error:  # A plugin's code must not take condense down.
            self.set_aside(name, version, module_name, f"{type(error).__name__}: {error}")
            return
        for kind, spec in offers:
            self._admit(kind, Offer(plugin=name, spec=spec))
        self._plugins.append(PluginStatus(name, version, module_name))

    def _admit(self, kind: str, offer: Offer) -> None:
        name = offer.spec.name
        earlier = self._offers[kind].pop(name, None)
        rivals = self._contested.get((kind, name), (earlier.plugin,) if earlier else ())
        if rivals:
            self._contested[kind, name] = (*rivals, offer.plugin)
        else:
            self._offers[kind][name] = offer

    def set_aside(self, name: str, version: str, module_name: str, problem: str) -> None:
        self._plugins.append(PluginStatus(name, version, module_name, problem))

    def registry(self, disabled: tuple[str, ...]) -> Registry:
        return Registry(self._offers, tuple(self._plugins), self._contested, disabled)

    def _ask(self, name: str, module_name: str) -> list[tuple[str, Any]]:
        module = importlib.import_module(module_name)
        _check_api(module)
        try:
            self._manager.register(module, name=name)
            # Without this check, a misspelt hook would be ignored silently.
            self._manager.check_pending()
            return self._collect(module)
        except BaseException:
            # pluggy would keep calling a half-registered plugin.
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise

    def _collect(self, module: ModuleType) -> list[tuple[str, Any]]:
        offers: list[tuple[str, Any]] = []
        implemented = {caller.name: caller for caller in self._manager.get_hookcallers(module) or ()}
        for hook_name, (kind, expected) in KINDS.items():
            if hook_name not in implemented:
                if hasattr(module, hook_name):
                    raise PluginError(f"{hook_name} is not marked with @condense.hookimpl")
                continue
            for implementation in implemented[hook_name].get_hookimpls():
                if implementation.plugin is not module:
                    continue
                answer = implementation.function()
                if not isinstance(answer, (list, tuple)):
                    raise PluginError(f"{hook_name} must give a list of {expected.__name__}, not {answer!r}")
                for spec in answer:
                    if not isinstance(spec, expected):
                        raise PluginError(
                            f"{hook_name} gave {spec!r}, which is not an instance of {expected.__name__}"
                        )
                    check_offer(spec)
                    offers.append((kind, spec))
        repeated = _first_repeated((kind, spec.name) for kind, spec in offers)
        if repeated:
            raise PluginError(f"it offers two of the kind {repeated[0]} named {repeated[1]!r}")
        return offers


def _first_repeated(pairs: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        if pair in seen:
            return pair
        seen.add(pair)
    return None


def _check_api(module: ModuleType) -> None:
    version = getattr(module, "condense_api", hookspecs.API_VERSION)
    if version != hookspecs.API_VERSION:
        raise PluginError(
            f"it speaks version {version} of the plugin contract and this condense speaks "
            f"{hookspecs.API_VERSION}; update the older of the two"
        )
