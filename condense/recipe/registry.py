"""Find plugins, keep a broken one from harming the rest, and look up what they offer.

A plugin is a module named by an entry point of the group "condense", or a file that the user names. condense's own
components come the same way, from the module `condense.builtin`. A plugin that fails is set aside with its reason,
which `condense plugins` shows. A run fails only if it needs something that is not there.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from condense.errors import PluginError, UnknownNameError, checked_path, unknown_name
from condense.recipe.file_plugin import PluginFile, read_plugin_file
from condense.recipe.loading import Failure, LoadError, answers_of, import_plugin
from condense.recipe.method import Method
from condense.recipe.places import root_of
from condense.recipe.protocol import Protocol
from condense.recipe.specs import (
    DatasetSpec,
    EvaluatorSpec,
    ExecutorSpec,
    FeatureTargetSpec,
    InitializerSpec,
    ModelSpec,
    ParametrizationSpec,
    RegularizerSpec,
)
from condense.version import DISTRIBUTION, host_version

GROUP = "condense"
DISABLE_VARIABLE = "CONDENSE_DISABLE_PLUGINS"
FILES_VARIABLE = "CONDENSE_PLUGINS"
HOST = "condense"
# The problem of a plugin that was disabled.
DISABLED = "disabled"

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
    "condense_executors": ("executor", ExecutorSpec),
}


@dataclass(frozen=True)
class PluginStatus:
    """A plugin that was found.

    name, version, module: as its entry point and its distribution give them. A plugin of one file has no version.
    problem: why it was set aside, in a line; "" if it works.
    distribution: the name of the package that it came with; "" for a plugin of one file.
    file: the file of its module; "" if it is not known.
    of_file: whether it was given as a file, and not installed.
    source: the hash of its source, for a plugin of one file; "" for others.
    failure: what went wrong when it was loaded; None if nothing did.
    seconds, heavy: what its import cost, as in `condense.recipe.loading.Imported`.
    """

    name: str
    version: str
    module: str
    problem: str = ""
    distribution: str = ""
    file: str = ""
    of_file: bool = False
    source: str = ""
    failure: Failure | None = None
    seconds: float = 0.0
    heavy: tuple[str, ...] = ()


@dataclass(frozen=True)
class Offer:
    """A spec or method, and the plugin that it came from."""

    plugin: str
    spec: Any


@dataclass(frozen=True)
class Chosen:
    """Which plugins are loaded besides what is installed, so that another process can load the same.

    disabled: names of installed plugins that are not. files: absolute paths of plugins of one file that are.
    """

    disabled: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Registry:
    """Everything that the loaded plugins offer.

    contested: the plugins that offer the same, by kind and name. If condense is one of them, its own offer stands and
        the others are left out; else the name stands for no offer.
    chosen: what it was loaded with; None for a registry that was put together by hand.
    """

    def __init__(
        self,
        offers: Mapping[str, Mapping[str, Offer]],
        plugins: tuple[PluginStatus, ...],
        contested: Mapping[tuple[str, str], tuple[str, ...]],
        chosen: Chosen | None = None,
    ) -> None:
        self._offers = offers
        self.plugins = plugins
        self.contested = contested
        self.chosen = chosen

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
        if rivals and HOST not in rivals:
            raise PluginError(
                f"plugins {' and '.join(map(repr, rivals))} both offer a {kind} named {name!r}; disable one with "
                f"--disable-plugin or {DISABLE_VARIABLE}"
            )
        if name in offers:
            return offers[name].spec
        error = unknown_name(kind, name, (_typed(offer.spec) for offer in offers.values()))
        broken = [
            f"{status.name} ({status.failure.what if status.failure else status.problem})"
            for status in self.plugins
            if status.problem
        ]
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
        offers = self._offers["dataset"]
        try:
            spec, argument = self._with_argument("dataset", name)
        except UnknownNameError as error:
            # Path.is_dir raises for a name that no file can have.
            if name in offers or "folder" not in offers or not os.path.isdir(name):  # noqa: PTH112
                raise
            raise UnknownNameError(
                f"{name!r} is a folder, not the name of a dataset: write folder:{name}"
            ) from error
        assert isinstance(spec, DatasetSpec)
        return spec, argument

    def model(self, name: str) -> tuple[ModelSpec, str]:
        """Return the spec behind "NAME" or "NAME:ARGUMENT", and the argument ("" if there is none)."""
        spec, argument = self._with_argument("model", name)
        assert isinstance(spec, ModelSpec)
        return spec, argument

    def _with_argument(self, kind: str, name: str) -> tuple[Any, str]:
        stem, _, argument = name.partition(":")
        checked_path(argument)
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


def load_registry(
    disabled: Iterable[str] = (),
    environment: Mapping[str, str] = os.environ,
    files: Iterable[str | Path] = (),
) -> Registry:
    """Find the plugins and ask each what it offers.

    disabled: names of installed plugins that are not even imported; CONDENSE_DISABLE_PLUGINS (comma-separated) adds
        more.
    files: Python files, each a plugin of its own; CONDENSE_PLUGINS (separated as in PATH) adds more.

    Raises UnknownNameError for a disabled plugin that is not installed, and PluginError or StorageError for a file that
    cannot be a plugin.
    """
    off = set(disabled) | {name for name in environment.get(DISABLE_VARIABLE, "").split(",") if name}
    more = [name for name in environment.get(FILES_VARIABLE, "").split(os.pathsep) if name]
    found = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    unknown = off - {point.name for point in found}
    if unknown:
        raise unknown_name("plugin", min(unknown), (point.name for point in found))
    paths = sorted({Path(file).absolute() for file in (*files, *more)})
    candidates = [*map(_of_point, found), *(_of_file(read_plugin_file(path)) for path in paths)]
    loader = _Loader()
    loader.load(_Candidate(HOST, host_version(), "condense.builtin", DISTRIBUTION))
    wanted = [candidate for candidate in candidates if candidate.file or candidate.name not in off]
    for candidate in candidates:
        rivals = [other for other in wanted if other.name == candidate.name]
        if candidate not in wanted:
            loader.set_aside(candidate, DISABLED)
        elif candidate.name == HOST:
            loader.set_aside(
                candidate, f"the name {HOST!r} is that of condense itself; give the plugin another"
            )
        elif len(rivals) > 1:
            whose = " and ".join(other.origin for other in rivals)
            loader.set_aside(candidate, f"{whose} both have this name; uninstall or rename one of them")
        else:
            loader.load(candidate)
    return loader.registry(Chosen(disabled=tuple(sorted(off)), files=tuple(map(str, paths))))


@cache
def default_registry() -> Registry:
    """Return the registry of this process, loaded once."""
    return load_registry()


@dataclass(frozen=True)
class _Candidate:
    """A plugin that was found and is not loaded yet. file: for a plugin of one file."""

    name: str
    version: str
    module: str
    distribution: str
    file: PluginFile | None = None

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        if self.file:
            return str(self.file.path)
        return f"{self.module} of {self.distribution} {self.version}" if self.distribution else self.module


def _of_point(point: importlib.metadata.EntryPoint) -> _Candidate:
    if point.dist is None:
        return _Candidate(point.name, "", point.value, "")
    return _Candidate(point.name, point.dist.version, point.value, point.dist.name)


def _of_file(file: PluginFile) -> _Candidate:
    return _Candidate(file.name, "", file.module, "", file)


class _Loader:
    def __init__(self) -> None:
        self._offers: dict[str, dict[str, Offer]] = {kind: {} for kind, _ in KINDS.values()}
        self._plugins: list[PluginStatus] = []
        self._contested: dict[tuple[str, str], tuple[str, ...]] = {}

    def load(self, candidate: _Candidate) -> None:
        """Import a plugin and take in what it offers, or set it aside."""
        loaded = [other for other in self._plugins if not other.problem]
        twin = next((other for other in loaded if other.module == candidate.module), None)
        if twin:
            self.set_aside(candidate, f"its module is the plugin {twin.name!r} already")
            return
        file, name = candidate.file, candidate.module
        try:
            if file:
                imported = import_plugin(file.imported, lambda: file.path)
            else:
                imported = import_plugin(lambda: importlib.import_module(name), lambda: root_of(name))
            answers = answers_of(imported.module, KINDS)
        except LoadError as error:
            self.set_aside(candidate, str(error.failure), error.failure)
            return
        for kind, spec in answers:
            self._admit(kind, Offer(plugin=candidate.name, spec=spec))
        self._plugins.append(
            replace(
                _status(candidate),
                file=str(file.path if file else getattr(imported.module, "__file__", None) or ""),
                seconds=imported.seconds,
                heavy=imported.heavy,
            )
        )

    def set_aside(self, candidate: _Candidate, problem: str, failure: Failure | None = None) -> None:
        """Keep a plugin in the list, with the reason why it offers nothing."""
        self._plugins.append(replace(_status(candidate), problem=problem, failure=failure))

    def registry(self, chosen: Chosen) -> Registry:
        """Return what was loaded."""
        return Registry(self._offers, tuple(self._plugins), self._contested, chosen)

    def _admit(self, kind: str, offer: Offer) -> None:
        name = offer.spec.name
        earlier = self._offers[kind].get(name)
        rivals = self._contested.get((kind, name), (earlier.plugin,) if earlier else ())
        if not rivals:
            self._offers[kind][name] = offer
            return
        self._contested[kind, name] = (*rivals, offer.plugin)
        if HOST not in rivals:
            self._offers[kind].pop(name, None)


def _status(candidate: _Candidate) -> PluginStatus:
    file = candidate.file
    return PluginStatus(
        name=candidate.name,
        version=candidate.version,
        module=candidate.module,
        distribution=candidate.distribution,
        file=str(file.path) if file else "",
        of_file=file is not None,
        source=file.source if file else "",
    )
